"""Windows to a table of masses with intervals and flags."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from astropy.table import QTable

from stellarfm.exceptions import MapError
from stellarfm.inference.masses.flags import MassFlag
from stellarfm.inference.masses.mass_table import mass_table

if TYPE_CHECKING:
    from stellarfm.inference.encoding.embedding import Embedder
    from stellarfm.inference.masses.mass_head import MassHead
    from stellarfm.maps import MapSet

__all__ = ["estimate_windows"]

logger = logging.getLogger("stellarfm")

#: Windows with a smaller fraction of usable pixels get no mass: it would be that of the missing pixels' fill value.
MIN_USABLE_FRACTION = 0.1

#: Flags of windows without a mass; their other flags are meaningless.
NO_MASS = MassFlag.OUTSIDE_FIELD | MassFlag.TOO_FEW_PIXELS


def estimate_windows(
    embedder: Embedder,
    head: MassHead,
    windows: MapSet,
    *,
    levels: Sequence[float] = (0.68, 0.95),
    min_coverage: float = 0.8,
    independent: bool = False,
) -> QTable:
    """Return the masses of the stars at the centers of windows.

    Parameters
    ----------
    embedder : Embedder
        Windows to features.
    head : MassHead
        Features to masses.
    windows : MapSet
        N star-centered windows.
    levels : sequence of float
        Probabilities of the intervals.
    min_coverage : float
        Fraction of usable pixels below which a window is flagged.
    independent : bool
        The windows cannot be those of a reference simulation, so that names in common mean nothing.

    Returns
    -------
    QTable
        Masses as described in `mass_table`; ``meta`` holds the levels.

    Raises
    ------
    MapError, ModelError
        If there is no window, or the windows do not fit the model.
    """
    if len(windows) == 0:
        raise MapError("no star to estimate: the list of sources is empty; give sources with at least one row")
    predicted = head.predict(embedder.features(windows))
    offsets = {level: predicted.interval(level) for level in sorted(levels)}
    usable = 1 - windows.mask.mean(axis=(1, 2))
    flags = _coverage_flags(windows.mask, usable, min_coverage)
    flags |= np.where(predicted.ood > 1, MassFlag.OUT_OF_DISTRIBUTION, 0)
    lightest, heaviest = np.log10(head.trusted_mass_range)
    outside = (predicted.log_mass < lightest) | (predicted.log_mass > heaviest)
    flags |= np.where(outside, MassFlag.OUTSIDE_MASS_RANGE, 0)
    flags[np.any([~np.isfinite(upper) for _, upper in offsets.values()], axis=0)] |= MassFlag.UNBOUNDED_INTERVAL
    if not independent:
        flags[_known(head, windows)] |= MassFlag.IN_REFERENCE
    unknown = usable < MIN_USABLE_FRACTION
    return mass_table(
        windows.stars,
        log_mass=np.where(unknown, np.nan, predicted.log_mass),
        offsets=offsets,
        coverage=usable,
        ood=np.where(unknown, np.nan, predicted.ood),
        flags=np.where(unknown, flags & NO_MASS, flags),
    )


def _coverage_flags(mask: np.ndarray, usable: np.ndarray, min_coverage: float) -> np.ndarray:
    """Return the flags of missing pixels, for masks (N, side, side) with these fractions of `usable` pixels."""
    side = mask.shape[-1]
    center = slice(3 * side // 8, side - 3 * side // 8)
    flags = np.where(usable == 0, MassFlag.OUTSIDE_FIELD, 0)
    flags |= np.where((usable > 0) & (usable < MIN_USABLE_FRACTION), MassFlag.TOO_FEW_PIXELS, 0)
    flags |= np.where(usable < min_coverage, MassFlag.LOW_COVERAGE, 0)
    flags |= np.where(mask[:, center, center].mean(axis=(1, 2)) > 0.5, MassFlag.CENTRE_MISSING, 0)
    return flags


def _known(head: MassHead, windows: MapSet) -> np.ndarray:
    """Return a boolean array of the windows that show a star of the reference set, and log a warning if any does."""
    known = head.is_reference(windows.groups)
    if known.any():
        logger.warning(
            "%d of %d windows show stars of the reference set: their masses are remembered, not estimated (flag %s)",
            known.sum(),
            len(windows),
            MassFlag.IN_REFERENCE.name,
        )
    return known
