"""Hand-made statistics of a window: what an encoder has to beat."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from stellarfm.inference.encoding.radial_profiles import N_RINGS, mean_and_scatter, ring_weights

if TYPE_CHECKING:
    from stellarfm.maps import MapSet

__all__ = ["STATISTICS", "radial_statistics"]

#: Names of the columns of `radial_statistics`, ring 0 innermost.
STATISTICS = [
    f"{name}_{ring}"
    for name in ("log_column_mean", "log_column_scatter", "log_dispersion_mean", "velocity_scatter")
    for ring in range(N_RINGS)
]


def radial_statistics(windows: MapSet) -> np.ndarray:
    """Radial profiles of the maps about the star, in nine rings: 36 numbers a window.

    Mean and scatter of log10 column density, mean log10 velocity dispersion, and the scatter of the velocity. Pixels
    that are missing are left out; a ring without any usable pixel is NaN.

    Parameters
    ----------
    windows : MapSet
        N star-centred windows.

    Returns
    -------
    numpy.ndarray
        Shape (N, 36), columns as in `STATISTICS`; log10 of cm-2 and of km/s, velocities in km/s.
    """
    weights = ring_weights(windows.column_density.shape[1:])
    column = _log10(windows.column_density.to_value("cm-2"))
    dispersion = _log10(windows.velocity_dispersion.to_value("km/s"))
    dispersion_mean, _ = mean_and_scatter(dispersion, weights)
    _, velocity_scatter = mean_and_scatter(windows.velocity.to_value("km/s"), weights)
    return np.concatenate([*mean_and_scatter(column, weights), dispersion_mean, velocity_scatter], axis=1)


def _log10(values: np.ndarray) -> np.ndarray:
    """Logarithm with NaN, not a warning, for what has none."""
    return np.log10(np.where(values > 0, values, np.nan))
