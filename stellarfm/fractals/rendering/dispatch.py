"""The chaos game for a batch of images, on a GPU where there is one.

The counts are those of `stellarfm.fractals.rendering.cpu.render`, to the last bit, whatever the device and the batch.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from stellarfm.exceptions import FractalError
from stellarfm.fractals.rendering import torch_kernel as render_torch
from stellarfm.fractals.rendering.batch import stack
from stellarfm.fractals.rendering.chaos_game import Program, Window

__all__ = ["render_batch"]


def render_batch(
    programs: Sequence[Program],
    windows: Sequence[Window],
    *,
    size: int,
    points: int,
    seeds: Sequence[int] | None = None,
    device: torch.device | str = "cpu",
    colour: bool = True,
) -> torch.Tensor:
    """Play the chaos game for many genomes at once.

    Parameters
    ----------
    programs, windows : sequence
        One of each an image: from `compile_genome` and `choose_window`.
    size, points : int
        Side in pixels and points an image, those outside the window included.
    seeds : sequence of int, optional
        One an image; all 0 by default, like those of `render`.
    device : torch.device or str
        On CUDA a Triton kernel plays, elsewhere torch's own operations.
    colour : bool
        Whether to sum up colours too.

    Returns
    -------
    torch.Tensor of int64, shape (B, size, size, 3), or (B, size, size, 1) without colour
        On `device`; per image what `render` gives.

    Raises
    ------
    FractalError
        If the numbers of programs, windows and seeds differ or are zero, an image cannot be played, or the
        device has no 64-bit numbers.
    """
    if torch.device(device).type == "mps":
        raise FractalError("device mps has no 64-bit numbers, which the counts need; choose cpu or cuda")
    seeds = [0] * len(programs) if seeds is None else seeds
    batch = stack(programs, windows, seeds, size=size, points=points, device=device)
    if batch.key.device.type == "cuda":
        from stellarfm.fractals.rendering import triton_kernel as render_triton

        return render_triton.play(batch, size=size, points=points, colour=colour)
    return render_torch.play(batch, size=size, points=points, colour=colour)
