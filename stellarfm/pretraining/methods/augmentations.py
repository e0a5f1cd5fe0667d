"""Augmented views of a batch, made on the batch's device with a few tensor operations.

Every function draws through `stellarfm.pretraining.distributed.random`, so that several devices make the views that one
would.

Channels are physical quantities: they are never mixed, permuted or turned grey.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch.nn import functional

from stellarfm.pretraining.distributed.random import normal, uniform

__all__ = [
    "ROTATIONS",
    "Crop",
    "Stretch",
    "all_turns",
    "blur",
    "crop",
    "mirror",
    "mirrored",
    "noise",
    "standardise",
    "stretch",
    "turn",
]

ROTATIONS = ("any", "quarter", "none")
CENTRE, SPREAD, LIMIT = 0.5, 0.2, 5.0  # flames have means of 0.4-0.5 and a standard deviation of 0.2


@dataclass(frozen=True)
class Crop:
    """A random square crop: its side in pixels, and the range of the share of the image's area that it covers."""

    size: int
    area: tuple[float, float]


@dataclass(frozen=True)
class Stretch:
    """Limits of a random change of each channel's brightness scale; zero switches a part off.

    Attributes
    ----------
    gain : float
        Factors lie in [1 - gain, 1 + gain].
    offset : float
        Added constants lie in [-offset, offset], in units of the standardised images.
    gamma : float
        Exponents lie in [exp(-gamma), exp(gamma)].
    """

    gain: float = 0.2
    offset: float = 0.2
    gamma: float = 0.2


def crop(
    images: torch.Tensor, how: Crop, *, generator: torch.Generator, rotation: str = "any", flips: bool = True
) -> torch.Tensor:
    """Crop, rotate and flip in one bilinear resampling.

    The rotated square always lies inside the image, so that no border is ever invented: its side is limited to
    ``1 / (|cos| + |sin|)`` of the image's.

    Parameters
    ----------
    images : torch.Tensor
        Shape (B, C, side, side).
    how : Crop
        Size of the result and range of area.
    generator : torch.Generator
        On the device of `images`.
    rotation : {"any", "quarter", "none"}
        Any angle, multiples of 90 degrees, or none.
    flips : bool
        Mirror half of the crops.

    Returns
    -------
    torch.Tensor
        Shape (B, C, how.size, how.size).
    """
    count = len(images)
    angle = _angles(count, rotation, generator)
    cos, sin = torch.cos(angle), torch.sin(angle)
    reach = cos.abs() + sin.abs()
    side = torch.minimum(uniform((count,), *how.area, generator=generator).sqrt(), 1.0 / reach)
    margin = (1.0 - side * reach).clamp(min=0.0)
    shift = uniform((2, count), -1.0, 1.0, generator=generator, axis=1) * margin
    mirror = torch.where(uniform((count,), 0.0, 1.0, generator=generator) < 0.5 * flips, -1.0, 1.0)
    rows = torch.stack([side * cos * mirror, -side * sin, shift[0], side * sin * mirror, side * cos, shift[1]], dim=1)
    grid = functional.affine_grid(
        rows.view(count, 2, 3), [count, images.shape[1], how.size, how.size], align_corners=False
    )
    return functional.grid_sample(images, grid, padding_mode="reflection", align_corners=False)


def _angles(count: int, rotation: str, generator: torch.Generator) -> torch.Tensor:
    """Random angles in radians, shape (count,)."""
    turns = uniform((count,), 0.0, 1.0, generator=generator)
    if rotation == "any":
        return turns * 2.0 * math.pi
    if rotation == "quarter":
        return (turns * 4.0).floor() * (0.5 * math.pi)
    if rotation == "none":
        return torch.zeros_like(turns)
    raise ValueError(f"rotation is {rotation!r}; expected one of {', '.join(ROTATIONS)}")


def all_turns(images: torch.Tensor) -> list[torch.Tensor]:
    """The eight symmetries of square images: four right angles, each also flipped."""
    turned = [torch.rot90(images, turns, dims=(-2, -1)) for turns in range(4)]
    return [*turned, *(image.flip(-1) for image in turned)]


def turn(images: torch.Tensor, *, generator: torch.Generator) -> torch.Tensor:
    """Each image in one of its eight symmetries, chosen at random; no pixel is resampled."""
    choice = (8.0 * uniform((len(images),), 0.0, 1.0, generator=generator)).long().clamp(max=7)
    return torch.stack(all_turns(images))[choice, torch.arange(len(images), device=images.device)]


def mirrored(images: torch.Tensor, channel: int) -> torch.Tensor:
    """Images (B, C, size, size) with the sign of a channel, about the centre, turned."""
    flipped = images.clone()
    flipped[:, channel] = 2.0 * CENTRE - flipped[:, channel]
    return flipped


def mirror(images: torch.Tensor, channel: int, *, generator: torch.Generator) -> torch.Tensor:
    """`mirrored` for half of the images."""
    chosen = uniform((len(images), 1, 1, 1), 0.0, 1.0, generator=generator) < 0.5
    return torch.where(chosen, mirrored(images, channel), images)


def standardise(images: torch.Tensor) -> torch.Tensor:
    """From [0, 1] to [-2.5, 2.5]: centre 0 and spread about 1, as `MapScaler` makes of real maps."""
    return (images - CENTRE) / SPREAD


def stretch(images: torch.Tensor, how: Stretch, *, generator: torch.Generator) -> torch.Tensor:
    """Standardised images with a random gamma, gain and offset for each channel of each image, clipped to +-5."""
    shape = (*images.shape[:2], 1, 1)
    gamma = uniform(shape, -how.gamma, how.gamma, generator=generator).exp()
    gain = uniform(shape, 1.0 - how.gain, 1.0 + how.gain, generator=generator)
    offset = uniform(shape, -how.offset, how.offset, generator=generator)
    bent = images.clamp(0.0, 1.0) ** gamma if how.gamma else images
    return (standardise(bent) * gain + offset).clamp(-LIMIT, LIMIT)


def blur(
    images: torch.Tensor, *, probability: float, sigma: tuple[float, float], generator: torch.Generator
) -> torch.Tensor:
    """Gaussian blur with a standard deviation of `sigma` pixels (a range), for a share `probability` of the images."""
    count, channels = images.shape[:2]
    reach = math.ceil(2.5 * sigma[1])
    widths = uniform((count, 1), *sigma, generator=generator)
    widths = torch.where(uniform((count, 1), 0.0, 1.0, generator=generator) < probability, widths, 1e-3)
    distance = torch.arange(-reach, reach + 1, device=images.device)
    kernels = torch.softmax(-0.5 * (distance / widths) ** 2, dim=1).repeat_interleave(channels, dim=0)
    flat = functional.pad(images.flatten(0, 1).unsqueeze(0), [reach] * 4, mode="reflect")
    for kernel in (kernels[:, None, :, None], kernels[:, None, None, :]):
        flat = functional.conv2d(flat, kernel, groups=count * channels)
    return flat.view_as(images)


def noise(images: torch.Tensor, *, level: float, generator: torch.Generator) -> torch.Tensor:
    """White noise, its standard deviation drawn from [0, level] for each image, in units of the standardised images."""
    levels = uniform((len(images), 1, 1, 1), 0.0, level, generator=generator)
    return images + levels * normal(tuple(images.shape), generator=generator)
