"""Splits that keep all views of a star, or of a simulation, on one side.

Views of one star are not independent (the next snapshot, another side of the same gas), and neither are the stars of
one run. A random split of windows measures memory: raw pixels then predict masses nearly as well as anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from sklearn.model_selection import GroupKFold, LeaveOneGroupOut

from stellarfm.exceptions import MapError

if TYPE_CHECKING:
    from stellarfm.maps import MapSet

__all__ = ["SPLITS", "Fold", "LeakError", "check_disjoint", "folds", "split"]

#: Kinds of split, with what they hold out.
SPLITS = {"star": "whole stars, in folds", "simulation": "one simulation after the other"}


class LeakError(AssertionError):
    """A star or a simulation is on both sides of a split: a mistake in the program, never in the input."""


class Fold(NamedTuple):
    """Indices of the windows to learn from, and of those to be judged on."""

    train: np.ndarray
    test: np.ndarray


def check_disjoint(train: Sequence[str] | np.ndarray, test: Sequence[str] | np.ndarray) -> None:
    """Make sure that no group is on both sides.

    Parameters
    ----------
    train, test : sequence of str
        The group (star or simulation) of each window on either side.

    Raises
    ------
    LeakError
        Naming up to three of the groups that are on both sides.
    """
    shared = np.intersect1d(train, test)
    if len(shared):
        raise LeakError(
            f"{len(shared)} groups are on both sides of a split, among them {', '.join(map(str, shared[:3]))}"
        )


def folds(groups: np.ndarray, *, n_folds: int | None = None) -> list[Fold]:
    """Folds of whole groups; each window is held out exactly once.

    Parameters
    ----------
    groups : numpy.ndarray
        The group of each window, shape (N,).
    n_folds : int, optional
        Number of folds, of about equal numbers of windows; by default each group is a fold of its own. Never more
        than there are groups.

    Raises
    ------
    MapError
        If there is only one group.
    """
    n_groups = len(np.unique(groups))
    if n_groups < 2:
        raise MapError(f"cannot split {len(groups)} windows of a single group ({groups[0]}); give at least two")
    splitter = LeaveOneGroupOut() if n_folds is None else GroupKFold(min(n_folds, n_groups))
    found = [Fold(*pair) for pair in splitter.split(np.zeros(len(groups)), groups=groups)]
    for fold in found:
        check_disjoint(groups[fold.train], groups[fold.test])
    return found


def split(windows: MapSet, by: str, *, n_folds: int = 5) -> list[Fold]:
    """Folds of a map set ``by`` ``"star"`` (`n_folds` folds) or by ``"simulation"`` (leave one out).

    Whichever is asked for, no star is on both sides.

    Raises
    ------
    MapError
        If there is only one star, or only one simulation.
    """
    if by not in SPLITS:
        raise ValueError(f"unknown split {by!r}; choose one of {', '.join(SPLITS)}")
    simulations = windows.simulations
    found = folds(windows.groups, n_folds=n_folds) if by == "star" else folds(simulations)
    for fold in found:
        check_disjoint(windows.groups[fold.train], windows.groups[fold.test])
    return found
