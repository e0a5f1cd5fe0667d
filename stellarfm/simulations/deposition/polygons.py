"""Convex polygons that carry a depth: cut at a line, integrate the depth over the area. Compiled.

Polygons lie in one array ``room`` of shape (polygons, MOST_VERTICES, 3) and are named by their number in it, because
slices would cost more than the arithmetic. A vertex is x, y, depth. Depth is linear on a polygon; every vertex carries
its own, so that an edge-on polygon needs no gradient and counts for nothing.
"""

from __future__ import annotations

import numpy as np
from numba import njit

__all__ = ["MOST_VERTICES", "flattened", "integral", "range_of", "split"]

#: A face has 4 vertices, is cut 6 times at most, and rounding can at worst add half as many at each cut.
MOST_VERTICES = 48


@njit(cache=True, nogil=True)
def split(room: np.ndarray, p: int, n: int, axis: int, bound: float, below: int, above: int) -> tuple[int, int]:
    """Cut polygon `p` of `n` vertices at ``coordinate[axis] = bound`` in two that share the cut.

    Returns
    -------
    n_below, n_above : int
        Vertices of the polygons that are now at `below` and `above`, both other than `p`.
    """
    n_below = n_above = 0
    for i in range(n):
        j = i + 1 if i + 1 < n else 0
        here, there = room[p, i, axis] - bound, room[p, j, axis] - bound
        if here <= 0:
            for k in range(3):
                room[below, n_below, k] = room[p, i, k]
            n_below += 1
        if here >= 0:
            for k in range(3):
                room[above, n_above, k] = room[p, i, k]
            n_above += 1
        if here * there < 0:
            part = here / (here - there)
            for k in range(3):
                cut = bound if k == axis else room[p, i, k] + part * (room[p, j, k] - room[p, i, k])
                room[below, n_below, k] = room[above, n_above, k] = cut
            n_below += 1
            n_above += 1
    return n_below, n_above


@njit(cache=True, nogil=True)
def range_of(room: np.ndarray, p: int, n: int, axis: int) -> tuple[float, float]:
    """Smallest and largest coordinate of polygon `p` along an axis."""
    low = high = room[p, 0, axis]
    for i in range(1, n):
        low, high = min(low, room[p, i, axis]), max(high, room[p, i, axis])
    return low, high


@njit(cache=True, nogil=True)
def integral(room: np.ndarray, p: int, n: int, zero: float) -> float:
    """Integral of (depth - zero) over polygon `p`; positive for anticlockwise vertices of positive depth."""
    total = 0.0
    for i in range(1, n - 1):
        ax, ay = room[p, i, 0] - room[p, 0, 0], room[p, i, 1] - room[p, 0, 1]
        bx, by = room[p, i + 1, 0] - room[p, 0, 0], room[p, i + 1, 1] - room[p, 0, 1]
        depth = (room[p, 0, 2] + room[p, i, 2] + room[p, i + 1, 2]) / 3
        total += (ax * by - ay * bx) * (depth - zero)
    return total / 2


@njit(cache=True, nogil=True)
def flattened(room: np.ndarray, p: int, n: int, depth: float, target: int) -> None:
    """Copy polygon `p` to `target`, all of it at one depth."""
    for i in range(n):
        room[target, i, 0], room[target, i, 1], room[target, i, 2] = room[p, i, 0], room[p, i, 1], depth
