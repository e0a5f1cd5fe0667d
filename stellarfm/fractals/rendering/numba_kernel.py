"""The chaos game compiled by numba; what is played is defined in `stellarfm.fractals.rendering.chaos_game`.

numba's cache does not look through modules: who changes `chaos`, `elementary`, `variations` or `lanes` must touch this
one too. The arrays of a Program come one by one: passed as a tuple they are reference-counted at every use.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from stellarfm.fractals.rendering import chaos_game as chaos
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
)
from stellarfm.fractals.rendering.numba_variations import OPTIONS, add_variation

__all__ = ["play", "unpack"]

#: A word of the packed histogram: number of points above this bit, sum of the colour coordinate below.
COUNT_BIT = 38
UNIT, HALF, HIGHEST = np.float32(2.0**-23), np.float32(0.5), np.float32(COLOUR_LEVELS - 1)
ZERO, ONE = np.float32(0.0), np.float32(1.0)

mix = njit(**OPTIONS)(chaos.mix)


@njit(**OPTIONS)
def _three():
    """Arrays for x, y and colour of the walkers."""
    return np.empty(WALKERS, np.float32), np.empty(WALKERS, np.float32), np.empty(WALKERS, np.float32)


@njit(**OPTIONS)
def _start(step_key, x, y, first, last):
    """Put walkers `first` ... `last` - 1 at random places in [-1, 1]^2."""
    key_x, key_y = mix(step_key + START_X), mix(step_key + START_Y)
    for walker in range(first, last):
        x[walker] = np.float32(mix(key_x + walker) >> 8) * UNIT - ONE
        y[walker] = np.float32(mix(key_y + walker) >> 8) * UNIT - ONE


@njit(**OPTIONS)
def _choose(step_key, offset, choice, maps):
    """The map of each group."""
    key = mix(step_key + RANK)
    for group in range(GROUPS):
        rank = 0
        for other in range(GROUPS):
            rank += mix(key + other) < mix(key + group)
        maps[group] = choice[(rank * (CHOICES // GROUPS) + offset) & (CHOICES - 1)]


@njit(**OPTIONS)
def _sources(step_key, source):
    """Where each walker of a step stood before it: lane by lane the groups are turned."""
    key = mix(step_key + TURN)
    for lane in range(LANES):
        turn = mix(key + lane)
        for group in range(GROUPS):
            source[group * LANES + lane] = np.uint32(((group + turn) & (GROUPS - 1)) * LANES + lane)


@njit(**OPTIONS)
def _row(table, k):
    """Six coefficients."""
    return table[k, 0], table[k, 1], table[k, 2], table[k, 3], table[k, 4], table[k, 5]


@njit(inline="always", **OPTIONS)
def _transform(k, word, affine, post, has_post, first, code, weight, x, y, source, begin, work):
    """Map number `k` of a group's points x[source], y[source]; the result is in ``work[2:]``."""
    a, b, c, d, e, f = _row(affine, k)
    for lane in range(LANES):
        one, other = x[source[begin + lane]], y[source[begin + lane]]
        work[0, lane] = a * one + b * other + c
        work[1, lane] = d * one + e * other + f
    work[2:] = ZERO
    for term in range(first[k], first[k + 1]):
        add_variation(code[term], weight[term], word, work)
    if has_post[k]:
        _post(_row(post, k), work)


@njit(**OPTIONS)
def _post(coefficients, work):
    """An affine map of the points ``work[2:]``, in place."""
    a, b, c, d, e, f = coefficients
    for lane in range(LANES):
        one, other = work[2, lane], work[3, lane]
        work[2, lane] = a * one + b * other + c
        work[3, lane] = d * one + e * other + f


@njit(**OPTIONS)
def _place(work, x, y, begin):
    """Move the points ``work[2:]`` to their places."""
    for lane in range(LANES):
        x[begin + lane] = work[2, lane]
        y[begin + lane] = work[3, lane]


@njit(**OPTIONS)
def _fade(target, source, begin, old, new):
    """Colours of a group move half-way to that of its map."""
    for lane in range(LANES):
        new[begin + lane] = (old[source[begin + lane]] + target) * HALF


@njit(**OPTIONS)
def _any_escaped(x, y):
    """Whether a walker went too far, or nowhere (NaN)."""
    far = 0
    for walker in range(WALKERS):
        far += not (abs(x[walker]) + abs(y[walker]) < FAR)
    return far > 0


@njit(inline="always", **OPTIONS)
def _restart(step_key, x, y, ready, drawn_from):
    """Walkers that went too far start again, and are drawn from step `drawn_from` on."""
    for walker in range(WALKERS):
        if not (abs(x[walker]) + abs(y[walker]) < FAR):
            _start(step_key, x, y, walker, walker + 1)
            ready[walker] = drawn_from


@njit(**OPTIONS)
def _hide(step, ready, x):
    """NaN for walkers that are not to be drawn yet."""
    for walker in range(WALKERS):
        if ready[walker] > step:
            x[walker] = math.nan


@njit(**OPTIONS)
def _pixels(x, y, left, bottom, scale, size, pixel):
    """Pixel of each walker; outside the window one of 32 more, a bin for each lane."""
    side = np.float32(size)
    for walker in range(WALKERS):
        column, row = (x[walker] - left) * scale, (y[walker] - bottom) * scale
        inside = (column >= ZERO) & (column < side) & (row >= ZERO) & (row < side)
        place = np.int32(row if inside else ZERO) * np.int32(size) + np.int32(column if inside else ZERO)
        pixel[walker] = place if inside else np.int32(size * size + (walker & (LANES - 1)))


@njit(**OPTIONS)
def _leave_out(pixel, n, size):
    """All but `n` walkers, as many of each group, are not drawn."""
    for group in range(GROUPS):
        for lane in range(LANES):
            if lane * GROUPS + group >= n:
                pixel[group * LANES + lane] = size * size + lane


@njit(**OPTIONS)
def _levels(colour, level):
    """Colours as integers."""
    for walker in range(WALKERS):
        level[walker] = np.int32(colour[walker] * HIGHEST + HALF)


@njit(**OPTIONS)
def _count(pixel, counts):
    """Count the walkers."""
    for walker in range(WALKERS):
        counts[np.uint32(pixel[walker])] += np.uint32(1)


@njit(**OPTIONS)
def _count_colours(pixel, level, packed):
    """Count the walkers and sum up their colours."""
    for walker in range(WALKERS):
        place, q = np.uint32(pixel[walker]), np.uint64(level[walker])
        packed[place, 0] += q | np.uint64(1 << COUNT_BIT)
        packed[place, 1] += q * q


@njit(inline="always", **OPTIONS)
def _step(step_key, affine, post, has_post, first, code, weight, colour, old, new, source, maps, work, colourful):
    """One step of an ensemble: x, y and, if `colourful`, colour of its walkers, `old` -> `new`."""
    key = mix(step_key + JULIA)
    for group in range(GROUPS):
        k, begin = maps[group], group * LANES
        _transform(
            k, mix(key + group), affine, post, has_post, first, code, weight, old[0], old[1], source, begin, work
        )
        _place(work, new[0], new[1], begin)
        if colourful:
            _fade(colour[k], source, begin, old[2], new[2])


@njit(inline="always", **OPTIONS)
def _bend(step_key, affine, post, has_post, first, code, weight, x, y, drawn, itself, work):
    """The final map of all walkers."""
    key, k = mix(step_key + FINAL_JULIA), affine.shape[0] - 1
    for group in range(GROUPS):
        begin = group * LANES
        _transform(k, mix(key + group), affine, post, has_post, first, code, weight, x, y, itself, begin, work)
        _place(work, drawn[0], drawn[1], begin)


@njit(inline="always", **OPTIONS)
def _record(drawn, colour, n, left, bottom, scale, size, pixel, level, counts, packed):
    """Draw `n` walkers into the histogram that there is."""
    _pixels(drawn[0], drawn[1], left, bottom, scale, size, pixel)
    if n < WALKERS:
        _leave_out(pixel, n, size)
    if packed is not None:
        _levels(colour, level)
        _count_colours(pixel, level, packed)
    if counts is not None:
        _count(pixel, counts)


@njit(cache=True, nogil=True)
def unpack(packed, histogram):
    """Add number of points, sum and sum of squares of the colour coordinate to `histogram`, (pixels, 3)."""
    for pixel in range(histogram.shape[0]):
        histogram[pixel, 0] += np.int64(packed[pixel, 0] >> COUNT_BIT)
        histogram[pixel, 1] += np.int64(packed[pixel, 0] & ((1 << COUNT_BIT) - 1))
        histogram[pixel, 2] += np.int64(packed[pixel, 1])


@njit(cache=True, nogil=True, error_model="numpy")
def play(
    choice, affine, post, has_post, first, code, weight, colour, has_final,
    left, bottom, scale, size, points, ensembles, steps, per_step, begin, end, seed_key, counts, packed, track,
):  # fmt: skip
    """Play ensembles `begin` ... `end` - 1 into `counts`, `packed` (with colours) or `track`; the others are None."""
    old, new, drawn = _three(), _three(), _three()[:2]
    work, itself = np.empty((4, LANES), np.float32), np.arange(WALKERS).astype(np.uint32)
    source, maps, ready = np.empty(WALKERS, np.uint32), np.empty(GROUPS, np.int64), np.empty(WALKERS, np.int64)
    pixel, level = np.empty(WALKERS, np.int32), np.empty(WALKERS, np.int32)
    for ensemble in range(begin, end):
        key = mix(seed_key + ensemble)
        _start(mix(key), old[0], old[1], 0, WALKERS)
        old[2][:] = HALF
        ready[:] = 0
        all_ready = 0
        for step in range(BURN_IN + steps):
            step_key = mix(key + step + 1)
            shift = ((step // STRIDE * GOLDEN) & (CHOICES - 1)) // GROUPS
            offset = mix(mix(key + step % STRIDE + 1) + OFFSET) + shift
            _choose(step_key, offset, choice, maps)
            _sources(step_key, source)
            _step(
                step_key,
                affine,
                post,
                has_post,
                first,
                code,
                weight,
                colour,
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
                _restart(step_key, old[0], old[1], ready, all_ready)
            if step < BURN_IN:
                continue
            places = old[:2]
            if has_final:
                _bend(step_key, affine, post, has_post, first, code, weight, old[0], old[1], drawn, itself, work)
                places = drawn
            if step < all_ready:
                drawn[0][:], drawn[1][:] = places[0], places[1]
                _hide(step, ready, drawn[0])
                places = drawn
            if track is not None:
                track[0, ensemble, step - BURN_IN], track[1, ensemble, step - BURN_IN] = places
            left_over = min(per_step, points - (step - BURN_IN) * per_step)
            n = (left_over - ensemble + ensembles - 1) // ensembles
            _record(places, old[2], n, left, bottom, scale, size, pixel, level, counts, packed)
