"""Programs of many genomes as tensors of one shape, for renderers that play a batch of images at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from stellarfm.exceptions import FractalError
from stellarfm.fractals.genomes.variations import VARIATIONS
from stellarfm.fractals.rendering.chaos_game import seed_key
from stellarfm.fractals.rendering.program import Program, Window, pixel_frame

__all__ = ["ProgramBatch", "batch_programs"]


class ProgramBatch(NamedTuple):
    """B programs whose maps are padded to K; row K is the final map.

    Attributes
    ----------
    choice : torch.Tensor of uint8, shape (B, 4096)
        Map for each of 4096 equally likely random numbers.
    affine, post : torch.Tensor of float32, shape (B, K + 1, 6)
        Coefficients before and after the variations.
    has_post : torch.Tensor of bool, shape (B, K + 1)
        True for maps with coefficients after the variations.
    weight : torch.Tensor of float32, shape (B, K + 1, number of `VARIATIONS`)
        Weights of the variations; zero for variations that a map does not have.
    color : torch.Tensor of float32, shape (B, K)
        Color coordinates of the maps.
    has_final : torch.Tensor of bool, shape (B,)
        True for programs with a final map.
    frame : torch.Tensor of float32, shape (B, 3)
        Left, bottom and scale of the windows.
    key : torch.Tensor of int64, shape (B,)
        Keys of the random numbers.
    codes : tuple of int
        Variations that occur in any program.
    """

    choice: torch.Tensor
    affine: torch.Tensor
    post: torch.Tensor
    has_post: torch.Tensor
    weight: torch.Tensor
    color: torch.Tensor
    has_final: torch.Tensor
    frame: torch.Tensor
    key: torch.Tensor
    codes: tuple[int, ...]


def batch_programs(
    programs: Sequence[Program],
    windows: Sequence[Window],
    seeds: Sequence[int],
    *,
    size: int,
    points: int,
    device: torch.device | str,
) -> ProgramBatch:
    """Return programs, windows and seeds as one batch on `device`.

    Raises
    ------
    FractalError
        If the batch is empty, the lengths differ, or a window, `size` or `points` is out of range.
    """
    if not len(programs) == len(windows) == len(seeds) > 0:
        counts = f"{len(programs)} programs, {len(windows)} windows and {len(seeds)} seeds"
        raise FractalError(f"{counts} cannot be batched; expected the same number of each, at least 1")
    n_maps = max(len(program.color) for program in programs)
    padded = [_pad(program, n_maps) for program in programs]
    frames = np.array([pixel_frame(window, size=size, points=points) for window in windows], dtype=np.float32)
    keys = torch.tensor([seed_key(int(seed)) for seed in seeds], device=device)
    tables = [torch.from_numpy(np.stack(column)).to(device) for column in zip(*padded, strict=True)]
    codes = sorted({int(code) for program in programs for code in program.code})
    return ProgramBatch._make([*tables, torch.from_numpy(frames).to(device), keys, tuple(codes)])


def _pad(program: Program, n_maps: int) -> tuple[np.ndarray, ...]:
    """Return the arrays of a program padded to `n_maps` maps, in the order of `ProgramBatch`."""
    own = len(program.color)
    rows = np.array([*range(own), n_maps])
    weight = np.zeros((own + 1, len(VARIATIONS)), dtype=np.float32)
    weight[np.repeat(np.arange(own + 1), np.diff(program.first)), program.code] = program.weight
    return (
        program.choice,
        _scatter_rows(program.affine, rows),
        _scatter_rows(program.post, rows),
        _scatter_rows(program.has_post, rows),
        _scatter_rows(weight, rows),
        np.pad(program.color, (0, n_maps - own)),
        np.array(program.has_final),
    )


def _scatter_rows(table: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return a table whose rows are moved to the given positions, with zeros in between."""
    scattered = np.zeros((rows[-1] + 1, *table.shape[1:]), dtype=table.dtype)
    scattered[rows] = table
    return scattered
