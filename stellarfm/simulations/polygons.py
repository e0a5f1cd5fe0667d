"""Convex polygons that carry a depth: cut at a line, integrate the depth over the area. Compiled.

A polygon is the first n rows of an array: x, y, depth. Depth is linear on it; because every vertex carries its own, an
edge-on polygon needs no gradient and counts for nothing.
"""

from __future__ import annotations

import numpy as np
from numba import njit

__all__ = ["MOST_VERTICES", "integral", "integral_between", "split"]

#: A face has 4 vertices, is cut 5 times at most, and rounding can at worst add half as many at each cut.
MOST_VERTICES = 32


@njit(cache=True, nogil=True)
def split(
    polygon: np.ndarray, n: int, axis: int, bound: float, below: np.ndarray, above: np.ndarray
) -> tuple[int, int]:
    """Cut a polygon at ``coordinate[axis] = bound`` into two that share the cut; their numbers of vertices."""
    n_below = n_above = 0
    for i in range(n):
        j = i + 1 if i + 1 < n else 0
        here, there = polygon[i, axis] - bound, polygon[j, axis] - bound
        if here <= 0:
            below[n_below] = polygon[i]
            n_below += 1
        if here >= 0:
            above[n_above] = polygon[i]
            n_above += 1
        if here * there < 0:
            part = here / (here - there)
            for k in range(3):
                below[n_below, k] = polygon[i, k] + part * (polygon[j, k] - polygon[i, k])
            below[n_below, axis] = bound
            above[n_above] = below[n_below]
            n_below += 1
            n_above += 1
    return n_below, n_above


@njit(cache=True, nogil=True)
def integral(polygon: np.ndarray, n: int, zero: float) -> float:
    """Integral of (depth - zero) over the area; positive for vertices in anticlockwise order and positive depths."""
    total = 0.0
    x, y, z = polygon[0, 0], polygon[0, 1], polygon[0, 2]
    for i in range(1, n - 1):
        ax, ay = polygon[i, 0] - x, polygon[i, 1] - y
        bx, by = polygon[i + 1, 0] - x, polygon[i + 1, 1] - y
        total += (ax * by - ay * bx) * ((z + polygon[i, 2] + polygon[i + 1, 2]) / 3 - zero)
    return total / 2


@njit(cache=True, nogil=True)
def integral_between(polygon: np.ndarray, n: int, low: float, high: float, spare: np.ndarray) -> float:
    """Integral of the depth clipped to [low, high], counted from low.

    Over a polygon A this is the integral over A of max(depth - low, 0) less that of max(depth - high, 0).

    Parameters
    ----------
    spare : ndarray
        Room for two polygons, shape (2, MOST_VERTICES, 3).
    """
    _, n_low = split(polygon, n, 2, low, spare[0], spare[1])
    total = integral(spare[1], n_low, low)
    _, n_high = split(polygon, n, 2, high, spare[0], spare[1])
    return total - integral(spare[1], n_high, high)
