"""Noise of a spectral cube, and the mask of the voxels that contain a line."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from stellarfm.exceptions import MapError

__all__ = ["noise_in_channels", "noise_map", "signal_mask"]

#: Smallest number of line-free channels to measure noise in; with fewer its error exceeds a quarter.
MIN_CHANNELS = 8

_REMEDY = "give noise='0.1 K', or channels without a line, line_free='0 to 2 km/s'"


def noise_in_channels(cube: np.ndarray, channels: np.ndarray, *, where: str) -> np.ndarray:
    """Return the standard deviation of the channels without a line in each pixel.

    Parameters
    ----------
    cube : ndarray
        Shape (n, ny, nx), NaN is missing.
    channels : ndarray
        Channels without a line, boolean, shape (n,).
    where : str
        File, for messages.

    Returns
    -------
    ndarray
        Unit of `cube`, shape (ny, nx); NaN where a pixel has no values.

    Raises
    ------
    MapError
        If there are fewer than 8 such channels.
    """
    if channels.sum() < MIN_CHANNELS:
        raise MapError(f"{where}: {channels.sum()} channels are line-free; expected at least {MIN_CHANNELS}")
    return _deviation(cube[channels], np.isfinite(cube[channels]))


def noise_map(cube: np.ndarray, *, where: str) -> np.ndarray:
    """Return the noise of each pixel from its line-free channels, found by iterated clipping.

    The first estimate is the root mean square of the negative values, which emission lines do not contribute to: those
    of the pixel, or of the whole cube if a pixel has fewer than 8. Then, in each spectrum, channels above three times
    the noise and two more on either side are masked as a line, and the noise is the standard deviation of the others;
    this is repeated until the mask no longer changes. Pixels with fewer than 8 line-free channels are assigned the
    median of the others. Baselines must be flat and zero.

    Parameters
    ----------
    cube : ndarray
        Shape (n, ny, nx), NaN is missing.
    where : str
        File, for messages.

    Returns
    -------
    ndarray
        Unit of `cube`, shape (ny, nx).

    Raises
    ------
    MapError
        If there are too few negative values (as in a masked cube), or no pixel has enough line-free channels.
    """
    negative = cube < 0
    if negative.sum() < MIN_CHANNELS:
        raise MapError(f"{where}: too few negative values to estimate the noise (has the cube been masked?); {_REMEDY}")
    squares, number = (cube**2).sum(axis=0, where=negative, dtype=float), negative.sum(axis=0)
    few = number < MIN_CHANNELS
    noise = np.sqrt(np.where(few, squares.sum() / number.sum(), squares / np.maximum(number, 1)))
    free = np.isfinite(cube)
    while True:
        remaining = free & ~_line_voxels(cube, noise)
        noise = _fill_with_median(_deviation(cube, remaining), remaining, where)
        if np.array_equal(remaining, free):
            return noise
        free = remaining


def _line_voxels(cube: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Return the voxels above three times the noise, and two neighbors on either side along the spectrum."""
    with np.errstate(invalid="ignore"):
        return ndimage.binary_dilation(np.abs(cube) > 3 * noise, np.ones((5, 1, 1), dtype=bool))


def _deviation(cube: np.ndarray, used: np.ndarray) -> np.ndarray:
    """Return the standard deviation of the values that are used, NaN where there are none."""
    number = used.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = cube.sum(axis=0, where=used, dtype=float) / number
        return np.sqrt(((cube - mean) ** 2).sum(axis=0, where=used, dtype=float) / (number - 1))


def _fill_with_median(noise: np.ndarray, free: np.ndarray, where: str) -> np.ndarray:
    """Replace the noise of pixels with too few line-free channels by the median of the others."""
    known = (free.sum(axis=0) >= MIN_CHANNELS) & (noise > 0)
    if not known.any():
        raise MapError(f"{where}: no pixel has {MIN_CHANNELS} line-free channels, so the noise is unknown; {_REMEDY}")
    return np.where(known, noise, np.median(noise[known]))


def signal_mask(cube: np.ndarray, noise: np.ndarray, *, core: float = 4.0, edge: float = 2.0) -> np.ndarray:
    """Return the voxels of lines: above `core` sigma in two adjacent channels, and above `edge` sigma next to those.

    The two-level mask of CPROPS (Rosolowsky & Leroy 2006, PASP 118, 590).

    Parameters
    ----------
    cube : ndarray
        Shape (n, ny, nx), NaN is missing.
    noise : ndarray
        Standard deviation of a voxel, unit of `cube`, shape (ny, nx).
    core, edge : float
        Upper and lower threshold, in units of the noise.

    Returns
    -------
    ndarray
        Boolean, shape of `cube`.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = cube / noise
        bright, wide = ratio > core, ratio > edge
    pairs = bright[1:] & bright[:-1]
    seeds = np.zeros_like(bright)
    seeds[1:] |= pairs
    seeds[:-1] |= pairs
    return ndimage.binary_propagation(seeds, mask=wide)
