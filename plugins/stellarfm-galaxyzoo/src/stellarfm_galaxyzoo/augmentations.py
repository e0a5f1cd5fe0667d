"""Augmented views of galaxies for contrastive learning, computed on the device of the batch.

All random numbers are drawn through `stellarfm.pretraining.distributed.random`, so that several devices make the same
views as one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn import functional

from stellarfm.pretraining.distributed.random import uniform

__all__ = ["Augmentation", "color_jitter", "crop", "grayscale", "standardize", "view"]


@dataclass(frozen=True)
class Augmentation:
    """Augmentations under which the class of a galaxy is invariant (arXiv:2206.11927 and its code of 2022).

    Attributes
    ----------
    size : int
        Side of a view in pixels.
    area : sequence of float
        Range of the fraction of the image area that a view covers.
    aspect : sequence of float
        Range of the ratio of width to height of the covered area.
    jitter : float
        Largest relative change of brightness, contrast and saturation. The hue is rotated by up to a quarter of
        `jitter` of a circle (three channels only).
    jitter_share : float
        Fraction of the views whose colors are changed.
    grey_share : float
        Fraction of the views that become grayscale.
    """

    size: int
    area: Sequence[float] = (0.3, 0.85)
    aspect: Sequence[float] = (0.8, 1.2)
    jitter: float = 0.4
    jitter_share: float = 0.8
    grey_share: float = 0.3


def view(images: torch.Tensor, augmentation: Augmentation, *, generator: torch.Generator) -> torch.Tensor:
    """Return a random, standardized view (B, C, size, size) of each image (B, C, side, side) in [0, 1]."""
    images = crop(images, augmentation, generator=generator)
    images = color_jitter(images, augmentation.jitter, share=augmentation.jitter_share, generator=generator)
    return standardize(grayscale(images, augmentation.grey_share, generator=generator))


def standardize(images: torch.Tensor) -> torch.Tensor:
    """Return images of [0, 1] centered on 0 with a standard deviation of about 1 (see `PretrainingDataset`)."""
    return (images - 0.5) / 0.2


def crop(images: torch.Tensor, augmentation: Augmentation, *, generator: torch.Generator) -> torch.Tensor:
    """Rotate, mirror and crop each image at random in one bilinear resampling, with reflected borders."""
    count = len(images)
    angle = uniform((count,), 0.0, 2.0 * math.pi, generator=generator)
    side = uniform((count,), *augmentation.area, generator=generator).sqrt()
    stretch = uniform((count,), *map(math.log, augmentation.aspect), generator=generator).mul(0.5).exp()
    width, height = (side * stretch).clamp(max=1.0), (side / stretch).clamp(max=1.0)
    shift = uniform((2, count), -1.0, 1.0, generator=generator, axis=1) * (1.0 - torch.stack([width, height]))
    mirror = torch.where(uniform((count,), 0.0, 1.0, generator=generator) < 0.5, -1.0, 1.0)
    cos, sin = torch.cos(angle), torch.sin(angle)
    x, y = shift[0] * cos - shift[1] * sin, shift[0] * sin + shift[1] * cos
    rows = torch.stack([width * cos * mirror, -height * sin, x, width * sin * mirror, height * cos, y], dim=1)
    shape = [count, images.shape[1], augmentation.size, augmentation.size]
    grid = functional.affine_grid(rows.view(count, 2, 3), shape, align_corners=False)
    return functional.grid_sample(images, grid, padding_mode="reflection", align_corners=False)


def color_jitter(images: torch.Tensor, strength: float, *, share: float, generator: torch.Generator) -> torch.Tensor:
    """Change brightness, contrast, saturation and hue of a fraction `share` of the images, each independently."""
    shape = (len(images), 1, 1, 1)
    chosen = uniform(shape, 0.0, 1.0, generator=generator) < share
    gain, contrast, saturation = (uniform(shape, 1.0 - strength, 1.0 + strength, generator=generator) for _ in range(3))
    turn = uniform((len(images),), -0.25 * strength, 0.25 * strength, generator=generator)
    changed = images * gain
    mean = changed.mean(dim=(1, 2, 3), keepdim=True)
    changed = mean + (changed - mean) * contrast
    changed = _channel_mean(changed) + (changed - _channel_mean(changed)) * saturation
    if images.shape[1] == 3:
        changed = torch.einsum("bij,bjyx->biyx", _hue_rotations(turn), changed)
    return torch.where(chosen, changed.clamp(0.0, 1.0), images)


def grayscale(images: torch.Tensor, share: float, *, generator: torch.Generator) -> torch.Tensor:
    """Replace every channel by the mean of all channels in a fraction `share` of the images."""
    chosen = uniform((len(images), 1, 1, 1), 0.0, 1.0, generator=generator) < share
    return torch.where(chosen, _channel_mean(images), images)


def _channel_mean(images: torch.Tensor) -> torch.Tensor:
    return images.mean(dim=1, keepdim=True).expand_as(images)


def _hue_rotations(turn: torch.Tensor) -> torch.Tensor:
    """Return rotations (B, 3, 3) about the gray axis by `turn` of a circle (Rodrigues' formula)."""
    angle = 2.0 * math.pi * turn[:, None, None]
    across = torch.full((3, 3), 1.0 / 3.0, device=turn.device)
    third = 1.0 / math.sqrt(3.0)
    cross = torch.tensor([[0.0, -third, third], [third, 0.0, -third], [-third, third, 0.0]], device=turn.device)
    return across + torch.cos(angle) * (torch.eye(3, device=turn.device) - across) + torch.sin(angle) * cross
