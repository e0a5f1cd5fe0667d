"""The chaos game for a batch of images: Triton on CUDA devices, torch elsewhere.

Counts are bit-equal to those of `stellarfm.fractals.rendering.cpu.render` on every device and for every batch.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from stellarfm.exceptions import FractalError
from stellarfm.fractals.rendering import torch_kernel
from stellarfm.fractals.rendering.batch import batch_programs
from stellarfm.fractals.rendering.program import Program, Window

__all__ = ["render_batch"]


def render_batch(
    programs: Sequence[Program],
    windows: Sequence[Window],
    *,
    size: int,
    points: int,
    seeds: Sequence[int] | None = None,
    device: torch.device | str = "cpu",
    color: bool = True,
) -> torch.Tensor:
    """Play the chaos game for many genomes at once.

    Parameters
    ----------
    programs, windows : sequence
        Program (from `compile_genome`) and window (from `choose_window`) of each image.
    size, points : int
        Side in pixels and points per image, including those outside the window.
    seeds : sequence of int, optional
        Seed of each image; 0 by default, as in `render`.
    device : torch.device or str
        Device of the renderer: a Triton kernel on CUDA, torch operations elsewhere.
    color : bool
        If False, only points are counted.

    Returns
    -------
    torch.Tensor of int64, shape (B, size, size, 3), or (B, size, size, 1) without color
        Histograms on `device`, as returned by `render`.

    Raises
    ------
    FractalError
        If the numbers of programs, windows and seeds differ or are zero, an option is out of range, or the device
        does not support 64-bit numbers.

    Examples
    --------
    >>> from stellarfm.fractals import sample_genome
    >>> from stellarfm.fractals.rendering import FIXED_WINDOW, compile_genome
    >>> programs = [compile_genome(sample_genome("flames", seed=0, index=index)) for index in range(2)]
    >>> render_batch(programs, [FIXED_WINDOW] * 2, size=16, points=500).shape
    torch.Size([2, 16, 16, 3])
    """
    if torch.device(device).type == "mps":
        raise FractalError("device mps has no 64-bit numbers, which the counts need; choose cpu or cuda")
    seeds = [0] * len(programs) if seeds is None else seeds
    batch = batch_programs(programs, windows, seeds, size=size, points=points, device=device)
    if batch.key.device.type == "cuda":
        from stellarfm.fractals.rendering import triton_kernel

        return triton_kernel.play(batch, size=size, points=points, color=color)
    return torch_kernel.play(batch, size=size, points=points, color=color)
