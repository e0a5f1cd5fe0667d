"""The chaos game compiled by numba, as specified in `stellarfm.fractals.rendering.chaos_game`.

The cache of numba does not detect changes in other modules: after a change in `chaos_game`, `portable_math`,
`variations` or `numba_variations`, modify this file too. The arrays of a Program are passed one by one, because arrays
in a tuple are reference-counted at every use.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

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
)
from stellarfm.fractals.rendering.chaos_game import mix as python_mix
from stellarfm.fractals.rendering.numba_variations import OPTIONS, add_variation

__all__ = ["play", "unpack"]

#: Bit of the packed histogram above which points are counted; the sum of the color coordinate is below it.
COUNT_BIT = 38
UNIT, HALF, HIGHEST = np.float32(2.0**-23), np.float32(0.5), np.float32(COLOR_LEVELS - 1)
ZERO, ONE = np.float32(0.0), np.float32(1.0)

mix = njit(**OPTIONS)(python_mix)


@njit(**OPTIONS)
def _allocate_walkers():
    """Return arrays for x, y and color of the walkers."""
    return np.empty(WALKERS, np.float32), np.empty(WALKERS, np.float32), np.empty(WALKERS, np.float32)


@njit(**OPTIONS)
def _place_randomly(step_key, x, y, first, last):
    """Move walkers `first` ... `last` - 1 to random positions in [-1, 1]^2."""
    key_x, key_y = mix(step_key + START_X), mix(step_key + START_Y)
    for walker in range(first, last):
        x[walker] = np.float32(mix(key_x + walker) >> 8) * UNIT - ONE
        y[walker] = np.float32(mix(key_y + walker) >> 8) * UNIT - ONE


@njit(**OPTIONS)
def _choose_maps(step_key, offset, choice, maps):
    """Write the map of each group to `maps`."""
    key = mix(step_key + RANK)
    for group in range(GROUPS):
        rank = 0
        for other in range(GROUPS):
            rank += mix(key + other) < mix(key + group)
        maps[group] = choice[(rank * (CHOICES // GROUPS) + offset) & (CHOICES - 1)]


@njit(**OPTIONS)
def _shuffle(step_key, source):
    """Write the previous index of each walker to `source`: each lane is rotated by a random number of groups."""
    key = mix(step_key + ROTATION)
    for lane in range(LANES):
        turn = mix(key + lane)
        for group in range(GROUPS):
            source[group * LANES + lane] = np.uint32(((group + turn) & (GROUPS - 1)) * LANES + lane)


@njit(**OPTIONS)
def _coefficients(table, k):
    """Return the six coefficients of map number `k`."""
    return table[k, 0], table[k, 1], table[k, 2], table[k, 3], table[k, 4], table[k, 5]


@njit(inline="always", **OPTIONS)
def _transform(k, word, affine, post, has_post, first, code, weight, x, y, source, begin, work):
    """Apply map number `k` to the points x[source], y[source] of a group; write the result to ``work[2:]``."""
    a, b, c, d, e, f = _coefficients(affine, k)
    for lane in range(LANES):
        one, other = x[source[begin + lane]], y[source[begin + lane]]
        work[0, lane] = a * one + b * other + c
        work[1, lane] = d * one + e * other + f
    work[2:] = ZERO
    for term in range(first[k], first[k + 1]):
        add_variation(code[term], weight[term], word, work)
    if has_post[k]:
        _apply_post(_coefficients(post, k), work)


@njit(**OPTIONS)
def _apply_post(coefficients, work):
    """Apply an affine map to the points ``work[2:]`` in place."""
    a, b, c, d, e, f = coefficients
    for lane in range(LANES):
        one, other = work[2, lane], work[3, lane]
        work[2, lane] = a * one + b * other + c
        work[3, lane] = d * one + e * other + f


@njit(**OPTIONS)
def _store(work, x, y, begin):
    """Copy the points ``work[2:]`` of a group to `x` and `y`."""
    for lane in range(LANES):
        x[begin + lane] = work[2, lane]
        y[begin + lane] = work[3, lane]


@njit(**OPTIONS)
def _blend_colors(target, source, begin, old, new):
    """Write the colors of a group to `new`: the mean of the old color and that of the map."""
    for lane in range(LANES):
        new[begin + lane] = (old[source[begin + lane]] + target) * HALF


@njit(**OPTIONS)
def _any_escaped(x, y):
    """Return True if a walker has escaped or is NaN."""
    far = 0
    for walker in range(WALKERS):
        far += not (abs(x[walker]) + abs(y[walker]) < ESCAPE_DISTANCE)
    return far > 0


@njit(inline="always", **OPTIONS)
def _restart_escaped(step_key, x, y, ready, visible_from):
    """Restart walkers that have escaped or are NaN; they are drawn from step `visible_from` on."""
    for walker in range(WALKERS):
        if not (abs(x[walker]) + abs(y[walker]) < ESCAPE_DISTANCE):
            _place_randomly(step_key, x, y, walker, walker + 1)
            ready[walker] = visible_from


@njit(**OPTIONS)
def _hide_unsettled(step, ready, x):
    """Set x to NaN for walkers that are still in their burn-in."""
    for walker in range(WALKERS):
        if ready[walker] > step:
            x[walker] = math.nan


@njit(**OPTIONS)
def _find_pixels(x, y, left, bottom, scale, size, pixel):
    """Write the pixel of each walker to `pixel`; outside the window it is one of 32 extra bins, one per lane."""
    side = np.float32(size)
    for walker in range(WALKERS):
        column, row = (x[walker] - left) * scale, (y[walker] - bottom) * scale
        inside = (column >= ZERO) & (column < side) & (row >= ZERO) & (row < side)
        place = np.int32(row if inside else ZERO) * np.int32(size) + np.int32(column if inside else ZERO)
        pixel[walker] = place if inside else np.int32(size * size + (walker & (LANES - 1)))


@njit(**OPTIONS)
def _drop_surplus(pixel, n, size):
    """Move all but `n` walkers, the same number in each group, to the bins outside the window."""
    for group in range(GROUPS):
        for lane in range(LANES):
            if lane * GROUPS + group >= n:
                pixel[group * LANES + lane] = size * size + lane


@njit(**OPTIONS)
def _quantize_colors(color, level):
    """Write the colors as integers to `level`."""
    for walker in range(WALKERS):
        level[walker] = np.int32(color[walker] * HIGHEST + HALF)


@njit(**OPTIONS)
def _count(pixel, counts):
    """Add the walkers to `counts`."""
    for walker in range(WALKERS):
        counts[np.uint32(pixel[walker])] += np.uint32(1)


@njit(**OPTIONS)
def _count_colors(pixel, level, packed):
    """Add the walkers and their colors to `packed`."""
    for walker in range(WALKERS):
        place, q = np.uint32(pixel[walker]), np.uint64(level[walker])
        packed[place, 0] += q | np.uint64(1 << COUNT_BIT)
        packed[place, 1] += q * q


@njit(inline="always", **OPTIONS)
def _step(step_key, affine, post, has_post, first, code, weight, color, old, new, source, maps, work, with_color):
    """Advance an ensemble by one step: x, y and, if `with_color`, color of its walkers, `old` to `new`."""
    key = mix(step_key + JULIA)
    for group in range(GROUPS):
        k, begin = maps[group], group * LANES
        _transform(
            k, mix(key + group), affine, post, has_post, first, code, weight, old[0], old[1], source, begin, work
        )
        _store(work, new[0], new[1], begin)
        if with_color:
            _blend_colors(color[k], source, begin, old[2], new[2])


@njit(inline="always", **OPTIONS)
def _apply_final_map(step_key, affine, post, has_post, first, code, weight, x, y, drawn, identity, work):
    """Write the positions of all walkers after the final map to `drawn`."""
    key, k = mix(step_key + FINAL_JULIA), affine.shape[0] - 1
    for group in range(GROUPS):
        begin = group * LANES
        _transform(k, mix(key + group), affine, post, has_post, first, code, weight, x, y, identity, begin, work)
        _store(work, drawn[0], drawn[1], begin)


@njit(inline="always", **OPTIONS)
def _draw(drawn, color, n, left, bottom, scale, size, pixel, level, counts, packed):
    """Draw `n` walkers into `counts` or `packed`, whichever is given."""
    _find_pixels(drawn[0], drawn[1], left, bottom, scale, size, pixel)
    if n < WALKERS:
        _drop_surplus(pixel, n, size)
    if packed is not None:
        _quantize_colors(color, level)
        _count_colors(pixel, level, packed)
    if counts is not None:
        _count(pixel, counts)


@njit(cache=True, nogil=True)
def unpack(packed, histogram):
    """Add number of points, sum and sum of squares of the color coordinate to `histogram`, shape (pixels, 3)."""
    for pixel in range(histogram.shape[0]):
        histogram[pixel, 0] += np.int64(packed[pixel, 0] >> COUNT_BIT)
        histogram[pixel, 1] += np.int64(packed[pixel, 0] & ((1 << COUNT_BIT) - 1))
        histogram[pixel, 2] += np.int64(packed[pixel, 1])


@njit(cache=True, nogil=True, error_model="numpy")
def play(
    choice, affine, post, has_post, first, code, weight, color, has_final,
    left, bottom, scale, size, points, ensembles, steps, per_step, begin, end, seed_key, counts, packed, track,
):  # fmt: skip
    """Play ensembles `begin` ... `end` - 1 into `counts`, `packed` (with colors) or `track`; the others are None."""
    old, new, drawn = _allocate_walkers(), _allocate_walkers(), _allocate_walkers()[:2]
    work, identity = np.empty((4, LANES), np.float32), np.arange(WALKERS).astype(np.uint32)
    source, maps, ready = np.empty(WALKERS, np.uint32), np.empty(GROUPS, np.int64), np.empty(WALKERS, np.int64)
    pixel, level = np.empty(WALKERS, np.int32), np.empty(WALKERS, np.int32)
    for ensemble in range(begin, end):
        key = mix(seed_key + ensemble)
        _place_randomly(mix(key), old[0], old[1], 0, WALKERS)
        old[2][:] = HALF
        ready[:] = 0
        all_ready = 0
        for step in range(BURN_IN + steps):
            step_key = mix(key + step + 1)
            shift = ((step // STRIDE * GOLDEN) & (CHOICES - 1)) // GROUPS
            offset = mix(mix(key + step % STRIDE + 1) + OFFSET) + shift
            _choose_maps(step_key, offset, choice, maps)
            _shuffle(step_key, source)
            _step(
                step_key,
                affine,
                post,
                has_post,
                first,
                code,
                weight,
                color,
                old,
                new,
                source,
                maps,
                work,
                packed is not None,
            )
            old, new = new, old
            if step < all_ready:
                ready = ready[source]
            if _any_escaped(old[0], old[1]):
                all_ready = step + 1 + BURN_IN
                _restart_escaped(step_key, old[0], old[1], ready, all_ready)
            if step < BURN_IN:
                continue
            places = old[:2]
            if has_final:
                _apply_final_map(
                    step_key, affine, post, has_post, first, code, weight, old[0], old[1], drawn, identity, work
                )
                places = drawn
            if step < all_ready:
                drawn[0][:], drawn[1][:] = places[0], places[1]
                _hide_unsettled(step, ready, drawn[0])
                places = drawn
            if track is not None:
                track[0, ensemble, step - BURN_IN], track[1, ensemble, step - BURN_IN] = places
            remaining = min(per_step, points - (step - BURN_IN) * per_step)
            n = (remaining - ensemble + ensembles - 1) // ensembles
            _draw(places, old[2], n, left, bottom, scale, size, pixel, level, counts, packed)
