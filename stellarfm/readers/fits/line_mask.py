"""Where a spectral cube holds a line, and how large its noise is."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from stellarfm.exceptions import MapError

__all__ = ["noise_in_channels", "noise_map", "signal_mask"]

#: Fewer line-free channels tell no noise: its error would exceed a quarter.
LEAST_CHANNELS = 8

_MEND = "give it by --noise '0.1 K', or channels without a line by --line-free '0 to 2 km/s'"


def noise_in_channels(cube: np.ndarray, channels: np.ndarray, *, where: str) -> np.ndarray:
    """Standard deviation of the channels without a line, one value a pixel.

    Parameters
    ----------
    cube : ndarray
        Shape (n, ny, nx), NaN is missing.
    channels : ndarray
        Boolean, shape (n,): those that the caller knows to hold no line.
    where : str
        File, for messages.

    Raises
    ------
    MapError
        If there are fewer than 8 such channels.
    """
    if channels.sum() < LEAST_CHANNELS:
        raise MapError(f"{where}: {channels.sum()} channels are line-free; expected at least {LEAST_CHANNELS}")
    return _deviation(cube[channels], np.isfinite(cube[channels]))


def noise_map(cube: np.ndarray, *, where: str) -> np.ndarray:
    """Noise of every pixel from the channels where it shows no line, found by iterated clipping.

    The first guess is the root mean square of the negative values, which no emission line makes: those of the pixel,
    or of the whole cube if a pixel has fewer than 8. Then, in each spectrum, channels above three times the noise and
    two more on either side are a line; the noise is the standard deviation of the others; again, until no channel is
    added. Pixels with fewer than 8 line-free channels get the median of the others. Baselines must be flat and zero.

    Parameters
    ----------
    cube : ndarray
        Shape (n, ny, nx), NaN is missing.
    where : str
        File, for messages.

    Raises
    ------
    MapError
        If hardly anything is negative (the cube is masked already), or no pixel has enough line-free channels.
    """
    negative = cube < 0
    if negative.sum() < LEAST_CHANNELS:
        raise MapError(f"{where}: hardly any value is negative, so the noise cannot be told; {_MEND}")
    squares, number = (cube**2).sum(axis=0, where=negative, dtype=float), negative.sum(axis=0)
    few = number < LEAST_CHANNELS
    noise = np.sqrt(np.where(few, squares.sum() / number.sum(), squares / np.maximum(number, 1)))
    free = np.isfinite(cube)
    while True:
        remaining = free & ~_line(cube, noise)
        noise = _filled(_deviation(cube, remaining), remaining, where)
        if np.array_equal(remaining, free):
            return noise
        free = remaining


def _line(cube: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Voxels that stand out, and their neighbours along the spectrum."""
    with np.errstate(invalid="ignore"):
        return ndimage.binary_dilation(np.abs(cube) > 3 * noise, np.ones((5, 1, 1), dtype=bool))


def _deviation(cube: np.ndarray, used: np.ndarray) -> np.ndarray:
    """Standard deviation of the values that are used, NaN where there are none."""
    number = used.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = cube.sum(axis=0, where=used, dtype=float) / number
        return np.sqrt(((cube - mean) ** 2).sum(axis=0, where=used, dtype=float) / (number - 1))


def _filled(noise: np.ndarray, free: np.ndarray, where: str) -> np.ndarray:
    """The median where too few channels are line-free."""
    known = (free.sum(axis=0) >= LEAST_CHANNELS) & (noise > 0)
    if not known.any():
        raise MapError(f"{where}: no pixel has {LEAST_CHANNELS} line-free channels, so the noise is unknown; {_MEND}")
    return np.where(known, noise, np.median(noise[known]))


def signal_mask(cube: np.ndarray, noise: np.ndarray, *, core: float = 4.0, edge: float = 2.0) -> np.ndarray:
    """Voxels of lines: `core` sigma in two channels side by side, and all above `edge` sigma that they touch.

    The two-level mask of CPROPS (Rosolowsky & Leroy 2006, PASP 118, 590).

    Parameters
    ----------
    cube : ndarray
        Shape (n, ny, nx), NaN is missing.
    noise : ndarray
        Same unit, shape (ny, nx).
    core, edge : float
        In units of the noise.

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
