"""Hand-made statistics of a window: what an encoder has to beat."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from stellarfm.maps import MapSet

__all__ = ["N_RINGS", "STATISTICS", "radial_statistics", "ring_weights"]

N_RINGS = 9
#: Names of the columns of `radial_statistics`, ring 0 innermost.
STATISTICS = [
    f"{name}_{ring}"
    for name in ("log_column_mean", "log_column_scatter", "log_dispersion_mean", "velocity_scatter")
    for ring in range(N_RINGS)
]
#: Radius of the innermost ring in pixels; with it no ring of a window of 32 or more pixels is empty.
INNERMOST = 1.5


def ring_weights(shape: tuple[int, int]) -> np.ndarray:
    """Which pixels belong to which ring about the centre of a window.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns of a window.

    Returns
    -------
    numpy.ndarray
        Zeros and ones, shape (`N_RINGS`, rows * columns). Edges are evenly spaced in log radius up to the inscribed
        circle, because a star's own gas lies in the central pixels; corners belong to no ring.
    """
    rows, columns = (np.arange(side) - (side - 1) / 2 for side in shape)
    edges = np.concatenate([[0.0], np.geomspace(INNERMOST, min(shape) / 2, N_RINGS)])
    ring = np.digitize(np.hypot(rows[:, None], columns[None, :]).ravel(), edges) - 1
    return (ring == np.arange(N_RINGS)[:, None]).astype(float)


def _mean_and_scatter(values: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation in each ring, (N, `N_RINGS`) both; NaN where a ring has no usable pixel."""
    values = values.reshape(len(values), -1).astype(float)
    usable = np.isfinite(values)
    centre = values.sum(axis=1, where=usable, keepdims=True) / np.maximum(usable.sum(axis=1, keepdims=True), 1)
    values = np.where(usable, values - centre, 0.0)  # keeps the squares small: log N is about 22
    count = usable.astype(float) @ weights.T
    count[count == 0] = np.nan
    mean = values @ weights.T / count
    variance = values**2 @ weights.T / count - mean**2
    return mean + centre, np.sqrt(np.maximum(variance, 0.0))


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
    dispersion_mean, _ = _mean_and_scatter(dispersion, weights)
    _, velocity_scatter = _mean_and_scatter(windows.velocity.to_value("km/s"), weights)
    return np.concatenate([*_mean_and_scatter(column, weights), dispersion_mean, velocity_scatter], axis=1)


def _log10(values: np.ndarray) -> np.ndarray:
    """Logarithm with NaN, not a warning, for what has none."""
    return np.log10(np.where(values > 0, values, np.nan))
