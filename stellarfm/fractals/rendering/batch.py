"""Programs of many genomes as tensors of one shape, for renderers that play a batch of images at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from stellarfm.exceptions import FractalError
from stellarfm.fractals.genomes.variations import VARIATIONS
from stellarfm.fractals.rendering import chaos_game as chaos
from stellarfm.fractals.rendering.chaos_game import Program, Window

__all__ = ["Stack", "stack"]


class Stack(NamedTuple):
    """B programs whose maps are padded to K; row K is the final map.

    Attributes
    ----------
    choice : torch.Tensor of uint8, shape (B, 4096)
    affine, post : torch.Tensor of float32, shape (B, K + 1, 6)
    has_post : torch.Tensor of bool, shape (B, K + 1)
    weight : torch.Tensor of float32, shape (B, K + 1, number of `VARIATIONS`)
        Zero for variations that a map does not have.
    colour : torch.Tensor of float32, shape (B, K)
    has_final : torch.Tensor of bool, shape (B,)
    frame : torch.Tensor of float32, shape (B, 3)
        Left, bottom and scale of the window.
    key : torch.Tensor of int64, shape (B,)
        Of the random numbers.
    codes : tuple of int
        Variations that occur.
    """

    choice: torch.Tensor
    affine: torch.Tensor
    post: torch.Tensor
    has_post: torch.Tensor
    weight: torch.Tensor
    colour: torch.Tensor
    has_final: torch.Tensor
    frame: torch.Tensor
    key: torch.Tensor
    codes: tuple[int, ...]


def stack(
    programs: Sequence[Program],
    windows: Sequence[Window],
    seeds: Sequence[int],
    *,
    size: int,
    points: int,
    device: torch.device | str,
) -> Stack:
    """Programs, windows and seeds as one batch on `device`.

    Raises
    ------
    FractalError
        If there is nothing to stack, the lengths differ, or what `stellarfm.fractals.rendering.chaos_game.frame`
        refuses.
    """
    if not len(programs) == len(windows) == len(seeds) > 0:
        counts = f"{len(programs)} programs, {len(windows)} windows and {len(seeds)} seeds"
        raise FractalError(f"{counts} make no batch; expected as many of each, and at least one")
    n_maps = max(len(program.colour) for program in programs)
    padded = [_padded(program, n_maps) for program in programs]
    frames = np.array([chaos.frame(window, size=size, points=points) for window in windows], dtype=np.float32)
    keys = torch.tensor([chaos.seed_key(int(seed)) for seed in seeds], device=device)
    tables = [torch.from_numpy(np.stack(column)).to(device) for column in zip(*padded, strict=True)]
    codes = sorted({int(code) for program in programs for code in program.code})
    return Stack._make([*tables, torch.from_numpy(frames).to(device), keys, tuple(codes)])


def _padded(program: Program, n_maps: int) -> tuple[np.ndarray, ...]:
    """The arrays of a program with rows for `n_maps` maps, in the order of `Stack`."""
    own = len(program.colour)
    rows = np.array([*range(own), n_maps])
    weight = np.zeros((own + 1, len(VARIATIONS)), dtype=np.float32)
    weight[np.repeat(np.arange(own + 1), np.diff(program.first)), program.code] = program.weight
    return (
        program.choice,
        _spread(program.affine, rows),
        _spread(program.post, rows),
        _spread(program.has_post, rows),
        _spread(weight, rows),
        np.pad(program.colour, (0, n_maps - own)),
        np.array(program.has_final),
    )


def _spread(table: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The rows of a table at other places, zeros between them."""
    spread = np.zeros((rows[-1] + 1, *table.shape[1:]), dtype=table.dtype)
    spread[rows] = table
    return spread
