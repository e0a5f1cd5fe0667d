"""Multi-scale views: central crops of a window resampled to its full size."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch.nn import functional

from stellarfm.exceptions import ModelError

__all__ = ["zoomed"]

#: Smallest side of a central crop in pixels.
SMALLEST_CROP = 2


def zoomed(images: torch.Tensor, zooms: int) -> Iterator[torch.Tensor]:
    """Yield the central square of full, half, quarter ... side of windows, each resampled to the full side.

    A patch of an encoder covers many pixels next to a star; with every zoom it covers half as many on a side.
    Resampling is bilinear about the exact center, whatever the side, so that a view shows nothing that lies more than
    half a pixel outside of its square.

    Parameters
    ----------
    images : torch.Tensor
        Windows, shape (B, channels, side, side).
    zooms : int
        Number of views, the windows themselves included; the last one shows ``side / 2 ** (zooms - 1)`` pixels.

    Yields
    ------
    torch.Tensor
        Views of shape (B, channels, side, side); the first one is `images`.

    Raises
    ------
    ModelError
        If the last view would show less than two pixels on a side.

    Examples
    --------
    >>> import torch
    >>> [tuple(view.shape) for view in zoomed(torch.zeros(1, 3, 32, 32), 2)]
    [(1, 3, 32, 32), (1, 3, 32, 32)]
    """
    side = images.shape[-1]
    if side < SMALLEST_CROP * 2 ** (zooms - 1):
        raise ModelError(
            f"zooms is {zooms} for windows of {side} pixels; the closest view must show {SMALLEST_CROP} pixels or more"
        )
    yield images
    for zoom in range(1, zooms):
        center = torch.eye(2, 3, dtype=images.dtype, device=images.device) / 2**zoom
        grid = functional.affine_grid(center.expand(len(images), 2, 3), list(images.shape), align_corners=False)
        yield functional.grid_sample(images, grid, padding_mode="border", align_corners=False)
