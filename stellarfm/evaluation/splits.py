"""Splits that keep all views of a star, or of a simulation, on one side.

Views of one star are not independent (the next snapshot, another side of the same gas), and neither are the stars of
one run. A random split of windows measures memory: raw pixels then predict masses nearly as well as any features.
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

#: Kinds of split, and what they hold out.
SPLITS = {"star": "whole stars, in folds", "simulation": "one simulation after the other"}


class LeakError(AssertionError):
    """Star or simulation on both sides of a split: an error in the program, never in the input."""


class Fold(NamedTuple):
    """Indices of training and test windows."""

    train: np.ndarray
    test: np.ndarray


def check_disjoint(train: Sequence[str] | np.ndarray, test: Sequence[str] | np.ndarray) -> None:
    """Raise `LeakError` if a group is on both sides of a split.

    Parameters
    ----------
    train, test : sequence of str
        Group (star or simulation) of each window on either side.

    Raises
    ------
    LeakError
        If a group is on both sides; the message names up to three of them.

    Examples
    --------
    >>> check_disjoint(["a/1", "a/2"], ["b/1"])
    """
    shared = np.intersect1d(train, test)
    if len(shared):
        raise LeakError(
            f"{len(shared)} groups are on both sides of a split, among them {', '.join(map(str, shared[:3]))}"
        )


def folds(groups: np.ndarray, *, n_folds: int | None = None) -> list[Fold]:
    """Return folds of whole groups; each window is held out exactly once.

    Parameters
    ----------
    groups : numpy.ndarray
        Group of each window, shape (N,).
    n_folds : int, optional
        Largest number of folds, of about equal numbers of windows; by default each group is a fold.

    Returns
    -------
    list of Fold
        Training and test windows of each fold.

    Raises
    ------
    MapError
        If there is only one group.

    Examples
    --------
    >>> import numpy as np
    >>> [fold.test.tolist() for fold in folds(np.array(["a", "a", "b"]))]
    [[0, 1], [2]]
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
    """Return folds of a map set; no star is on both sides of any of them.

    Parameters
    ----------
    windows : MapSet
        Windows of several stars.
    by : {"star", "simulation"}
        Unit that is held out: stars in `n_folds` folds, or one simulation after the other.
    n_folds : int
        Number of folds of stars.

    Returns
    -------
    list of Fold
        Training and test windows of each fold.

    Raises
    ------
    MapError
        If there is only one star, or only one simulation.

    Examples
    --------
    >>> from astropy import units as u
    >>> from stellarfm.data import EXAMPLE_FIELD
    >>> from stellarfm.maps import GasMaps, column_peaks, windows_around
    >>> maps = GasMaps.read(EXAMPLE_FIELD)
    >>> windows = windows_around(maps, column_peaks(maps)[:10], pixels=32, pixel_scale=0.01 * u.pc)
    >>> [len(fold.test) for fold in split(windows, "star")]
    [2, 2, 2, 2, 2]
    """
    if by not in SPLITS:
        raise ValueError(f"unknown split {by!r}; choose one of {', '.join(SPLITS)}")
    simulations = windows.simulations
    found = folds(windows.groups, n_folds=n_folds) if by == "star" else folds(simulations)
    for fold in found:
        check_disjoint(windows.groups[fold.train], windows.groups[fold.test])
    return found
