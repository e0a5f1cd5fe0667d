"""Hand-made radial statistics of a window, the baseline for encoders."""

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
    """Return radial profiles of the maps about the star, in nine rings: 36 numbers per window.

    Mean and scatter of log10 column density, mean log10 velocity dispersion, and the scatter of the velocity. Missing
    pixels are left out; a ring without any usable pixel is NaN.

    Parameters
    ----------
    windows : MapSet
        N star-centered windows.

    Returns
    -------
    numpy.ndarray
        Columns as in `STATISTICS`, shape (N, 36); log10 of cm-2 and of km/s, velocities in km/s.

    Examples
    --------
    >>> from astropy import units as u
    >>> from astropy.table import QTable
    >>> from stellarfm.data import EXAMPLE_FIELD
    >>> from stellarfm.maps import GasMaps, windows_around
    >>> stars = QTable.read(EXAMPLE_FIELD, hdu="STARS")
    >>> windows = windows_around(GasMaps.read(EXAMPLE_FIELD), stars, pixels=32, pixel_scale=0.01 * u.pc)
    >>> radial_statistics(windows).shape
    (25, 36)
    """
    weights = ring_weights(windows.column_density.shape[1:])
    column = _log10(windows.column_density.to_value("cm-2"))
    dispersion = _log10(windows.velocity_dispersion.to_value("km/s"))
    dispersion_mean, _ = mean_and_scatter(dispersion, weights)
    _, velocity_scatter = mean_and_scatter(windows.velocity.to_value("km/s"), weights)
    return np.concatenate([*mean_and_scatter(column, weights), dispersion_mean, velocity_scatter], axis=1)


def _log10(values: np.ndarray) -> np.ndarray:
    """Return log10, NaN for values that are not positive."""
    return np.log10(np.where(values > 0, values, np.nan))
