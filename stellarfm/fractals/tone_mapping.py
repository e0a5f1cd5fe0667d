"""From integer histograms to images in [0, 1].

The default, ``moments``, imitates the three maps of a cloud. The colour coordinate of the flame algorithm remembers
which maps a point has come through lately; like the velocity of gas it varies smoothly along a filament and jumps
where two overlap. So its mean and its standard deviation in a pixel stand to the density of points as velocity and
velocity dispersion stand to column density: different, but made by the same structure.

All functions take numpy arrays or torch tensors, one image or a batch: the last axes count.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from stellarfm.fractals.array_namespace import Array, namespace, quantile
from stellarfm.fractals.rendering.cpu import COLOUR_LEVELS

__all__ = ["COLOURS", "log_density", "moments", "needs_colour", "smooth", "tone"]

#: Pixels with this many points are averaged with their neighbours half and half.
SMOOTHING_POINTS = 48.0
#: Quantile of the density that becomes white.
WHITE_QUANTILE = 0.998
#: Standard deviations, either side of grey, that the channels of the colour span.
SPAN = 2.5
#: Weight of the prior in a pixel's colour, in points.
PRIOR_POINTS = 2.0
#: The axes of an image.
PLANE = (-2, -1)


def smooth(histogram: Array) -> Array:
    """Adaptive density estimate (Draves & Reckase 2008, section 8, in its simplest form).

    Each pixel is mixed with the binomial mean (1 2 1) x (1 2 1) / 16 of its neighbourhood, the more so the fewer
    points it holds: the grain of few points is noise of the renderer, no structure of the fractal.
    """
    xp = namespace(histogram)
    values = xp.asarray(histogram, dtype=xp.float64)
    mean = xp.swapaxes(_binomial(xp.swapaxes(_binomial(values), -3, -2)), -3, -2)
    weight = SMOOTHING_POINTS / (SMOOTHING_POINTS + mean[..., :1])
    return values + weight * (mean - values)


def _binomial(values: Array) -> Array:
    """Running mean (1 2 1) / 4 along the rows of (..., rows, columns, planes), edges repeated."""
    padded = namespace(values).concatenate([values[..., :1, :, :], values, values[..., -1:, :, :]], axis=-3)
    return 0.25 * (padded[..., :-2, :, :] + padded[..., 2:, :, :]) + 0.5 * values


def log_density(counts: Array, *, gamma: float) -> Array:
    """Logarithm of the number of points, stretched from empty = 0 to the 99.8 % quantile = 1, then to 1 / gamma."""
    logarithm = namespace(counts).log1p(counts)
    white = quantile(logarithm.reshape(*counts.shape[:-2], -1), WHITE_QUANTILE)[..., None, None]
    return (logarithm / white.clip(min=1e-9)).clip(0.0, 1.0) ** (1.0 / gamma)


def moments(histogram: Array) -> tuple[Array, Array]:
    """Mean and standard deviation of the colour coordinate in each pixel, both in [0, 1].

    Two points with the colours of the whole image are added to each pixel: empty pixels get the neutral value, and
    a lone point does not look like gas without dispersion.
    """
    unit = COLOUR_LEVELS - 1.0
    n, total, square = histogram[..., 0], histogram[..., 1] / unit, histogram[..., 2] / unit**2
    points = n.sum(axis=PLANE, keepdims=True).clip(min=1.0)
    prior, prior_square = (part.sum(axis=PLANE, keepdims=True) / points for part in (total, square))
    mean = (total + PRIOR_POINTS * prior) / (n + PRIOR_POINTS)
    variance = (square + PRIOR_POINTS * prior_square) / (n + PRIOR_POINTS) - mean**2
    return mean, variance.clip(min=0.0) ** 0.5


def _moment_channels(histogram: Array, gamma: float) -> list[Array]:
    """Density, mean of the colour, its standard deviation; the latter two standardised."""
    mean, deviation = moments(histogram)
    return [log_density(histogram[..., 0], gamma=gamma), _standardised(mean), _standardised(deviation)]


def _standardised(values: Array) -> Array:
    """Mean of the image at 0.5, `SPAN` standard deviations on either side at 0 and 1."""
    offset = values - values.mean(axis=PLANE, keepdims=True)
    deviation = (offset**2).mean(axis=PLANE, keepdims=True) ** 0.5
    return (0.5 + offset / (2.0 * SPAN * deviation).clip(min=1e-6)).clip(0.0, 1.0)


def _flame_channels(histogram: Array, gamma: float) -> list[Array]:
    """Red, green and blue of a rainbow of the mean colour, as bright as the density."""
    mean, _ = moments(histogram)
    density = log_density(histogram[..., 0], gamma=gamma)
    cosine = namespace(mean).cos
    return [density * (0.5 + 0.5 * cosine(2.0 * math.pi * (mean - phase))) for phase in (0.0, 1 / 3, 2 / 3)]


def _grey_channels(histogram: Array, gamma: float) -> list[Array]:
    """The density, three times."""
    return [log_density(histogram[..., 0], gamma=gamma)] * 3


#: Colourings by name.
COLOURS: dict[str, Callable[[Array, float], list[Array]]] = {
    "moments": _moment_channels,
    "flame": _flame_channels,
    "none": _grey_channels,
}


def needs_colour(colour: str, *, channels: int) -> bool:
    """Whether an image shows more of a histogram than the number of points."""
    return colour == "flame" or (colour == "moments" and channels > 1)


def tone(histogram: Array, *, channels: int, colour: str, gamma: float) -> Array:
    """Image of a histogram, or images of a batch.

    Parameters
    ----------
    histogram : ndarray or torch.Tensor of int, shape (..., size, size, 3)
        From `stellarfm.fractals.rendering.cpu.render` or `stellarfm.fractals.rendering.dispatch.render_batch`.
    channels : int
        1 to 3; the first ones of the colouring.
    colour : {"moments", "flame", "none"}
        ``moments``: density, mean and standard deviation of the colour coordinate. ``flame``: red, green, blue.
        ``none``: the density, repeated.
    gamma : float
        Brightens the density if above 1.

    Returns
    -------
    ndarray or torch.Tensor of float32, shape (..., channels, size, size)
        In [0, 1].
    """
    xp = namespace(histogram)
    if not needs_colour(colour, channels=channels):
        colour, histogram = "none", histogram[..., :1]
    planes = COLOURS[colour](smooth(histogram), gamma)[:channels]
    return xp.asarray(xp.stack(planes, axis=-3), dtype=xp.float32)
