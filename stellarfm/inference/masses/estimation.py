"""From windows to a table of masses with intervals and flags."""

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
    from stellarfm.inference.masses.regression import MassPrediction
    from stellarfm.inference.model import StellarModel
    from stellarfm.maps import MapSet

__all__ = ["estimate_windows"]

logger = logging.getLogger("stellarfm")

#: Windows with fewer usable pixels than this get no mass: it would be that of the blanks.
LEAST_COVERAGE = 0.1

#: Flags that say why there is no mass; without a mass the others say nothing.
NO_MASS = MassFlag.OUTSIDE_FIELD | MassFlag.TOO_FEW_PIXELS

#: A mass is at the edge of what is known if fewer reference stars than this are heavier, or lighter.
STARS_AT_EDGE = 5


def estimate_windows(
    model: StellarModel, windows: MapSet, *, levels: Sequence[float], min_coverage: float, independent: bool
) -> QTable:
    """Masses of star-centred windows; see `StellarModel.estimate`.

    `independent` says that the windows cannot be of a reference simulation, so that equal names mean nothing.
    """
    if len(windows) == 0:
        raise MapError("no star to estimate: the list of sources is empty; give --sources with at least one row")
    said = model.regressor.predict_log_mass(model.features(windows))
    offsets = {level: model.intervals.interval(level, said.spread) for level in sorted(levels)}
    flags = _coverage_flags(windows, min_coverage) | _mass_flags(model, said)
    flags[np.any([~np.isfinite(upper) for _, upper in offsets.values()], axis=0)] |= MassFlag.UNBOUNDED_INTERVAL
    if not independent:
        flags[_known(model, windows)] |= MassFlag.IN_REFERENCE
    unknown = _usable(windows) < LEAST_COVERAGE
    return mass_table(
        windows.stars,
        log_mass=np.where(unknown, np.nan, said.value),
        offsets=offsets,
        coverage=_usable(windows),
        ood=np.where(unknown, np.nan, said.distance / model.ood_threshold),
        flags=np.where(unknown, flags & NO_MASS, flags),
        meta=model.provenance(),
    )


def _usable(windows: MapSet) -> np.ndarray:
    """Fraction of usable pixels of each window."""
    return 1 - windows.mask.mean(axis=(1, 2))


def _coverage_flags(windows: MapSet, min_coverage: float) -> np.ndarray:
    """Flags that say how much of a window was mapped."""
    coverage = _usable(windows)
    side = windows.mask.shape[-1]
    centre = slice(3 * side // 8, side - 3 * side // 8)
    flags = np.where(coverage == 0, MassFlag.OUTSIDE_FIELD, 0)
    flags |= np.where((coverage > 0) & (coverage < LEAST_COVERAGE), MassFlag.TOO_FEW_PIXELS, 0)
    flags |= np.where(coverage < min_coverage, MassFlag.LOW_COVERAGE, 0)
    flags |= np.where(windows.mask[:, centre, centre].mean(axis=(1, 2)) > 0.5, MassFlag.CENTRE_MISSING, 0)
    return flags


def _mass_flags(model: StellarModel, said: MassPrediction) -> np.ndarray:
    """Flags that say how far the reference set can be trusted."""
    flags = np.where(said.distance > model.ood_threshold, MassFlag.OUT_OF_DISTRIBUTION, 0)
    lightest, heaviest = model.mass_range
    at_edge = (said.value < np.log10(lightest)) | (said.value > np.log10(heaviest))
    return flags | np.where(at_edge, MassFlag.OUTSIDE_MASS_RANGE, 0)


def _known(model: StellarModel, windows: MapSet) -> np.ndarray:
    """Which windows show a star of the reference set; the log warns of them."""
    known = np.isin(windows.groups, model.reference.groups)
    if known.any():
        logger.warning(
            "%d of %d windows show stars of the reference set: their masses are remembered, not estimated (flag %s)",
            known.sum(),
            len(windows),
            MassFlag.IN_REFERENCE.name,
        )
    return known


def mass_range(mass: np.ndarray, stars: np.ndarray) -> tuple[float, float]:
    """Masses beyond which fewer than five reference stars lie, lightest and heaviest [solMass]."""
    names = np.unique(stars)
    lightest = np.sort([mass[stars == name].min() for name in names])
    heaviest = np.sort([mass[stars == name].max() for name in names])
    edge = min(STARS_AT_EDGE, len(names)) - 1
    return float(lightest[edge]), float(heaviest[-1 - edge])
