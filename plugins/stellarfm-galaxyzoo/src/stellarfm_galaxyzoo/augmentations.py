"""Views of galaxies for contrastive learning, made on the batch's device.

Every function draws through `stellarfm.pretraining.distributed.random`, so that several devices make the views that one
would.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch.nn import functional

from stellarfm.pretraining.distributed.random import uniform

__all__ = ["Augmentation", "colour_jitter", "crop", "grey", "standardise", "view"]


@dataclass(frozen=True)
class Augmentation:
    """What may be done to a galaxy without changing what it is (arXiv:2206.11927; its code of 2022).

    Attributes
    ----------
    size : int
        Side of a view in pixels.
    area : tuple of float
        Range of the share of the image that a view shows.
    aspect : tuple of float
        Range of its width over its height.
    jitter : float
        Brightness, contrast and saturation are multiplied by up to 1 +- jitter, and the hue is turned by up to a
        quarter of `jitter` of a circle (three channels only).
    jitter_share, grey_share : float
        Shares of the views whose colours are changed, or taken away.
    """

    size: int
    area: tuple[float, float] = (0.3, 0.85)
    aspect: tuple[float, float] = (0.8, 1.2)
    jitter: float = 0.4
    jitter_share: float = 0.8
    grey_share: float = 0.3


def view(images: torch.Tensor, how: Augmentation, *, generator: torch.Generator) -> torch.Tensor:
    """A random view of each image (B, C, side, side) in [0, 1]: standardised, shape (B, C, size, size)."""
    images = crop(images, how, generator=generator)
    images = colour_jitter(images, how.jitter, share=how.jitter_share, generator=generator)
    return standardise(grey(images, how.grey_share, generator=generator))


def standardise(images: torch.Tensor) -> torch.Tensor:
    """From [0, 1] to centre 0 and a spread of about 1, as `stellarfm.contracts.PretrainingDataset` says."""
    return (images - 0.5) / 0.2


def crop(images: torch.Tensor, how: Augmentation, *, generator: torch.Generator) -> torch.Tensor:
    """Rotate by any angle, mirror, and cut a random rectangle out, in one bilinear resampling; borders are mirrored."""
    count = len(images)
    angle = uniform((count,), 0.0, 2.0 * math.pi, generator=generator)
    side = uniform((count,), *how.area, generator=generator).sqrt()
    stretch = uniform((count,), *map(math.log, how.aspect), generator=generator).mul(0.5).exp()
    width, height = (side * stretch).clamp(max=1.0), (side / stretch).clamp(max=1.0)
    shift = uniform((2, count), -1.0, 1.0, generator=generator, axis=1) * (1.0 - torch.stack([width, height]))
    mirror = torch.where(uniform((count,), 0.0, 1.0, generator=generator) < 0.5, -1.0, 1.0)
    cos, sin = torch.cos(angle), torch.sin(angle)
    x, y = shift[0] * cos - shift[1] * sin, shift[0] * sin + shift[1] * cos
    rows = torch.stack([width * cos * mirror, -height * sin, x, width * sin * mirror, height * cos, y], dim=1)
    shape = [count, images.shape[1], how.size, how.size]
    grid = functional.affine_grid(rows.view(count, 2, 3), shape, align_corners=False)
    return functional.grid_sample(images, grid, padding_mode="reflection", align_corners=False)


def colour_jitter(images: torch.Tensor, strength: float, *, share: float, generator: torch.Generator) -> torch.Tensor:
    """Change brightness, contrast, saturation and hue of a share of the images, each by its own random amount."""
    shape = (len(images), 1, 1, 1)
    chosen = uniform(shape, 0.0, 1.0, generator=generator) < share
    gain, contrast, saturation = (uniform(shape, 1.0 - strength, 1.0 + strength, generator=generator) for _ in range(3))
    turn = uniform((len(images),), -0.25 * strength, 0.25 * strength, generator=generator)
    changed = images * gain
    mean = changed.mean(dim=(1, 2, 3), keepdim=True)
    changed = mean + (changed - mean) * contrast
    changed = _without_colour(changed) + (changed - _without_colour(changed)) * saturation
    if images.shape[1] == 3:
        changed = torch.einsum("bij,bjyx->biyx", _hue_turns(turn), changed)
    return torch.where(chosen, changed.clamp(0.0, 1.0), images)


def grey(images: torch.Tensor, share: float, *, generator: torch.Generator) -> torch.Tensor:
    """Replace every channel by the mean of all, in a share of the images."""
    chosen = uniform((len(images), 1, 1, 1), 0.0, 1.0, generator=generator) < share
    return torch.where(chosen, _without_colour(images), images)


def _without_colour(images: torch.Tensor) -> torch.Tensor:
    return images.mean(dim=1, keepdim=True).expand_as(images)


def _hue_turns(turn: torch.Tensor) -> torch.Tensor:
    """Rotations about the grey axis (Rodrigues' formula) by `turn` of a circle, shape (B, 3, 3)."""
    angle = 2.0 * math.pi * turn[:, None, None]
    across = torch.full((3, 3), 1.0 / 3.0, device=turn.device)
    third = 1.0 / math.sqrt(3.0)
    cross = torch.tensor([[0.0, -third, third], [third, 0.0, -third], [-third, third, 0.0]], device=turn.device)
    return across + torch.cos(angle) * (torch.eye(3, device=turn.device) - across) + torch.sin(angle) * cross
