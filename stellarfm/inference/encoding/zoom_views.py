"""Looking closer at the star: the centre of a window, magnified to the size of the whole."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch.nn import functional

from stellarfm.exceptions import ModelError

__all__ = ["zoomed"]

#: Pixels of the window that the closest view must still show on a side.
NARROWEST = 2


def zoomed(images: torch.Tensor, zooms: int) -> Iterator[torch.Tensor]:
    """The central square of full, half, quarter ... side of windows, each resampled to the side of the whole.

    A patch of an encoder covers many pixels next to a star; with every zoom it covers half as many on a side, while
    the whole stays in view in the zooms before it. Resampling is bilinear about the exact centre, whatever the
    side, so that a view shows nothing that lies more than half a pixel outside of its square.

    Parameters
    ----------
    images : torch.Tensor
        Shape (B, channels, side, side).
    zooms : int
        Number of views, the windows themselves included; the last one shows ``side / 2 ** (zooms - 1)`` pixels.

    Yields
    ------
    torch.Tensor
        Shape (B, channels, side, side), the windows as they are first.

    Raises
    ------
    ModelError
        If the last view would show less than two pixels on a side.
    """
    side = images.shape[-1]
    if side < NARROWEST * 2 ** (zooms - 1):
        raise ModelError(
            f"zooms is {zooms} for windows of {side} pixels; the closest view must show {NARROWEST} pixels or more"
        )
    yield images
    for zoom in range(1, zooms):
        centre = torch.eye(2, 3, dtype=images.dtype, device=images.device) / 2**zoom
        grid = functional.affine_grid(centre.expand(len(images), 2, 3), list(images.shape), align_corners=False)
        yield functional.grid_sample(images, grid, padding_mode="border", align_corners=False)
