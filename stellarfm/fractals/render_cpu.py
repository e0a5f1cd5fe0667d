"""The chaos game on a CPU: from a genome to integer histograms.

One image is rendered by one thread; images are rendered side by side by data-loader workers (the GIL is released).
The histogram depends on the genome, the window, the size, the number of points and the seed alone.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from stellarfm.exceptions import FractalError
from stellarfm.fractals.genome import Genome, Transform
from stellarfm.fractals.variations import VARIATIONS, variation

__all__ = [
    "COLOUR_LEVELS",
    "FIXED_WINDOW",
    "WINDOWS",
    "Program",
    "Window",
    "choose_window",
    "compile_genome",
    "orbit",
    "render",
]

#: Ways to choose the window of an image.
WINDOWS = ("fixed", "quantile", "box")
#: Steps of the colour coordinate in the histograms.
COLOUR_LEVELS = 4096

CHOICES = 4096
BURN_IN = 20
N_WALKERS = 16
BLOCK = 1024
FAR = 1e10
PILOT_POINTS = 4096
IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
CODES = {name: code for code, name in enumerate(VARIATIONS)}


class Window(NamedTuple):
    """A square of the plane: lower corner and side."""

    x: float
    y: float
    side: float


#: The square [-1, 1]^2, which the coefficients of the `flames` sampler are drawn for.
FIXED_WINDOW = Window(-1.0, -1.0, 2.0)


class Program(NamedTuple):
    """A genome as arrays for the compiled chaos game; row K of K maps is the final map.

    Attributes
    ----------
    choice : ndarray of uint8, shape (4096,)
        Map to take for each of 4096 equally likely random numbers.
    affine, post : ndarray, shape (K + 1, 6)
        Coefficients before and after the variations.
    first : ndarray of int64, shape (K + 2,)
        Map k has the variations first[k] ... first[k + 1] - 1.
    code, weight : ndarray
        Variations of all maps, one after the other.
    colour : ndarray, shape (K,)
        Colour coordinate of each map.
    has_final : bool
        Whether row K is to be applied.
    """

    choice: np.ndarray
    affine: np.ndarray
    post: np.ndarray
    first: np.ndarray
    code: np.ndarray
    weight: np.ndarray
    colour: np.ndarray
    has_final: bool


def compile_genome(genome: Genome) -> Program:
    """Arrays of a genome."""
    final = genome.final or Transform(affine=IDENTITY)
    transforms: list[Transform] = [*genome.maps, final]
    terms = [term for transform in transforms for term in transform.variations]
    return Program(
        choice=_choice_table([m.probability for m in genome.maps]),
        affine=np.array([t.affine for t in transforms]),
        post=np.array([t.post or IDENTITY for t in transforms]),
        first=np.cumsum([0, *(len(t.variations) for t in transforms)]),
        code=np.array([CODES[name] for name, _ in terms]),
        weight=np.array([weight for _, weight in terms], dtype=np.float64),
        colour=np.array([m.colour for m in genome.maps], dtype=np.float64),
        has_final=genome.final is not None,
    )


def _choice_table(probabilities: list[float]) -> np.ndarray:
    """Each map as many times as its share of the table (probabilities are rounded to 1/4096)."""
    edges = np.rint(np.cumsum(probabilities) / sum(probabilities) * CHOICES).astype(np.int64)
    return np.repeat(np.arange(len(probabilities), dtype=np.uint8), np.diff(edges, prepend=0))


def render(program: Program, window: Window, *, size: int, points: int, seed: int = 0) -> np.ndarray:
    """Play the chaos game and count where it goes.

    Parameters
    ----------
    program : Program
        From `compile_genome`.
    window : Window
        What the image shows.
    size : int
        Side of the image in pixels.
    points : int
        Number of points, those outside the window included.
    seed : int
        Of the random choice of maps.

    Returns
    -------
    ndarray of int64, shape (size, size, 3)
        Per pixel the number of points, and the sums of q and of q^2, where q = 0 ... 4095 is the colour coordinate of a
        point in steps of 1 / 4095.

    Raises
    ------
    FractalError
        If `size` or `points` is too small.
    """
    if size < 1 or points < 1:
        raise FractalError(f"size {size} with {points} points makes no image; both must be at least 1")
    histogram = np.zeros((size, size, 3), dtype=np.int64)
    _chaos_game(program, window.x, window.y, size / window.side, points, np.uint64(seed), histogram)
    return histogram


def orbit(program: Program, n: int, *, seed: int = 0) -> np.ndarray:
    """`n` points of the chaos game, shape (n, 2); NaN where a walker has just diverged."""
    points = np.empty((n + N_WALKERS * BURN_IN, 3))
    _orbit(program, np.uint64(seed), points)
    return points[N_WALKERS * BURN_IN :, :2]


def choose_window(program: Program, how: str, *, quantile: float = 0.02) -> Window:
    """The window of an image.

    Parameters
    ----------
    program : Program
        From `compile_genome`.
    how : {"fixed", "quantile", "box"}
        ``fixed`` is [-1, 1]^2. ``quantile`` is the smallest square around the central points of a pilot run of 4096,
        `quantile` of them left out at either end of each axis; ``box`` leaves out none.
    quantile : float
        See `how`.

    Raises
    ------
    FractalError
        If `how` is unknown.
    """
    if how not in WINDOWS:
        raise FractalError(f"unknown window {how!r}; the windows are {', '.join(WINDOWS)}")
    if how == "fixed":
        return FIXED_WINDOW
    points = orbit(program, PILOT_POINTS)
    points = points[np.isfinite(points).all(axis=1)]
    if len(points) < 2:
        return FIXED_WINDOW
    tail = quantile if how == "quantile" else 0.0
    low, high = np.quantile(points, [tail, 1.0 - tail], axis=0)
    side = max(float((high - low).max()), 1e-9) * (1.0 + 1e-9)
    x, y = (0.5 * (low + high - side)).tolist()
    return Window(x, y, side)


@njit(cache=True, nogil=True)
def _mix(state):
    """Output function of SplitMix64 (Steele, Lea & Flood 2014): 64 random bits of a counter."""
    z = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@njit(cache=True, nogil=True)
def _start(bits):
    """A starting point in [-1, 1]^2 out of 64 random bits."""
    return (bits >> np.uint64(32)) * 2.0**-31 - 1.0, (bits & np.uint64(0xFFFFFFFF)) * 2.0**-31 - 1.0


@njit(cache=True, nogil=True)
def _walkers(seed):
    """States of the walkers: generator counters, (x, y, colour), steps until the next point counts."""
    state = np.empty(N_WALKERS, dtype=np.uint64)
    place = np.empty((N_WALKERS, 3))
    for w in range(N_WALKERS):
        state[w] = _mix(_mix(seed) + np.uint64(w + 1))
        place[w, 0], place[w, 1] = _start(_mix(state[w]))
        place[w, 2] = 0.5
    return state, place, np.full(N_WALKERS, BURN_IN)


@njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _transform(k, x, y, half_turn, affine, post, first, code, weight):
    """Map number `k`, applied to a point."""
    u = affine[k, 0] * x + affine[k, 1] * y + affine[k, 2]
    v = affine[k, 3] * x + affine[k, 4] * y + affine[k, 5]
    p = 0.0
    q = 0.0
    for term in range(first[k], first[k + 1]):
        du, dv = u, v
        if code[term] != 0:
            du, dv = variation(code[term], u, v, half_turn)
        p += weight[term] * du
        q += weight[term] * dv
    return post[k, 0] * p + post[k, 1] * q + post[k, 2], post[k, 3] * p + post[k, 4] * q + post[k, 5]


# The arrays of a Program come one by one: passed as a tuple they are reference-counted at every step (4 x slower).
@njit(cache=True, nogil=True, error_model="numpy")
def _walk(choice, affine, post, first, code, weight, colour, has_final, state, place, rest, points):
    """Fill `points` (n, 3) with the next places and colours of the walkers in turn; NaN where none is to be drawn."""
    for i in range(points.shape[0]):
        w = i & (N_WALKERS - 1)
        state[w] += np.uint64(0x9E3779B97F4A7C15)
        bits = _mix(state[w])
        k = np.int64(choice[bits >> np.uint64(52)])
        half_turn = np.int64(bits & np.uint64(1))
        x, y = _transform(k, place[w, 0], place[w, 1], half_turn, affine, post, first, code, weight)
        if not (math.fabs(x) + math.fabs(y) < FAR):
            x, y = _start(_mix(bits))
            rest[w] = BURN_IN
        place[w, 0] = x
        place[w, 1] = y
        place[w, 2] = 0.5 * (place[w, 2] + colour[k])
        points[i, 2] = place[w, 2]
        if rest[w] > 0:
            rest[w] -= 1
            x = math.nan
        elif has_final:
            half_turn = np.int64((bits >> np.uint64(1)) & np.uint64(1))
            x, y = _transform(affine.shape[0] - 1, x, y, half_turn, affine, post, first, code, weight)
        points[i, 0] = x
        points[i, 1] = y


@njit(cache=True, nogil=True)
def _count(points, left, bottom, scale, histogram):
    """Add points to the histogram; those outside the window, or NaN, fall through the comparison."""
    size = histogram.shape[0]
    for i in range(points.shape[0]):
        column = (points[i, 0] - left) * scale
        row = (points[i, 1] - bottom) * scale
        if 0.0 <= column < size and 0.0 <= row < size:
            r, c = np.int64(row), np.int64(column)
            q = np.int64(points[i, 2] * (COLOUR_LEVELS - 1) + 0.5)
            histogram[r, c, 0] += 1
            histogram[r, c, 1] += q
            histogram[r, c, 2] += q * q


@njit(cache=True, nogil=True)
def _chaos_game(program, left, bottom, scale, n_points, seed, histogram):
    """Fill `histogram` in place, block by block."""
    choice, affine, post, first, code, weight, colour, has_final = program
    state, place, rest = _walkers(seed)
    block = np.empty((BLOCK, 3))
    left_over = n_points + N_WALKERS * BURN_IN
    while left_over > 0:
        points = block[: min(BLOCK, left_over)]
        _walk(choice, affine, post, first, code, weight, colour, has_final, state, place, rest, points)
        _count(points, left, bottom, scale, histogram)
        left_over -= points.shape[0]


@njit(cache=True, nogil=True)
def _orbit(program, seed, points):
    """Fill `points` (n, 3) in place."""
    choice, affine, post, first, code, weight, colour, has_final = program
    state, place, rest = _walkers(seed)
    _walk(choice, affine, post, first, code, weight, colour, has_final, state, place, rest, points)
