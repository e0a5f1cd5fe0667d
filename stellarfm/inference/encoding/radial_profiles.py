"""Radial profiles of maps about the center of a window."""

from __future__ import annotations

import numpy as np

__all__ = ["N_RINGS", "image_profiles", "mean_and_scatter", "ring_weights"]

#: Number of rings.
N_RINGS = 9
#: Radius of the innermost ring in pixels; no ring of a window of 32 or more pixels is empty.
INNERMOST = 1.5


def ring_weights(shape: tuple[int, int]) -> np.ndarray:
    """Return which pixels belong to which ring about the center of a window.

    Parameters
    ----------
    shape : tuple of int
        Numbers of rows and columns of a window.

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


def mean_and_scatter(values: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation in each ring; NaN where a ring has no usable pixel.

    Parameters
    ----------
    values : numpy.ndarray
        Maps, shape (N, rows, columns); NaN is missing.
    weights : numpy.ndarray
        Result of `ring_weights`, shape (`N_RINGS`, rows * columns).

    Returns
    -------
    mean, scatter : numpy.ndarray
        Both of shape (N, `N_RINGS`).
    """
    values = values.reshape(len(values), -1).astype(float)
    usable = np.isfinite(values)
    offset = values.sum(axis=1, where=usable, keepdims=True) / np.maximum(usable.sum(axis=1, keepdims=True), 1)
    values = np.where(usable, values - offset, 0.0)  # keeps the squares small: log N is about 22
    count = usable.astype(float) @ weights.T
    count[count == 0] = np.nan
    mean = values @ weights.T / count
    variance = values**2 @ weights.T / count - mean**2
    return mean + offset, np.sqrt(np.maximum(variance, 0.0))


def image_profiles(images: np.ndarray) -> np.ndarray:
    """Return mean and scatter of each channel in each ring.

    Parameters
    ----------
    images : numpy.ndarray
        Output of `stellarfm.maps.MapScaler.transform`, shape (N, channels, side, side), side at least 32.

    Returns
    -------
    numpy.ndarray
        Shape (N, 2 * channels * `N_RINGS`): for each channel the means and then the scatters, innermost ring first.

    Examples
    --------
    >>> import numpy as np
    >>> image_profiles(np.zeros((2, 3, 32, 32))).shape
    (2, 54)
    """
    weights = ring_weights(images.shape[-2:])
    return np.concatenate(
        [part for channel in range(images.shape[1]) for part in mean_and_scatter(images[:, channel], weights)], axis=1
    )
