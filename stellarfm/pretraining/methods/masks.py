"""Block masks: which patches are hidden from the student."""

from __future__ import annotations

import math

import torch

__all__ = ["block_masks"]

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
    """Random masks made of rectangular blocks.

    A share `masked_images` of the batch gets a mask; their ratios of hidden patches are spread evenly between the
    limits of `ratio`, so that the total hardly changes from batch to batch (DINOv2, arXiv:2304.07193; block-wise
    masking of BEiT, arXiv:2106.08254, algorithm 1). Blocks are drawn for all images at once; one is kept where it does
    not exceed its image's number, and what is still lacking after some rounds is filled with single patches, so that
    each image has exactly its number.

    Parameters
    ----------
    images : int
        Number B of images.
    grid : int
        Number of patches along a side.
    generator : torch.Generator
        The only source of randomness; its device is that of the result.
    masked_images : float
        Share of images with a mask.
    ratio : tuple of float
        Least and largest share of hidden patches in a masked image.
    min_block : int
        Least number of patches in a block.
    aspect : float
        Least ratio of the sides of a block; the largest is its inverse.

    Returns
    -------
    torch.Tensor
        Boolean, shape (B, grid, grid).
    """
    wanted = _wanted(images, grid * grid, masked_images, ratio, generator)
    mask = torch.zeros(images, grid, grid, dtype=torch.bool, device=generator.device)
    for _ in range(ROUNDS):
        lacking = wanted - mask.sum(dim=(1, 2))
        grown = mask | _blocks(lacking, grid, min_block, aspect, generator)
        mask = torch.where((grown.sum(dim=(1, 2)) <= wanted)[:, None, None], grown, mask)
    return _fill(mask, wanted, generator)


def _uniform(shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    return torch.rand(shape, generator=generator, device=generator.device)


def _wanted(
    images: int, patches: int, masked_images: float, ratio: tuple[float, float], generator: torch.Generator
) -> torch.Tensor:
    """Number of patches to hide in each image, shape (B,)."""
    masked = int(images * masked_images)
    rank = torch.arange(masked, device=generator.device)
    share = ratio[0] + (ratio[1] - ratio[0]) * (rank + _uniform((masked,), generator)) / max(masked, 1)
    counts = torch.zeros(images, dtype=torch.long, device=generator.device)
    counts[:masked] = (share * patches).long()
    return counts[torch.randperm(images, generator=generator, device=generator.device)]


def _blocks(
    lacking: torch.Tensor, grid: int, min_block: int, aspect: float, generator: torch.Generator
) -> torch.Tensor:
    """One random rectangle an image of at most `lacking` patches or so, shape (B, grid, grid)."""
    area, shape, top, left = _uniform((4, len(lacking)), generator)
    area = min_block + area * (lacking - min_block).clamp(min=0)
    side_ratio = torch.exp((2.0 * shape - 1.0) * math.log(1.0 / aspect))
    height = (area * side_ratio).sqrt().round().clamp(1, grid)
    width = (area / side_ratio).sqrt().round().clamp(1, grid)
    rows = _interval(top, height, grid)
    columns = _interval(left, width, grid)
    return rows[:, :, None] & columns[:, None, :]


def _interval(start: torch.Tensor, length: torch.Tensor, grid: int) -> torch.Tensor:
    """Cells of intervals of the given lengths at random starts (in [0, 1)), shape (B, grid)."""
    first = (start * (grid - length + 1)).floor()[:, None]
    cells = torch.arange(grid, device=start.device)
    return (cells >= first) & (cells < first + length[:, None])


def _fill(mask: torch.Tensor, wanted: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Add random single patches until each image has its number."""
    flat = mask.flatten(1)
    order = (
        torch.where(flat, 2.0, _uniform(tuple(flat.shape), generator)).argsort(dim=1, descending=True).argsort(dim=1)
    )
    return (order < wanted[:, None]).view_as(mask)
