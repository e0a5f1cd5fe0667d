"""The chaos game on a CPU: from a genome to integer histograms.

One image is rendered by one thread; images are rendered side by side by data-loader workers or threads (the GIL is
released). The histogram depends on the genome, the window, the size, the number of points and the seed alone.
"""

from __future__ import annotations

import numpy as np

from stellarfm.exceptions import FractalError
from stellarfm.fractals.rendering import chaos_game as chaos
from stellarfm.fractals.rendering.chaos_game import (
    COLOUR_LEVELS,
    FIXED_WINDOW,
    LANES,
    WALKERS,
    Program,
    Window,
    compile_genome,
)
from stellarfm.fractals.rendering.numba_kernel import play, unpack

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
PILOT_POINTS = 4096
#: Ensembles whose sums fit into the packed histogram: 2^25 points at most.
PACKED_ENSEMBLES = 512


def render(
    program: Program, window: Window, *, size: int, points: int, seed: int = 0, colour: bool = True
) -> np.ndarray:
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
        Of the random choice of maps, 0 to 2^64 - 1.
    colour : bool
        Whether to sum up colours too; without, it is faster and the counts are the same.

    Returns
    -------
    ndarray of int64, shape (size, size, 3), or (size, size, 1) without colour
        Per pixel (rows along y, columns along x) the number of points, and the sums of q and of q^2, where
        q = 0 ... 4095 is the colour coordinate of a point in steps of 1 / 4095.

    Raises
    ------
    FractalError
        If `size` or `points` is too small, or the window is no square.
    """
    frame = chaos.frame(window, size=size, points=points)
    plan, key = chaos.plan(points), chaos.seed_key(seed)
    histogram = np.zeros((size * size, 3 if colour else 1), dtype=np.int64)
    for first in range(0, plan.ensembles, PACKED_ENSEMBLES):
        last = min(first + PACKED_ENSEMBLES, plan.ensembles)
        if colour:
            packed = np.zeros((size * size + LANES, 2), dtype=np.uint64)
            play(*program, *frame, size, points, *plan, first, last, key, None, packed, None)
            unpack(packed, histogram)
        else:
            counts = np.zeros(size * size + LANES, dtype=np.uint32)
            play(*program, *frame, size, points, *plan, first, last, key, counts, None, None)
            histogram[:, 0] += counts[: size * size]
    return histogram.reshape(size, size, -1)


def orbit(program: Program, n: int, *, seed: int = 0) -> np.ndarray:
    """`n` points of the chaos game in no particular order, float64 (n, 2); NaN where a walker has just diverged."""
    plan = chaos.plan(n)
    points = np.empty((2, plan.ensembles, plan.steps, WALKERS), dtype=np.float32)
    frame = chaos.frame(FIXED_WINDOW, size=1, points=n)
    play(*program, *frame, 1, n, *plan, 0, plan.ensembles, chaos.seed_key(seed), None, None, points)
    return points.reshape(2, -1).T[:n].astype(np.float64)


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
    # A little wider, so that the outermost points stay inside when the window is rounded to 32 bits.
    side = float((high - low).max()) * (1.0 + 1e-6) + 1e-6 * float(np.abs([low, high]).max()) + 1e-9
    x, y = (0.5 * (low + high - side)).tolist()
    return Window(x, y, side)
