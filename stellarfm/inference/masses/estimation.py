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
    from stellarfm.inference.masses.calibrated_head import CalibratedHead
    from stellarfm.inference.masses.familiarity import Familiarity
    from stellarfm.inference.masses.priors import MassPrior
    from stellarfm.maps import MapSet

__all__ = ["estimate_windows"]

logger = logging.getLogger("stellarfm")

#: Windows with a smaller fraction of usable pixels get no mass: it would be that of the missing pixels' fill value.
MIN_USABLE_FRACTION = 0.1

#: Flags of windows without a mass; their other flags are meaningless.
NO_MASS = MassFlag.OUTSIDE_FIELD | MassFlag.TOO_FEW_PIXELS

#: Flags of windows that are unlike the reference set.
UNFAMILIAR = MassFlag.OUT_OF_DISTRIBUTION


def estimate_windows(
    embedder: Embedder,
    head: CalibratedHead,
    familiarity: Familiarity,
    windows: MapSet,
    *,
    levels: Sequence[float] = (0.68, 0.9, 0.95),
    depth_class: str | None = None,
    prior: str | MassPrior = "reference",
    refuse: bool = False,
    quantiles: Sequence[float] = (),
    samples: int = 0,
    min_coverage: float = 0.8,
    independent: bool = False,
    seed: int = 0,
) -> QTable:
    """Return the masses of the stars at the centers of windows.

    Parameters
    ----------
    embedder : Embedder
        Windows to features.
    head : CalibratedHead
        Features to distributions of mass.
    familiarity : Familiarity
        Comparison of the maps with those of the reference set.
    windows : MapSet
        N star-centered windows.
    levels : sequence of float
        Probabilities of the intervals.
    depth_class : {"cube", "field"}, optional
        Depth of the windows, as for `CalibratedHead.predict`.
    prior : str or MassPrior
        Prior of log mass, as for `CalibratedHead.predict`.
    refuse : bool
        Leave out masses of windows that are unlike the reference set.
    quantiles : sequence of float
        Probabilities of additional quantiles.
    samples : int
        Number of draws from each distribution.
    min_coverage : float
        Fraction of usable pixels below which a window is flagged.
    independent : bool
        The windows cannot be those of a reference simulation, so that names in common mean nothing.
    seed : int
        Seed of the draws.

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
    predicted = head.predict(embedder.features(windows), depth_class=depth_class, prior=prior)
    log_mass = predicted.median()
    intervals = {level: predicted.interval(level) for level in sorted(levels)}
    usable = 1 - windows.mask.mean(axis=(1, 2))
    scores = familiarity.score(windows)
    flags = _coverage_flags(windows.mask, usable, min_coverage)
    flags |= scores.flags | np.where(scores.ood > 1, MassFlag.OUT_OF_DISTRIBUTION, 0)
    lightest, heaviest = np.log10(head.trusted_mass_range)
    flags |= np.where((log_mass < lightest) | (log_mass > heaviest), MassFlag.OUTSIDE_MASS_RANGE, 0)
    flags[np.any([~np.isfinite(upper) for _, upper in intervals.values()], axis=0)] |= MassFlag.UNBOUNDED_INTERVAL
    if not independent:
        flags[_known(head, windows)] |= MassFlag.IN_REFERENCE
    unusable = usable < MIN_USABLE_FRACTION
    left_out = unusable | (refuse & ((flags & UNFAMILIAR) > 0))

    def known(values: np.ndarray) -> np.ndarray:
        return np.where(left_out.reshape(-1, *[1] * (values.ndim - 1)), np.nan, values)

    return mass_table(
        windows.stars,
        log_mass=known(log_mass),
        mean=known(predicted.mean()),
        intervals={level: (known(lower), known(upper)) for level, (lower, upper) in intervals.items()},
        coverage=usable,
        ood=np.where(unusable, np.nan, scores.ood),
        flags=np.where(unusable, flags & NO_MASS, flags),
        quantiles={probability: known(predicted.quantile(probability)) for probability in quantiles},
        samples=known(predicted.sample(samples, seed=seed)) if samples else None,
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


def _known(head: CalibratedHead, windows: MapSet) -> np.ndarray:
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
