"""Tone mapping: from integer histograms to images in [0, 1].

The default, ``moments``, imitates the three maps of a cloud. The color coordinate of the flame algorithm records which
maps a point has passed recently; like the velocity of gas it varies smoothly along a filament and jumps where two
filaments overlap. Its mean and its standard deviation in a pixel are therefore related to the density of points as
velocity and velocity dispersion are to column density: different quantities of the same structure.

All functions accept numpy arrays or torch tensors, a single image or a batch (leading axes).
"""

from __future__ import annotations

import math
from collections.abc import Callable

from stellarfm.fractals.array_namespace import Array, namespace, quantile
from stellarfm.fractals.rendering.chaos_game import COLOR_LEVELS

__all__ = ["COLORS", "log_density", "moments", "needs_color", "smooth", "tone"]

#: Number of points for which a pixel and the mean of its neighborhood have equal weights.
SMOOTHING_POINTS = 48.0
#: Quantile of the density that is mapped to white.
WHITE_QUANTILE = 0.998
#: Range of the color channels on either side of gray, in standard deviations.
SPAN = 2.5
#: Weight of the prior of the color of a pixel, in points.
PRIOR_POINTS = 2.0
#: Axes of an image.
PLANE = (-2, -1)


def smooth(histogram: Array) -> Array:
    """Return an adaptive density estimate (Draves & Reckase 2008, section 8, in its simplest form).

    Each pixel is mixed with the binomial mean (1 2 1) x (1 2 1) / 16 of its neighborhood, with a weight that grows as
    its number of points decreases: the grain of few points is noise of the renderer, not structure of the fractal.

    Parameters
    ----------
    histogram : ndarray or torch.Tensor of int, shape (..., size, size, 3 or 1)
        Histogram of a renderer.

    Examples
    --------
    >>> import numpy as np
    >>> bool(np.allclose(smooth(np.full((8, 8, 3), 2)), 2.0))
    True
    """
    xp = namespace(histogram)
    values = xp.asarray(histogram, dtype=xp.float64)
    mean = xp.swapaxes(_binomial(xp.swapaxes(_binomial(values), -3, -2)), -3, -2)
    weight = SMOOTHING_POINTS / (SMOOTHING_POINTS + mean[..., :1])
    return values + weight * (mean - values)


def _binomial(values: Array) -> Array:
    """Return the running mean (1 2 1) / 4 along the rows of (..., rows, columns, planes), with repeated edges."""
    padded = namespace(values).concatenate([values[..., :1, :, :], values, values[..., -1:, :, :]], axis=-3)
    return 0.25 * (padded[..., :-2, :, :] + padded[..., 2:, :, :]) + 0.5 * values


def log_density(counts: Array, *, gamma: float) -> Array:
    """Return ln(1 + n), scaled to 0 for empty pixels and 1 at its 99.8 % quantile, to the power of 1 / gamma.

    Examples
    --------
    >>> import numpy as np
    >>> float(log_density(np.zeros((8, 8)), gamma=1.0).max())
    0.0
    """
    logarithm = namespace(counts).log1p(counts)
    white = quantile(logarithm.reshape(*counts.shape[:-2], -1), WHITE_QUANTILE)[..., None, None]
    return (logarithm / white.clip(min=1e-9)).clip(0.0, 1.0) ** (1.0 / gamma)


def moments(histogram: Array) -> tuple[Array, Array]:
    """Return mean and standard deviation of the color coordinate in each pixel, both in [0, 1].

    Two points with the color distribution of the whole image are added to each pixel: empty pixels receive the neutral
    value, and a single point does not appear as gas without dispersion.

    Examples
    --------
    >>> import numpy as np
    >>> mean, deviation = moments(np.ones((8, 8, 3)))
    >>> mean.shape
    (8, 8)
    """
    unit = COLOR_LEVELS - 1.0
    n, total, square = histogram[..., 0], histogram[..., 1] / unit, histogram[..., 2] / unit**2
    points = n.sum(axis=PLANE, keepdims=True).clip(min=1.0)
    prior, prior_square = (part.sum(axis=PLANE, keepdims=True) / points for part in (total, square))
    mean = (total + PRIOR_POINTS * prior) / (n + PRIOR_POINTS)
    variance = (square + PRIOR_POINTS * prior_square) / (n + PRIOR_POINTS) - mean**2
    return mean, variance.clip(min=0.0) ** 0.5


def _moment_channels(histogram: Array, gamma: float) -> list[Array]:
    """Return density, mean of the color and its standard deviation; the latter two standardized."""
    mean, deviation = moments(histogram)
    return [log_density(histogram[..., 0], gamma=gamma), _standardize(mean), _standardize(deviation)]


def _standardize(values: Array) -> Array:
    """Return values scaled so that the mean is 0.5 and `SPAN` standard deviations on either side are 0 and 1."""
    offset = values - values.mean(axis=PLANE, keepdims=True)
    deviation = (offset**2).mean(axis=PLANE, keepdims=True) ** 0.5
    return (0.5 + offset / (2.0 * SPAN * deviation).clip(min=1e-6)).clip(0.0, 1.0)


def _rainbow_channels(histogram: Array, gamma: float) -> list[Array]:
    """Return red, green and blue: a rainbow of the mean color, with the density as brightness."""
    mean, _ = moments(histogram)
    density = log_density(histogram[..., 0], gamma=gamma)
    cosine = namespace(mean).cos
    return [density * (0.5 + 0.5 * cosine(2.0 * math.pi * (mean - phase))) for phase in (0.0, 1 / 3, 2 / 3)]


def _gray_channels(histogram: Array, gamma: float) -> list[Array]:
    """Return the density three times."""
    return [log_density(histogram[..., 0], gamma=gamma)] * 3


#: Functions that return the channels of a histogram, by the name of the coloring.
COLORS: dict[str, Callable[[Array, float], list[Array]]] = {
    "moments": _moment_channels,
    "flame": _rainbow_channels,
    "none": _gray_channels,
}


def needs_color(color: str, *, channels: int) -> bool:
    """Return True if an image depends on more of a histogram than the number of points.

    Examples
    --------
    >>> needs_color("moments", channels=1)
    False
    """
    return color == "flame" or (color == "moments" and channels > 1)


def tone(histogram: Array, *, channels: int, color: str, gamma: float) -> Array:
    """Return the image of a histogram, or the images of a batch.

    Parameters
    ----------
    histogram : ndarray or torch.Tensor of int, shape (..., size, size, 3)
        From `stellarfm.fractals.rendering.cpu.render` or `stellarfm.fractals.rendering.dispatch.render_batch`.
    channels : int
        Number of channels, 1 to 3; the first ones of the coloring.
    color : {"moments", "flame", "none"}
        Content of the channels. ``moments``: density, mean and standard deviation of the color coordinate.
        ``flame``: red, green, blue. ``none``: the density, repeated.
    gamma : float
        Exponent of the tone curve; values above 1 brighten the density.

    Returns
    -------
    ndarray or torch.Tensor of float32, shape (..., channels, size, size)
        Pixel values in [0, 1].

    Examples
    --------
    >>> import numpy as np
    >>> histogram = np.random.default_rng(0).poisson(15, (16, 16, 3))
    >>> tone(histogram, channels=3, color="flame", gamma=1.0).shape
    (3, 16, 16)
    """
    xp = namespace(histogram)
    if not needs_color(color, channels=channels):
        color, histogram = "none", histogram[..., :1]
    planes = COLORS[color](smooth(histogram), gamma)[:channels]
    return xp.asarray(xp.stack(planes, axis=-3), dtype=xp.float32)
