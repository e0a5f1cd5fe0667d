"""The chaos game in torch: many images at once, on any torch device; slower than numba on a CPU.

It follows `stellarfm.fractals.rendering.chaos_game` one operation at a time, so that no compiler can contract a product
and a sum; its counts are bit-equal to those of `stellarfm.fractals.rendering.cpu`.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from stellarfm.fractals.genomes.portable_math import arctangent, bind, sine_cosine
from stellarfm.fractals.genomes.variations import FORMULAS
from stellarfm.fractals.rendering.batch import ProgramBatch
from stellarfm.fractals.rendering.chaos_game import (
    BURN_IN,
    CHOICES,
    COLOR_LEVELS,
    ESCAPE_DISTANCE,
    FINAL_JULIA,
    GOLDEN,
    GROUPS,
    JULIA,
    LANES,
    OFFSET,
    RANK,
    ROTATION,
    START_X,
    START_Y,
    STRIDE,
    WALKERS,
    mix,
    plan_run,
)

__all__ = ["play"]


def _sqrt(x: torch.Tensor) -> torch.Tensor:
    """Return the correctly rounded square root; that of torch for 32-bit numbers is not, on some CPUs."""
    return x.double().sqrt().float()


OPERATIONS = {"where": torch.where, "divide": torch.div, "sqrt": _sqrt, "floor": torch.floor}
BOUND = bind((sine_cosine, arctangent, *FORMULAS), OPERATIONS, number=float, compiler=lambda function: function)
VARIATION = tuple(BOUND[formula.__name__] for formula in FORMULAS)


class Walkers(NamedTuple):
    """Tensors of shape (B, ensembles, 8, 32): position, color, and the first step in which a walker is drawn."""

    x: torch.Tensor
    y: torch.Tensor
    color: torch.Tensor
    ready: torch.Tensor


def play(batch: ProgramBatch, *, size: int, points: int, color: bool) -> torch.Tensor:
    """Return histograms of a batch: int64, shape (B, size, size, 3), or (B, size, size, 1) without color."""
    ensembles, steps, per_step = plan_run(points)
    device = batch.key.device
    places = torch.arange(ensembles, device=device)
    key = mix(batch.key[:, None] + places)
    histogram = torch.zeros(len(key) * size * size + 1, 3 if color else 1, dtype=torch.int64, device=device)
    number = torch.arange(WALKERS, device=device).view(LANES, GROUPS).T * ensembles + places[:, None, None]
    walkers = _place_randomly(key)
    for step in range(BURN_IN + steps):
        step_key = mix(key + (step + 1))
        walkers = _step(batch, walkers, step_key, _offset(key, step), step)
        if step >= BURN_IN:
            x, y = _apply_final_map(batch, walkers, step_key)
            drawn = (walkers.ready <= step) & (number < min(per_step, points - (step - BURN_IN) * per_step))
            _count(histogram, batch, x, y, walkers.color, drawn, size)
    return histogram[:-1].view(len(key), size, size, -1)


def _hashes(step_key: torch.Tensor, purpose: int, n: int) -> torch.Tensor:
    """Return the random numbers of places 0 ... n - 1 for one purpose, shape (..., n)."""
    return mix(mix(step_key + purpose)[..., None] + torch.arange(n, device=step_key.device))


def _random_positions(step_key: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a random position in [-1, 1]^2 for each walker."""
    shape = (*step_key.shape, GROUPS, LANES)
    x, y = ((_hashes(step_key, purpose, WALKERS) >> 8).float() * 2.0**-23 - 1.0 for purpose in (START_X, START_Y))
    return x.view(shape), y.view(shape)


def _place_randomly(key: torch.Tensor) -> Walkers:
    """Return walkers at random positions."""
    x, y = _random_positions(mix(key))
    return Walkers(x, y, torch.full_like(x, 0.5), torch.zeros_like(x, dtype=torch.int64))


def _offset(key: torch.Tensor, step: int) -> torch.Tensor:
    """Return the offset in the table of choices, shape (B, ensembles)."""
    return mix(mix(key + (step % STRIDE + 1)) + OFFSET) + (step // STRIDE * GOLDEN % CHOICES) // GROUPS


def _choose_maps(batch: ProgramBatch, step_key: torch.Tensor, offset: torch.Tensor) -> torch.Tensor:
    """Return the map of each group, shape (B, ensembles, 8)."""
    hashes = _hashes(step_key, RANK, GROUPS)
    rank = (hashes[..., None, :] < hashes[..., :, None]).sum(-1)
    entry = (rank * (CHOICES // GROUPS) + offset[..., None]) & (CHOICES - 1)
    return batch.choice.gather(1, entry.flatten(1)).long().view(entry.shape)


def _step(batch: ProgramBatch, walkers: Walkers, step_key: torch.Tensor, offset: torch.Tensor, step: int) -> Walkers:
    """Return the walkers after one step."""
    groups = torch.arange(GROUPS, device=step_key.device)[:, None]
    source = (groups + _hashes(step_key, ROTATION, LANES)[..., None, :]) & (GROUPS - 1)
    x, y, color, ready = (values.gather(2, source) for values in walkers)
    k = _choose_maps(batch, step_key, offset)
    images = torch.arange(len(k), device=k.device)[:, None, None]
    x, y = _transform(batch, k, _hashes(step_key, JULIA, GROUPS), x, y)
    inside_bounds = x.abs() + y.abs() < float(ESCAPE_DISTANCE)
    start_x, start_y = _random_positions(step_key)
    return Walkers(
        torch.where(inside_bounds, x, start_x),
        torch.where(inside_bounds, y, start_y),
        (color + batch.color[images, k][..., None]) * 0.5,
        torch.where(inside_bounds, ready, step + 1 + BURN_IN),
    )


def _transform(
    batch: ProgramBatch, k: torch.Tensor, words: torch.Tensor, x: torch.Tensor, y: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Apply map `k` (B, ensembles, 8) to the points of each group; bits of `words` are the signs of ``julia``."""
    images = torch.arange(len(k), device=k.device)[:, None, None]
    turn = (1 - 2 * ((words[..., None] >> torch.arange(LANES, device=k.device)) & 1)).float()
    u, v = _affine(batch.affine[images, k], x, y)
    p, q = torch.zeros_like(u), torch.zeros_like(v)
    for code in batch.codes:
        weight = batch.weight[images, k, code]
        chosen = weight != 0
        dx, dy = VARIATION[code](u[chosen], v[chosen], turn[chosen])
        p[chosen] += weight[chosen][:, None] * dx
        q[chosen] += weight[chosen][:, None] * dy
    has_post = batch.has_post[images, k][..., None]
    post_p, post_q = _affine(batch.post[images, k], p, q)
    return torch.where(has_post, post_p, p), torch.where(has_post, post_q, q)


def _affine(coefficients: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Apply affine maps (..., 6) to points (..., 32)."""
    a, b, c, d, e, f = coefficients[..., None].unbind(-2)
    return a * x + b * y + c, d * x + e * y + f


def _apply_final_map(
    batch: ProgramBatch, walkers: Walkers, step_key: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the positions after the final map, for images that have one."""
    if not batch.has_final.any():
        return walkers.x, walkers.y
    last = torch.full((*step_key.shape, GROUPS), batch.affine.shape[1] - 1, device=step_key.device)
    x, y = _transform(batch, last, _hashes(step_key, FINAL_JULIA, GROUPS), walkers.x, walkers.y)
    has_final = batch.has_final[:, None, None, None]
    return torch.where(has_final, x, walkers.x), torch.where(has_final, y, walkers.y)


def _count(
    histogram: torch.Tensor,
    batch: ProgramBatch,
    x: torch.Tensor,
    y: torch.Tensor,
    color: torch.Tensor,
    drawn: torch.Tensor,
    size: int,
) -> None:
    """Add the drawn points to `histogram`; its last row receives those outside the window."""
    left, bottom, scale = batch.frame[:, :, None, None, None].unbind(1)
    column, row = (x - left) * scale, (y - bottom) * scale
    inside = drawn & (column >= 0) & (column < size) & (row >= 0) & (row < size)
    images = torch.arange(len(x), device=x.device)[:, None, None, None]
    pixel = (images * size + torch.where(inside, row, 0.0).long()) * size + torch.where(inside, column, 0.0).long()
    pixel = torch.where(inside, pixel, len(histogram) - 1).flatten()
    level = (color * (COLOR_LEVELS - 1) + 0.5).long().flatten()
    sums = torch.stack([torch.ones_like(level), level, level * level], -1)
    histogram.index_add_(0, pixel, sums[:, : histogram.shape[1]])
