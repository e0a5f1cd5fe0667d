"""Augmentations of a batch of images, as tensor operations on the device of the batch.

All random numbers are drawn through `stellarfm.pretraining.distributed.random`, so that the views do not depend on the
number of devices. Channels are physical quantities, which are never mixed, permuted or converted to gray.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch.nn import functional

from stellarfm.contracts import IMAGE_CENTER, standardize
from stellarfm.pretraining.distributed.random import normal, uniform

__all__ = [
    "ROTATIONS",
    "Crop",
    "Stretch",
    "blur",
    "crop",
    "flip_sign",
    "noise",
    "random_sign",
    "random_symmetry",
    "standardize",
    "stretch",
    "symmetries",
]

ROTATIONS = ("any", "quarter", "none")
#: Largest number of attempts to draw a crop that fits.
TRIES = 10
#: Limit to which standardized images are clipped.
LIMIT = 5.0


@dataclass(frozen=True)
class Crop:
    """Random crop, resampled to a square.

    Attributes
    ----------
    size : int
        Side of the result in pixels.
    area : tuple of float
        Range of the fraction of the image area that is covered.
    aspect : tuple of float
        Range of the ratio of width to height of the covered region, drawn uniformly in its logarithm.
    """

    size: int
    area: tuple[float, float]
    aspect: tuple[float, float] = (3.0 / 4.0, 4.0 / 3.0)


@dataclass(frozen=True)
class Stretch:
    """Limits of a random change of each channel's brightness scale; zero disables a part.

    Attributes
    ----------
    gain : float
        Factors lie in [1 - gain, 1 + gain].
    offset : float
        Added constants lie in [-offset, offset], in units of the standardized images.
    gamma : float
        Exponents lie in [exp(-gamma), exp(gamma)].
    """

    gain: float = 0.2
    offset: float = 0.2
    gamma: float = 0.2


def crop(
    images: torch.Tensor, how: Crop, *, generator: torch.Generator, rotation: str = "any", flips: bool = True
) -> torch.Tensor:
    """Rotate, crop and flip images in one bilinear resampling.

    The image is rotated about its center, continued beyond its borders by reflection, and cropped along the rotated
    axes with the distribution of torchvision's ``RandomResizedCrop``: rotation changes neither the area of a crop, nor
    its aspect ratio, nor the range of its position.

    Parameters
    ----------
    images : torch.Tensor
        Shape (B, C, side, side).
    how : Crop
        Size of the result, and ranges of area and aspect ratio.
    generator : torch.Generator
        Source of randomness, on the device of `images`.
    rotation : {"any", "quarter", "none"}
        Any angle, multiples of 90 degrees, or none.
    flips : bool
        Mirror half of the crops.

    Returns
    -------
    torch.Tensor
        Shape (B, C, how.size, how.size).

    Examples
    --------
    >>> import torch
    >>> from stellarfm.pretraining.methods.augmentations import Crop, crop
    >>> how = Crop(size=16, area=(0.3, 1.0))
    >>> crop(torch.rand(2, 3, 32, 32), how, generator=torch.Generator().manual_seed(0)).shape
    torch.Size([2, 3, 16, 16])
    """
    count = len(images)
    angle = _angles(count, rotation, generator)
    cos, sin = torch.cos(angle), torch.sin(angle)
    width, height = _sides(count, how, generator)
    right = uniform((count,), -1.0, 1.0, generator=generator) * (1.0 - width)
    down = uniform((count,), -1.0, 1.0, generator=generator) * (1.0 - height)
    width = torch.where(uniform((count,), 0.0, 1.0, generator=generator) < 0.5 * flips, -width, width)
    x = [width * cos, -height * sin, right * cos - down * sin]
    y = [width * sin, height * cos, right * sin + down * cos]
    rows = torch.stack([*x, *y], dim=1)
    grid = functional.affine_grid(
        rows.view(count, 2, 3), [count, images.shape[1], how.size, how.size], align_corners=False
    )
    return functional.grid_sample(images, grid, padding_mode="reflection", align_corners=False)


def _sides(count: int, how: Crop, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw widths and heights of random crops in units of the side of the image, each of shape (count,).

    As in torchvision, pairs of area and aspect ratio are drawn until a crop fits, at most ten times; after that the
    crop is the whole image.
    """
    area = uniform((TRIES, count), *how.area, generator=generator, axis=1)
    aspect = uniform((TRIES, count), *map(math.log, how.aspect), generator=generator, axis=1).exp()
    sides = torch.stack([(area * aspect).sqrt(), (area / aspect).sqrt()])
    fits = (sides <= 1.0).all(dim=0)
    first = fits.int().argmax(dim=0).expand(2, 1, count)
    width, height = torch.where(fits.any(dim=0), sides.gather(1, first).squeeze(1), 1.0)
    return width, height


def _angles(count: int, rotation: str, generator: torch.Generator) -> torch.Tensor:
    """Draw random angles in radians, shape (count,)."""
    turns = uniform((count,), 0.0, 1.0, generator=generator)
    if rotation == "any":
        return turns * 2.0 * math.pi
    if rotation == "quarter":
        return (turns * 4.0).floor() * (0.5 * math.pi)
    if rotation == "none":
        return torch.zeros_like(turns)
    raise ValueError(f"rotation is {rotation!r}; expected one of {', '.join(ROTATIONS)}")


def symmetries(images: torch.Tensor) -> list[torch.Tensor]:
    """Return the images in their eight symmetries: rotated by four right angles, each also flipped.

    Examples
    --------
    >>> import torch
    >>> from stellarfm.pretraining.methods.augmentations import symmetries
    >>> len(symmetries(torch.rand(2, 3, 8, 8)))
    8
    """
    rotated = [torch.rot90(images, turns, dims=(-2, -1)) for turns in range(4)]
    return [*rotated, *(image.flip(-1) for image in rotated)]


def random_symmetry(images: torch.Tensor, *, generator: torch.Generator) -> torch.Tensor:
    """Return each image in a random one of its eight symmetries; no pixel is resampled."""
    choice = (8.0 * uniform((len(images),), 0.0, 1.0, generator=generator)).long().clamp(max=7)
    return torch.stack(symmetries(images))[choice, torch.arange(len(images), device=images.device)]


def flip_sign(images: torch.Tensor, channel: int) -> torch.Tensor:
    """Return images (B, C, size, size) with the sign of a channel, relative to 0.5, flipped."""
    flipped = images.clone()
    flipped[:, channel] = 2.0 * IMAGE_CENTER - flipped[:, channel]
    return flipped


def random_sign(images: torch.Tensor, channel: int, *, generator: torch.Generator) -> torch.Tensor:
    """Apply `flip_sign` to a random half of the images."""
    chosen = uniform((len(images), 1, 1, 1), 0.0, 1.0, generator=generator) < 0.5
    return torch.where(chosen, flip_sign(images, channel), images)


def stretch(images: torch.Tensor, how: Stretch, *, generator: torch.Generator) -> torch.Tensor:
    """Standardize images, with a random gamma, gain and offset of each channel of each image, and clip to +-5."""
    shape = (*images.shape[:2], 1, 1)
    gamma = uniform(shape, -how.gamma, how.gamma, generator=generator).exp()
    gain = uniform(shape, 1.0 - how.gain, 1.0 + how.gain, generator=generator)
    offset = uniform(shape, -how.offset, how.offset, generator=generator)
    bent = images.clamp(0.0, 1.0) ** gamma if how.gamma else images
    return (standardize(bent) * gain + offset).clamp(-LIMIT, LIMIT)


def blur(
    images: torch.Tensor, *, probability: float, sigma: tuple[float, float], generator: torch.Generator
) -> torch.Tensor:
    """Blur a fraction `probability` of the images by Gaussians of standard deviations in the range `sigma`, pixels."""
    count, channels = images.shape[:2]
    radius = math.ceil(2.5 * sigma[1])
    widths = uniform((count, 1), *sigma, generator=generator)
    widths = torch.where(uniform((count, 1), 0.0, 1.0, generator=generator) < probability, widths, 1e-3)
    distance = torch.arange(-radius, radius + 1, device=images.device)
    kernels = torch.softmax(-0.5 * (distance / widths) ** 2, dim=1).repeat_interleave(channels, dim=0)
    flat = functional.pad(images.flatten(0, 1).unsqueeze(0), [radius] * 4, mode="reflect")
    for kernel in (kernels[:, None, :, None], kernels[:, None, None, :]):
        flat = functional.conv2d(flat, kernel, groups=count * channels)
    return flat.view_as(images)


def noise(images: torch.Tensor, *, level: float, generator: torch.Generator) -> torch.Tensor:
    """Add white noise with a standard deviation drawn from [0, level] for each image, in standardized units."""
    levels = uniform((len(images), 1, 1, 1), 0.0, level, generator=generator)
    return images + levels * normal(tuple(images.shape), generator=generator)
