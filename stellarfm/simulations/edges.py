"""The footprint of a whole cell seen from a general direction, from its twelve edges. Compiled.

The gas along the line of sight through (x, y) is the depth of the face behind less that of the face in front. A point
is on a face if it is above its lower edges and not above its upper ones. So two faces that share an edge both count
above it, with opposite signs; the difference of their depths is zero on the edge and grows linearly from there. With F
the frame, the column through a cell is

    T(x, y) = sum over edges of -s_k s_n |F_0m| / (F_2k F_2n) max(0, y - y_e(x)),  x within the edge,

for an edge along axis m on the sides s_k, s_n = -1 or 1 of the other two axes. The integral of T up to any border of a
pixel is a cubic in closed form, and pixels are differences of it: nothing is lost between them.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from stellarfm.simulations.scratch import Scratch

__all__ = ["cube_by_edges", "is_general"]

#: Smallest product of two components of the line of sight: rounding grows as its inverse.
_GENERAL = 1e-3
_DUST = 1e-13
_START, _END, _Y, _SLOPE, _WEIGHT = range(5)


@njit(cache=True, nogil=True)
def is_general(sight: np.ndarray) -> bool:
    """Whether a line of sight is far enough from all faces for the sum over edges to keep twelve digits."""
    a, b, c = abs(sight[0]), abs(sight[1]), abs(sight[2])
    return min(a * b, b * c, c * a) > _GENERAL


@njit(cache=True, nogil=True)
def cube_by_edges(
    scratch: Scratch, pixels: tuple[int, int, int, int], x: float, y: float, half: float, frame: np.ndarray
) -> None:
    """Fill the pixels of the footprint of a cell whose whole depth lies in the window.

    Parameters
    ----------
    pixels : tuple of int
        First and one after the last of the rows and columns that it touches.
    x, y, half : float
        Centre and half the side, in pixels.
    frame : ndarray
        Shape (3, 3), its last row general.
    """
    share, line, edges = scratch.share, scratch.line, scratch.edges
    i0, i1, j0, j1 = pixels
    top = half * (abs(frame[1, 0]) + abs(frame[1, 1]) + abs(frame[1, 2]))
    list_edges(edges, half, frame)
    for i in range(i0, i1):
        for j in range(j0, j1 + 1):
            line[j] = 0
        for e in range(12):
            start, end = max(edges[e, _START], i - x), min(edges[e, _END], i + 1 - x)
            if start < end:
                add_edge(line, j0, j1, y, top, edges[e], start, end)
        for j in range(j0, j1):
            part = line[j + 1] - line[j]
            share[i, j] = part if part > _DUST else 0.0


@njit(cache=True, nogil=True)
def list_edges(edges: np.ndarray, half: float, frame: np.ndarray) -> None:
    """Range along x, y at its start, slope and weight of the edges of a cell of unit mass around the origin."""
    e = 0
    for m in range(3):
        k, n = (m + 1) % 3, (m + 2) % 3
        reach = half * abs(frame[0, m])
        slope = frame[1, m] / frame[0, m] if reach > 0 else 0.0
        weight = abs(frame[0, m]) / (frame[2, k] * frame[2, n]) / (8 * half * half * half)
        for side_k in (-1, 1):
            for side_n in (-1, 1):
                x = half * (side_k * frame[0, k] + side_n * frame[0, n])
                y = half * (side_k * frame[1, k] + side_n * frame[1, n])
                edges[e, _START], edges[e, _END] = x - reach, x + reach
                edges[e, _Y], edges[e, _SLOPE] = y - slope * reach, slope
                edges[e, _WEIGHT] = -side_k * side_n * weight
                e += 1


@njit(cache=True, nogil=True)
def add_edge(
    line: np.ndarray, j0: int, j1: int, y: float, top: float, edge: np.ndarray, start: float, end: float
) -> None:
    """Add what lies above an edge, from `start` to `end` in x, up to each border of the pixels in y.

    Above the `top` of the cell all edges together add nothing more; to sum them there would only lose digits.
    """
    one = edge[_Y] + edge[_SLOPE] * (start - edge[_START])
    two = edge[_Y] + edge[_SLOPE] * (end - edge[_START])
    low, high = min(one, two), max(one, two)
    weight = edge[_WEIGHT] * (end - start) / 6
    for j in range(max(j0, int(np.floor(low + y))), j1 + 1):
        a = min(j - y, top) - low
        b = a - (high - low)
        if b >= 0:
            line[j] += weight * (a * a + a * b + b * b)
        elif a > 0:
            line[j] += weight * a * a * a / (high - low)
