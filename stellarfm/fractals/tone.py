"""From integer histograms to images in [0, 1].

The default, ``moments``, imitates the three maps of a cloud. The colour coordinate of the flame algorithm remembers
which maps a point has come through lately; like the velocity of gas it varies smoothly along a filament and jumps
where two overlap. So its mean and its standard deviation in a pixel stand to the density of points as velocity and
velocity dispersion stand to column density: different, but made by the same structure.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from stellarfm.fractals.render_cpu import COLOUR_LEVELS

__all__ = ["COLOURS", "log_density", "moments", "smooth", "tone"]

#: Pixels with this many points are averaged with their neighbours half and half.
SMOOTHING_POINTS = 48.0
#: Quantile of the density that becomes white.
WHITE_QUANTILE = 0.998
#: Standard deviations, either side of grey, that the channels of the colour span.
SPAN = 2.5
#: Weight of the prior in a pixel's colour, in points.
PRIOR_POINTS = 2.0


def smooth(histogram: np.ndarray) -> np.ndarray:
    """Adaptive density estimate (Draves & Reckase 2008, section 8, in its simplest form).

    Each pixel is mixed with the binomial mean (1 2 1) x (1 2 1) / 16 of its neighbourhood, the more so the fewer
    points it holds: the grain of few points is noise of the renderer, no structure of the fractal.
    """
    values = histogram.astype(np.float64)
    mean = _binomial(_binomial(values, axis=0), axis=1)
    weight = SMOOTHING_POINTS / (SMOOTHING_POINTS + mean[..., :1])
    return values + weight * (mean - values)


def _binomial(values: np.ndarray, *, axis: int) -> np.ndarray:
    """Running mean (1 2 1) / 4 along an axis, edges repeated."""
    values = np.moveaxis(values, axis, 0)
    padded = np.concatenate([values[:1], values, values[-1:]])
    return np.moveaxis(0.25 * (padded[:-2] + padded[2:]) + 0.5 * values, 0, axis)


def log_density(counts: np.ndarray, *, gamma: float) -> np.ndarray:
    """Logarithm of the number of points, stretched from empty = 0 to the 99.8 % quantile = 1, then to 1 / gamma."""
    logarithm = np.log1p(counts)
    white = np.quantile(logarithm, WHITE_QUANTILE)
    return np.clip(logarithm / max(white, 1e-9), 0.0, 1.0) ** (1.0 / gamma)


def moments(histogram: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of the colour coordinate in each pixel, both in [0, 1].

    Two points with the colours of the whole image are added to each pixel: empty pixels get the neutral value, and
    a lone point does not look like gas without dispersion.
    """
    unit = COLOUR_LEVELS - 1.0
    n, total, square = histogram[..., 0], histogram[..., 1] / unit, histogram[..., 2] / unit**2
    points = max(n.sum(), 1.0)
    prior, prior_square = total.sum() / points, square.sum() / points
    mean = (total + PRIOR_POINTS * prior) / (n + PRIOR_POINTS)
    variance = (square + PRIOR_POINTS * prior_square) / (n + PRIOR_POINTS) - mean**2
    return mean, np.sqrt(np.maximum(variance, 0.0))


def _moment_channels(histogram: np.ndarray, gamma: float) -> list[np.ndarray]:
    """Density, mean of the colour, its standard deviation; the latter two standardised."""
    mean, deviation = moments(histogram)
    return [log_density(histogram[..., 0], gamma=gamma), _standardised(mean), _standardised(deviation)]


def _standardised(values: np.ndarray) -> np.ndarray:
    """Mean of the image at 0.5, `SPAN` standard deviations on either side at 0 and 1."""
    return np.clip(0.5 + (values - values.mean()) / max(2.0 * SPAN * float(values.std()), 1e-6), 0.0, 1.0)


def _flame_channels(histogram: np.ndarray, gamma: float) -> list[np.ndarray]:
    """Red, green and blue of a rainbow of the mean colour, as bright as the density."""
    mean, _ = moments(histogram)
    density = log_density(histogram[..., 0], gamma=gamma)
    return [density * (0.5 + 0.5 * np.cos(2.0 * np.pi * (mean - phase))) for phase in (0.0, 1 / 3, 2 / 3)]


def _grey_channels(histogram: np.ndarray, gamma: float) -> list[np.ndarray]:
    """The density, three times."""
    return [log_density(histogram[..., 0], gamma=gamma)] * 3


#: Colourings by name.
COLOURS: dict[str, Callable[[np.ndarray, float], list[np.ndarray]]] = {
    "moments": _moment_channels,
    "flame": _flame_channels,
    "none": _grey_channels,
}


def tone(histogram: np.ndarray, *, channels: int, colour: str, gamma: float) -> np.ndarray:
    """Image of a histogram.

    Parameters
    ----------
    histogram : ndarray of int64, shape (size, size, 3)
        From `stellarfm.fractals.render_cpu.render`.
    channels : int
        1 to 3; the first ones of the colouring.
    colour : {"moments", "flame", "none"}
        ``moments``: density, mean and standard deviation of the colour coordinate. ``flame``: red, green, blue.
        ``none``: the density, repeated.
    gamma : float
        Brightens the density if above 1.

    Returns
    -------
    ndarray of float32, shape (channels, size, size)
        In [0, 1].
    """
    return np.stack(COLOURS[colour](smooth(histogram), gamma)[:channels]).astype(np.float32)
