"""Radial profiles about the centre of a window: the simplest thing that a star-centred map can be asked."""

from __future__ import annotations

import numpy as np

__all__ = ["N_RINGS", "image_profiles", "mean_and_scatter", "ring_weights"]

N_RINGS = 9
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


def mean_and_scatter(values: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation in each ring of maps (N, rows, columns); NaN where a ring has no usable pixel.

    Returns
    -------
    mean, scatter : numpy.ndarray
        Shape (N, `N_RINGS`) both.
    """
    values = values.reshape(len(values), -1).astype(float)
    usable = np.isfinite(values)
    centre = values.sum(axis=1, where=usable, keepdims=True) / np.maximum(usable.sum(axis=1, keepdims=True), 1)
    values = np.where(usable, values - centre, 0.0)  # keeps the squares small: log N is about 22
    count = usable.astype(float) @ weights.T
    count[count == 0] = np.nan
    mean = values @ weights.T / count
    variance = values**2 @ weights.T / count - mean**2
    return mean + centre, np.sqrt(np.maximum(variance, 0.0))


def image_profiles(images: np.ndarray) -> np.ndarray:
    """Mean and scatter of each channel in each ring.

    Parameters
    ----------
    images : numpy.ndarray
        Shape (N, channels, side, side), as `stellarfm.maps.MapScaler` gives them, side at least 32.

    Returns
    -------
    numpy.ndarray
        Shape (N, 2 * channels * `N_RINGS`): for each channel the means and then the scatters, innermost ring first.
    """
    weights = ring_weights(images.shape[-2:])
    return np.concatenate(
        [part for channel in range(images.shape[1]) for part in mean_and_scatter(images[:, channel], weights)], axis=1
    )
