"""The chaos game in torch: many images at once, on whatever device torch knows; slower than numba on a CPU.

It takes the steps that `stellarfm.fractals.rendering.chaos_game` defines, one operation at a time, so that no compiler
can contract a product and a sum; its counts are those of `stellarfm.fractals.rendering.cpu` to the last bit.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from stellarfm.fractals.genomes.portable_math import arctangent, bind, sine_cosine
from stellarfm.fractals.genomes.variations import FORMULAS
from stellarfm.fractals.rendering.batch import Stack
from stellarfm.fractals.rendering.chaos_game import (
    BURN_IN,
    CHOICES,
    COLOUR_LEVELS,
    FAR,
    FINAL_JULIA,
    GOLDEN,
    GROUPS,
    JULIA,
    LANES,
    OFFSET,
    RANK,
    START_X,
    START_Y,
    STRIDE,
    TURN,
    WALKERS,
    mix,
    plan,
)

__all__ = ["play"]


def _sqrt(x: torch.Tensor) -> torch.Tensor:
    """Square root, rounded correctly; torch's own of 32-bit numbers is not, on some CPUs."""
    return x.double().sqrt().float()


WORDS = {"where": torch.where, "divide": torch.div, "sqrt": _sqrt, "floor": torch.floor}
BOUND = bind((sine_cosine, arctangent, *FORMULAS), WORDS, number=float, compiler=lambda function: function)
VARIATION = tuple(BOUND[formula.__name__] for formula in FORMULAS)


class Walkers(NamedTuple):
    """Tensors of shape (images, ensembles, 8, 32): place, colour, and the first step in which a walker is drawn."""

    x: torch.Tensor
    y: torch.Tensor
    colour: torch.Tensor
    ready: torch.Tensor


def play(batch: Stack, *, size: int, points: int, colour: bool) -> torch.Tensor:
    """Histograms of a batch: int64, shape (B, size, size, 3), or (B, size, size, 1) without colour."""
    ensembles, steps, per_step = plan(points)
    device = batch.key.device
    places = torch.arange(ensembles, device=device)
    key = mix(batch.key[:, None] + places)
    histogram = torch.zeros(len(key) * size * size + 1, 3 if colour else 1, dtype=torch.int64, device=device)
    number = torch.arange(WALKERS, device=device).view(LANES, GROUPS).T * ensembles + places[:, None, None]
    walkers = _start(key)
    for step in range(BURN_IN + steps):
        step_key = mix(key + (step + 1))
        walkers = _step(batch, walkers, step_key, _offset(key, step), step)
        if step >= BURN_IN:
            x, y = _bend(batch, walkers, step_key)
            drawn = (walkers.ready <= step) & (number < min(per_step, points - (step - BURN_IN) * per_step))
            _count(histogram, batch, x, y, walkers.colour, drawn, size)
    return histogram[:-1].view(len(key), size, size, -1)


def _hashes(step_key: torch.Tensor, purpose: int, n: int) -> torch.Tensor:
    """Random numbers of places 0 ... n - 1 for one purpose: shape (..., n)."""
    return mix(mix(step_key + purpose)[..., None] + torch.arange(n, device=step_key.device))


def _random_places(step_key: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """A place in [-1, 1]^2 for each walker."""
    shape = (*step_key.shape, GROUPS, LANES)
    x, y = ((_hashes(step_key, purpose, WALKERS) >> 8).float() * 2.0**-23 - 1.0 for purpose in (START_X, START_Y))
    return x.view(shape), y.view(shape)


def _start(key: torch.Tensor) -> Walkers:
    """Walkers at random places."""
    x, y = _random_places(mix(key))
    return Walkers(x, y, torch.full_like(x, 0.5), torch.zeros_like(x, dtype=torch.int64))


def _offset(key: torch.Tensor, step: int) -> torch.Tensor:
    """Offset of the table of choices, shape (B, ensembles)."""
    return mix(mix(key + (step % STRIDE + 1)) + OFFSET) + (step // STRIDE * GOLDEN % CHOICES) // GROUPS


def _choose(batch: Stack, step_key: torch.Tensor, offset: torch.Tensor) -> torch.Tensor:
    """The map of each group, shape (B, ensembles, 8)."""
    hashes = _hashes(step_key, RANK, GROUPS)
    rank = (hashes[..., None, :] < hashes[..., :, None]).sum(-1)
    entry = (rank * (CHOICES // GROUPS) + offset[..., None]) & (CHOICES - 1)
    return batch.choice.gather(1, entry.flatten(1)).long().view(entry.shape)


def _step(batch: Stack, walkers: Walkers, step_key: torch.Tensor, offset: torch.Tensor, step: int) -> Walkers:
    """One step of all walkers."""
    groups = torch.arange(GROUPS, device=step_key.device)[:, None]
    source = (groups + _hashes(step_key, TURN, LANES)[..., None, :]) & (GROUPS - 1)
    x, y, colour, ready = (values.gather(2, source) for values in walkers)
    k = _choose(batch, step_key, offset)
    images = torch.arange(len(k), device=k.device)[:, None, None]
    x, y = _transform(batch, k, _hashes(step_key, JULIA, GROUPS), x, y)
    near = x.abs() + y.abs() < float(FAR)
    start_x, start_y = _random_places(step_key)
    return Walkers(
        torch.where(near, x, start_x),
        torch.where(near, y, start_y),
        (colour + batch.colour[images, k][..., None]) * 0.5,
        torch.where(near, ready, step + 1 + BURN_IN),
    )


def _transform(
    batch: Stack, k: torch.Tensor, words: torch.Tensor, x: torch.Tensor, y: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Map `k` (B, ensembles, 8) of the points of each group; bits of `words` are the random turns of ``julia``."""
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
    moved = batch.has_post[images, k][..., None]
    post_p, post_q = _affine(batch.post[images, k], p, q)
    return torch.where(moved, post_p, p), torch.where(moved, post_q, q)


def _affine(coefficients: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Affine maps (..., 6) of points (..., 32)."""
    a, b, c, d, e, f = coefficients[..., None].unbind(-2)
    return a * x + b * y + c, d * x + e * y + f


def _bend(batch: Stack, walkers: Walkers, step_key: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Places after the final map, for images that have one."""
    if not batch.has_final.any():
        return walkers.x, walkers.y
    last = torch.full((*step_key.shape, GROUPS), batch.affine.shape[1] - 1, device=step_key.device)
    x, y = _transform(batch, last, _hashes(step_key, FINAL_JULIA, GROUPS), walkers.x, walkers.y)
    bent = batch.has_final[:, None, None, None]
    return torch.where(bent, x, walkers.x), torch.where(bent, y, walkers.y)


def _count(
    histogram: torch.Tensor,
    batch: Stack,
    x: torch.Tensor,
    y: torch.Tensor,
    colour: torch.Tensor,
    drawn: torch.Tensor,
    size: int,
) -> None:
    """Add the points that are drawn to `histogram`; its last row takes those outside the window."""
    left, bottom, scale = batch.frame[:, :, None, None, None].unbind(1)
    column, row = (x - left) * scale, (y - bottom) * scale
    inside = drawn & (column >= 0) & (column < size) & (row >= 0) & (row < size)
    images = torch.arange(len(x), device=x.device)[:, None, None, None]
    pixel = (images * size + torch.where(inside, row, 0.0).long()) * size + torch.where(inside, column, 0.0).long()
    pixel = torch.where(inside, pixel, len(histogram) - 1).flatten()
    level = (colour * (COLOUR_LEVELS - 1) + 0.5).long().flatten()
    sums = torch.stack([torch.ones_like(level), level, level * level], -1)
    histogram.index_add_(0, pixel, sums[:, : histogram.shape[1]])
