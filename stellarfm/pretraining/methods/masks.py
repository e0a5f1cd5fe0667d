"""Random block masks of the patches that are hidden from the student."""

from __future__ import annotations

import math

import torch

__all__ = ["block_masks"]

#: Number of times that blocks are drawn for all images.
ROUNDS = 8


def block_masks(
    images: int,
    grid: int,
    *,
    generator: torch.Generator,
    masked_images: float = 0.5,
    ratio: tuple[float, float] = (0.1, 0.5),
    min_block: int = 4,
    aspect: float = 0.3,
) -> torch.Tensor:
    """Draw random masks made of rectangular blocks.

    A fraction `masked_images` of the batch gets a mask; their fractions of hidden patches are spread evenly between the
    limits of `ratio`, so that the total hardly changes from batch to batch (DINOv2, arXiv:2304.07193; block-wise
    masking of BEiT, arXiv:2106.08254, algorithm 1). Blocks are drawn for all images at once; a block is kept if the
    image's number of hidden patches is not exceeded. After eight rounds the masks are completed with single patches.

    Parameters
    ----------
    images : int
        Number B of images.
    grid : int
        Number of patches along a side.
    generator : torch.Generator
        Source of randomness; its device is that of the result.
    masked_images : float
        Fraction of images with a mask.
    ratio : tuple of float
        Smallest and largest fraction of hidden patches in a masked image.
    min_block : int
        Smallest number of patches in a block.
    aspect : float
        Smallest ratio of the sides of a block; the largest is its inverse.

    Returns
    -------
    torch.Tensor
        Boolean, shape (B, grid, grid).

    Examples
    --------
    >>> import torch
    >>> from stellarfm.pretraining.methods.masks import block_masks
    >>> masks = block_masks(4, 8, generator=torch.Generator().manual_seed(0), ratio=(0.5, 0.5))
    >>> sorted(masks.sum(dim=(1, 2)).tolist())
    [0, 0, 32, 32]
    """
    counts = _hidden_counts(images, grid * grid, masked_images, ratio, generator)
    mask = torch.zeros(images, grid, grid, dtype=torch.bool, device=generator.device)
    for _ in range(ROUNDS):
        missing = counts - mask.sum(dim=(1, 2))
        grown = mask | _blocks(missing, grid, min_block, aspect, generator)
        mask = torch.where((grown.sum(dim=(1, 2)) <= counts)[:, None, None], grown, mask)
    return _fill(mask, counts, generator)


def _uniform(shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    return torch.rand(shape, generator=generator, device=generator.device)


def _hidden_counts(
    images: int, patches: int, masked_images: float, ratio: tuple[float, float], generator: torch.Generator
) -> torch.Tensor:
    """Draw the number of patches to hide in each image, shape (B,)."""
    masked = int(images * masked_images)
    rank = torch.arange(masked, device=generator.device)
    fraction = ratio[0] + (ratio[1] - ratio[0]) * (rank + _uniform((masked,), generator)) / max(masked, 1)
    counts = torch.zeros(images, dtype=torch.long, device=generator.device)
    counts[:masked] = (fraction * patches).long()
    return counts[torch.randperm(images, generator=generator, device=generator.device)]


def _blocks(
    missing: torch.Tensor, grid: int, min_block: int, aspect: float, generator: torch.Generator
) -> torch.Tensor:
    """Draw one rectangle per image, of roughly at most `missing` patches, shape (B, grid, grid)."""
    area, shape, top, left = _uniform((4, len(missing)), generator)
    area = min_block + area * (missing - min_block).clamp(min=0)
    side_ratio = torch.exp((2.0 * shape - 1.0) * math.log(1.0 / aspect))
    height = (area * side_ratio).sqrt().round().clamp(1, grid)
    width = (area / side_ratio).sqrt().round().clamp(1, grid)
    rows = _interval(top, height, grid)
    columns = _interval(left, width, grid)
    return rows[:, :, None] & columns[:, None, :]


def _interval(start: torch.Tensor, length: torch.Tensor, grid: int) -> torch.Tensor:
    """Return the cells of intervals of given length, starting at a fraction `start` of their range, (B, grid)."""
    first = (start * (grid - length + 1)).floor()[:, None]
    cells = torch.arange(grid, device=start.device)
    return (cells >= first) & (cells < first + length[:, None])


def _fill(mask: torch.Tensor, counts: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Add random single patches until each image has its number of hidden patches."""
    flat = mask.flatten(1)
    order = (
        torch.where(flat, 2.0, _uniform(tuple(flat.shape), generator)).argsort(dim=1, descending=True).argsort(dim=1)
    )
    return (order < counts[:, None]).view_as(mask)
