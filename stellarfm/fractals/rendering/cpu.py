"""The chaos game on a CPU: from a program to an integer histogram.

One image is rendered by one thread; data-loader workers or threads render images in parallel (the GIL is released).
The histogram depends only on the genome, the window, the size, the number of points and the seed.
"""

from __future__ import annotations

import numpy as np

from stellarfm.exceptions import FractalError
from stellarfm.fractals.rendering.chaos_game import LANES, WALKERS, plan_run, seed_key
from stellarfm.fractals.rendering.numba_kernel import play, unpack
from stellarfm.fractals.rendering.program import FIXED_WINDOW, Program, Window, pixel_frame

__all__ = ["WINDOWS", "choose_window", "orbit", "render"]

#: Names of the windows of `choose_window`.
WINDOWS = ("fixed", "quantile", "box")
PILOT_POINTS = 4096
#: Ensembles whose sums fit into the packed histogram: 2^25 points at most.
PACKED_ENSEMBLES = 512


def render(
    program: Program, window: Window, *, size: int, points: int, seed: int = 0, color: bool = True
) -> np.ndarray:
    """Play the chaos game and return the histogram of its points.

    Parameters
    ----------
    program : Program
        Genome compiled by `compile_genome`.
    window : Window
        Region of the plane that the image shows.
    size : int
        Side of the image in pixels.
    points : int
        Number of points, including those outside the window.
    seed : int
        Seed of the choice of maps, 0 to 2^64 - 1.
    color : bool
        If False, only points are counted, which is faster; the counts are the same.

    Returns
    -------
    ndarray of int64, shape (size, size, 3), or (size, size, 1) without color
        Number of points per pixel (rows along y, columns along x), and the sums of q and of q^2, where q = 0 ... 4095
        is the color coordinate of a point in units of 1 / 4095.

    Raises
    ------
    FractalError
        If `size` or `points` is too small, or the window is not a square.

    Examples
    --------
    >>> from stellarfm.fractals import sample_genome
    >>> from stellarfm.fractals.rendering import FIXED_WINDOW, compile_genome
    >>> program = compile_genome(sample_genome("flames", seed=0, index=3))
    >>> render(program, FIXED_WINDOW, size=16, points=1000).shape
    (16, 16, 3)
    """
    frame = pixel_frame(window, size=size, points=points)
    run, key = plan_run(points), seed_key(seed)
    histogram = np.zeros((size * size, 3 if color else 1), dtype=np.int64)
    for first in range(0, run.ensembles, PACKED_ENSEMBLES):
        last = min(first + PACKED_ENSEMBLES, run.ensembles)
        if color:
            packed = np.zeros((size * size + LANES, 2), dtype=np.uint64)
            play(*program, *frame, size, points, *run, first, last, key, None, packed, None)
            unpack(packed, histogram)
        else:
            counts = np.zeros(size * size + LANES, dtype=np.uint32)
            play(*program, *frame, size, points, *run, first, last, key, counts, None, None)
            histogram[:, 0] += counts[: size * size]
    return histogram.reshape(size, size, -1)


def orbit(program: Program, n: int, *, seed: int = 0) -> np.ndarray:
    """Return `n` points of the chaos game in no particular order.

    Parameters
    ----------
    program : Program
        Genome compiled by `compile_genome`.
    n : int
        Number of points.
    seed : int
        Seed of the choice of maps, 0 to 2^64 - 1.

    Returns
    -------
    ndarray of float64, shape (n, 2)
        Coordinates; NaN for a walker that has just diverged.

    Examples
    --------
    >>> from stellarfm.fractals import sample_genome
    >>> from stellarfm.fractals.rendering import compile_genome
    >>> orbit(compile_genome(sample_genome("ifs", seed=0, index=0)), 100).shape
    (100, 2)
    """
    run = plan_run(n)
    points = np.empty((2, run.ensembles, run.steps, WALKERS), dtype=np.float32)
    frame = pixel_frame(FIXED_WINDOW, size=1, points=n)
    play(*program, *frame, 1, n, *run, 0, run.ensembles, seed_key(seed), None, None, points)
    return points.reshape(2, -1).T[:n].astype(np.float64)


def choose_window(program: Program, name: str, *, quantile: float = 0.02) -> Window:
    """Return the window of an image.

    Parameters
    ----------
    program : Program
        Genome compiled by `compile_genome`.
    name : {"fixed", "quantile", "box"}
        ``fixed`` is [-1, 1]^2. ``quantile`` is the smallest square around the central points of a pilot run of 4096
        points, excluding the fraction `quantile` at either end of each axis; ``box`` excludes none.
    quantile : float
        Fraction of points excluded at either end of each axis by ``quantile``.

    Raises
    ------
    FractalError
        If `name` is unknown.

    Examples
    --------
    >>> from stellarfm.fractals import sample_genome
    >>> from stellarfm.fractals.rendering import compile_genome
    >>> choose_window(compile_genome(sample_genome("flames", seed=0, index=3)), "fixed")
    Window(x=-1.0, y=-1.0, side=2.0)
    """
    if name not in WINDOWS:
        raise FractalError(f"unknown window {name!r}; the windows are {', '.join(WINDOWS)}")
    if name == "fixed":
        return FIXED_WINDOW
    points = orbit(program, PILOT_POINTS)
    points = points[np.isfinite(points).all(axis=1)]
    if len(points) < 2:
        return FIXED_WINDOW
    tail = quantile if name == "quantile" else 0.0
    low, high = np.quantile(points, [tail, 1.0 - tail], axis=0)
    # A little wider, so that the outermost points stay inside when the window is rounded to 32 bits.
    side = float((high - low).max()) * (1.0 + 1e-6) + 1e-6 * float(np.abs([low, high]).max()) + 1e-9
    x, y = (0.5 * (low + high - side)).tolist()
    return Window(x, y, side)
