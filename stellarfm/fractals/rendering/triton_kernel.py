"""The chaos game as a Triton kernel: one program of one warp per ensemble, histograms summed by atomics in L2.

The 32 lanes of a group are the lanes of the warp, so that it never diverges: the map and its variations are chosen by
scalar branches. Walkers change groups through a scratch of 8 KiB per program that stays in L1; fp32 contraction is
disabled and divisions and roots are rounded to nearest, so that counts are those of `stellarfm.fractals.rendering.cpu`.

With ``TRITON_INTERPRET=1`` the kernel runs on a CPU, slowly, which the tests use. It has not been timed on a GPU yet.
Estimate for an H200 (132 SMs, 50 MB of L2): the histogram of a color image of 336 x 336 pixels takes 1.8 MB, and 27
images of 16 ensembles keep 432 warps busy. If a warp takes 1000 cycles at 1.7 GHz for a step of a group, that is 2.3e10
points/s: 8 % of a ceiling of 3e11, and less than a minute for a million images of a million points, including the
burn-in but not the rejected candidates.
"""

from __future__ import annotations

import math
from contextlib import nullcontext

import torch
import triton
import triton.language as tl

from stellarfm.exceptions import FractalError
from stellarfm.fractals.genomes import portable_math
from stellarfm.fractals.genomes.variations import FORMULAS, VARIATIONS
from stellarfm.fractals.rendering import chaos_game as chaos
from stellarfm.fractals.rendering.batch import ProgramBatch

__all__ = ["play"]

#: Bit of the packed histogram above which points are counted; the sum of the color coordinate is below it.
COUNT_BIT = 38
#: Minimum number of warps per SM, even if the histograms of their images do not fit into L2.
WARPS_PER_SM = 3
#: One warp per program, and no contraction of products and sums.
OPTIONS = {"num_warps": 1, "enable_fp_fusion": False}
#: Programs per launch; each has 8 KiB of scratch.
MAXIMUM_PROGRAMS = 65536
#: Rows of an ensemble's scratch: x, y, color, first step drawn; twice, for the step before and the step after.
ROWS = 4

#: Type of the constants of a kernel; the interpreter of Triton takes plain numbers.
constant = (lambda number: number) if triton.knobs.runtime.interpret else tl.constexpr

BURN_IN, CHOICES, GROUPS, LANES, WALKERS = map(
    constant, (chaos.BURN_IN, chaos.CHOICES, chaos.GROUPS, chaos.LANES, chaos.WALKERS)
)
STRIDE, GOLDEN, MASK, COUNT = map(constant, (chaos.STRIDE, chaos.GOLDEN, chaos.MASK, 1 << COUNT_BIT))
ROTATION, RANK, OFFSET, JULIA, FINAL_JULIA, START_X, START_Y = map(constant, range(7))
ESCAPE_DISTANCE, UNIT, HIGHEST = map(constant, (float(chaos.ESCAPE_DISTANCE), 2.0**-23, chaos.COLOR_LEVELS - 1.0))
TABLE, N_VARIATIONS = map(constant, (6, len(VARIATIONS)))


@triton.jit
def _where(condition, one, other):
    """Return `one` where `condition` is true, else `other`."""
    return tl.where(condition, one, other)


@triton.jit
def _divide(one, other):
    """Return the quotient, rounded to nearest."""
    return tl.div_rn(one, other)


@triton.jit
def _sqrt(number):
    """Return the square root, rounded to nearest."""
    return tl.sqrt_rn(number)


@triton.jit
def _floor(number):
    """Return the largest integer that does not exceed `number`."""
    return tl.floor(number)


_BOUND = portable_math.bind(
    (chaos.mix, portable_math.sine_cosine, portable_math.arctangent, *FORMULAS),
    {"tl": tl, "where": _where, "divide": _divide, "sqrt": _sqrt, "floor": _floor, "MASK": MASK},
    number=lambda value: constant(float(value)),
    compiler=triton.jit,
)
mix = _BOUND["mix"]
(
    linear,
    sinusoidal,
    spherical,
    swirl,
    horseshoe,
    polar,
    handkerchief,
    heart,
    disc,
    spiral,
    hyperbolic,
    diamond,
    julia,
    eyefish,
    bubble,
    cylinder,
) = (_BOUND[name] for name in VARIATIONS)


@triton.jit
def _variation(code, u, v, turn):
    """Apply variation number `code` to points; a scalar branch, the same for all lanes."""
    if code == 0:
        x, y = linear(u, v, turn)
    elif code == 1:
        x, y = sinusoidal(u, v, turn)
    elif code == 2:
        x, y = spherical(u, v, turn)
    elif code == 3:
        x, y = swirl(u, v, turn)
    elif code == 4:
        x, y = horseshoe(u, v, turn)
    elif code == 5:
        x, y = polar(u, v, turn)
    elif code == 6:
        x, y = handkerchief(u, v, turn)
    elif code == 7:
        x, y = heart(u, v, turn)
    elif code == 8:
        x, y = disc(u, v, turn)
    elif code == 9:
        x, y = spiral(u, v, turn)
    elif code == 10:
        x, y = hyperbolic(u, v, turn)
    elif code == 11:
        x, y = diamond(u, v, turn)
    elif code == 12:
        x, y = julia(u, v, turn)
    elif code == 13:
        x, y = eyefish(u, v, turn)
    elif code == 14:
        x, y = bubble(u, v, turn)
    else:
        x, y = cylinder(u, v, turn)
    return x, y


@triton.jit
def _affine(coefficients, x, y):
    """Apply the affine map whose six coefficients are in memory to points."""
    a, b, c = tl.load(coefficients), tl.load(coefficients + 1), tl.load(coefficients + 2)
    d, e, f = tl.load(coefficients + 3), tl.load(coefficients + 4), tl.load(coefficients + 5)
    return a * x + b * y + c, d * x + e * y + f


@triton.jit
def _transform(row, word, x, y, affine, post, has_post, n_terms, codes, weights):
    """Apply map number `row` (counted over all images) to the points of a group."""
    u, v = _affine(affine + row * TABLE, x, y)
    turn = (1 - 2 * ((word >> tl.arange(0, LANES)) & 1)).to(tl.float32)
    p, q = tl.zeros_like(u), tl.zeros_like(v)
    for term in range(tl.load(n_terms + row)):
        dx, dy = _variation(tl.load(codes + row * N_VARIATIONS + term), u, v, turn)
        weight = tl.load(weights + row * N_VARIATIONS + term)
        p += weight * dx
        q += weight * dy
    if tl.load(has_post + row):
        p, q = _affine(post + row * TABLE, p, q)
    return p, q


@triton.jit
def _random_positions(step_key, walker):
    """Return random positions in [-1, 1]^2."""
    x = (mix(mix(step_key + START_X) + walker) >> 8).to(tl.float32) * UNIT - 1.0
    y = (mix(mix(step_key + START_Y) + walker) >> 8).to(tl.float32) * UNIT - 1.0
    return x, y


@triton.jit
def _choose_map(step_key, offset, group, choice):
    """Return the map of a group."""
    key = mix(step_key + RANK)
    rank = tl.sum((mix(key + tl.arange(0, GROUPS)) < mix(key + group)).to(tl.int64))
    return tl.load(choice + ((rank * (CHOICES // GROUPS) + offset) & (CHOICES - 1))).to(tl.int64)


@triton.jit
def _count(histogram, x, y, color, drawn, frame, size, COLOR: tl.constexpr):
    """Add the drawn points of a group to the histogram."""
    left, bottom, scale = tl.load(frame), tl.load(frame + 1), tl.load(frame + 2)
    column, row = (x - left) * scale, (y - bottom) * scale
    side = size.to(tl.float32)
    inside = drawn & (column >= 0) & (column < side) & (row >= 0) & (row < side)
    pixel = tl.where(inside, row, 0.0).to(tl.int64) * size + tl.where(inside, column, 0.0).to(tl.int64)
    if COLOR:
        level = (color * HIGHEST + 0.5).to(tl.int64)
        tl.atomic_add(histogram + 2 * pixel, level + COUNT, mask=inside, sem="relaxed")
        tl.atomic_add(histogram + 2 * pixel + 1, level * level, mask=inside, sem="relaxed")
    else:
        tl.atomic_add(histogram + pixel, 1, mask=inside, sem="relaxed")


@triton.jit(do_not_specialize=["size", "points", "steps", "per_step", "first", "maps"])
def _play(
    choice, affine, post, has_post, n_terms, codes, weights, colors, has_final, frames, keys, scratch, histograms,
    size, points, ensembles, steps, per_step, first, maps, COLOR: tl.constexpr,
):  # fmt: skip
    """Play one ensemble of one image, counted from image `first`."""
    program = tl.program_id(0)
    image, ensemble = (first + program // ensembles).to(tl.int64), program % ensembles
    key = mix(tl.load(keys + image) + ensemble)
    lane = tl.arange(0, LANES)
    old = scratch + program * (2 * 4 * WALKERS)
    new = old + 4 * WALKERS
    histogram = histograms + (image - first) * size * size * (2 if COLOR else 1)
    for group in range(GROUPS):
        here = group * LANES + lane
        x, y = _random_positions(mix(key), here)
        tl.store(old + here, x)
        tl.store(old + WALKERS + here, y)
        tl.store(old + 2 * WALKERS + here, tl.full((LANES,), 0.5, tl.float32))
        tl.store(old + 3 * WALKERS + here, tl.zeros((LANES,), tl.float32))
    for step in range(steps + BURN_IN):
        tl.debug_barrier()
        step_key = mix(key + step + 1)
        offset = mix(mix(key + step % STRIDE + 1) + OFFSET) + ((step // STRIDE * GOLDEN) & (CHOICES - 1)) // GROUPS
        turn = mix(mix(step_key + ROTATION) + lane)
        left_over = tl.minimum(points - (step - BURN_IN) * per_step, per_step)
        for group in range(GROUPS):
            here = group * LANES + lane
            source = ((group + turn) & (GROUPS - 1)) * LANES + lane
            k = _choose_map(step_key, offset, group, choice + image * CHOICES)
            x, y = tl.load(old + source), tl.load(old + WALKERS + source)
            word = mix(mix(step_key + JULIA) + group)
            x, y = _transform(image * (maps + 1) + k, word, x, y, affine, post, has_post, n_terms, codes, weights)
            color = (tl.load(old + 2 * WALKERS + source) + tl.load(colors + image * maps + k)) * 0.5
            ready = tl.load(old + 3 * WALKERS + source)
            near = tl.abs(x) + tl.abs(y) < ESCAPE_DISTANCE
            if tl.min(near.to(tl.int32)) == 0:
                start_x, start_y = _random_positions(step_key, here)
                x, y = tl.where(near, x, start_x), tl.where(near, y, start_y)
                ready = tl.where(near, ready, tl.full((LANES,), step + 1 + BURN_IN, tl.float32))
            tl.store(new + here, x)
            tl.store(new + WALKERS + here, y)
            tl.store(new + 2 * WALKERS + here, color)
            tl.store(new + 3 * WALKERS + here, ready)
            if step >= BURN_IN:
                if tl.load(has_final + image):
                    word = mix(mix(step_key + FINAL_JULIA) + group)
                    x, y = _transform(
                        image * (maps + 1) + maps, word, x, y, affine, post, has_post, n_terms, codes, weights
                    )
                drawn = (ready <= step) & ((lane * GROUPS + group) * ensembles + ensemble < left_over)
                _count(histogram, x, y, color, drawn, frames + image * 3, size, COLOR)
        old, new = new, old


def play(batch: ProgramBatch, *, size: int, points: int, color: bool) -> torch.Tensor:
    """Return histograms of a batch: int64, shape (B, size, size, 3), or (B, size, size, 1) without color."""
    run = chaos.plan_run(points)
    ensembles = run.ensembles
    if points >= 2**26:
        raise FractalError(f"{points} points overflow the packed histogram of a GPU; expected fewer than 2**26")
    n_images, device = len(batch.key), batch.key.device
    shape = (size, size, 2) if color else (size, size)
    kind = torch.int64 if color else torch.int32
    at_once = min(_images_at_once(math.prod(shape) * kind.itemsize, ensembles, device), n_images)
    scratch = torch.empty(at_once * ensembles * 2 * ROWS * chaos.WALKERS, device=device)
    result = torch.empty(n_images, size, size, 3 if color else 1, dtype=torch.int64, device=device)
    before = (batch.choice, batch.affine, batch.post, batch.has_post)
    tables = (*before, *_compact_terms(batch.weight), batch.color, batch.has_final, batch.frame, batch.key)
    maps = batch.color.shape[1]
    for first in range(0, n_images, at_once):
        n = min(at_once, n_images - first)
        packed = torch.zeros(n, *shape, dtype=kind, device=device)
        with torch.cuda.device(device) if device.type == "cuda" else nullcontext():
            _play[(n * ensembles,)](
                *tables, scratch, packed, size, points, *run, first, maps, COLOR=color, **OPTIONS
            )  # fmt: skip
        result[first : first + n] = _unpack(packed) if color else packed[..., None]
    return result


def _compact_terms(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the number of variations per map, and their codes and weights, in order and left-aligned."""
    present = weight != 0
    codes = torch.argsort((~present).byte(), dim=-1, stable=True)
    return present.sum(-1, dtype=torch.int32), codes.int(), weight.gather(-1, codes)


def _unpack(packed: torch.Tensor) -> torch.Tensor:
    """Return number of points, sum and sum of squares of the color coordinate."""
    return torch.stack([packed[..., 0] >> COUNT_BIT, packed[..., 0] & ((1 << COUNT_BIT) - 1), packed[..., 1]], -1)


def _images_at_once(histogram_bytes: int, ensembles: int, device: torch.device) -> int:
    """Return the number of images whose histograms fit into L2, but at least as many as keep every SM busy."""
    if device.type != "cuda":
        return 1
    properties = torch.cuda.get_device_properties(device)
    busy = -(-WARPS_PER_SM * properties.multi_processor_count // ensembles)
    return min(max(properties.L2_cache_size // histogram_bytes, busy), max(MAXIMUM_PROGRAMS // ensembles, 1))
