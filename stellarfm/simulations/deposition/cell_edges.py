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

__all__ = ["cube_by_edges", "edges_of", "is_general"]

#: Smallest product of two components of the line of sight: rounding grows as its inverse.
_GENERAL = 1e-3
_DUST = 1e-13
_START, _END, _Y, _SLOPE, _WEIGHT = range(5)


@njit(cache=True, nogil=True)
def is_general(frame: np.ndarray) -> bool:
    """Return whether the line of sight is far enough from all faces for sums over edges to keep twelve digits."""
    a, b, c = abs(frame[2, 0]), abs(frame[2, 1]), abs(frame[2, 2])
    return min(a * b, b * c, c * a) > _GENERAL


def edges_of(frame: np.ndarray) -> np.ndarray:
    """Return the edges of a cube of half side 1 and of unit mass, around the origin.

    Parameters
    ----------
    frame : ndarray
        Frame of the line of sight, shape (3, 3), rows as in `stellarfm.simulations.lines_of_sight`.

    Returns
    -------
    ndarray
        Edges, shape (12, 5): start and end along x, y at the start, slope, weight. Zeros if the frame is not general.
    """
    edges = []
    for m in range(3) if is_general(frame) else ():
        k, n = (m + 1) % 3, (m + 2) % 3
        reach = abs(frame[0, m])
        slope = frame[1, m] / frame[0, m] if reach > 0 else 0.0
        weight = reach / (frame[2, k] * frame[2, n]) / 8
        for side_k, side_n in ((-1, -1), (-1, 1), (1, -1), (1, 1)):
            x, y, _ = side_k * frame[:, k] + side_n * frame[:, n]
            edges.append((x - reach, x + reach, y - slope * reach, slope, -side_k * side_n * weight))
    return np.array(edges or np.zeros((12, 5)))


@njit(cache=True, nogil=True)
def cube_by_edges(
    fraction: np.ndarray,
    row_buffer: np.ndarray,
    i0: int,
    i1: int,
    j0: int,
    j1: int,
    x: float,
    y: float,
    half: float,
    edges: np.ndarray,
    top: float,
) -> None:
    """Fill the pixels of a footprint, for a cell whose whole depth lies in the window.

    Parameters
    ----------
    fraction, row_buffer : ndarray
        Arrays to fill and to work in, shapes (pixels, pixels) and (pixels + 1,).
    i0, i1, j0, j1 : int
        First and one after the last of the rows and columns that the cell touches.
    x, y, half : float
        Center and half the side of the cell, in pixels.
    edges : ndarray
        Edges, from `edges_of`.
    top : float
        Largest y of a cube of half side 1: above, all edges together add nothing more, and lose digits.
    """
    per_pixel = 1 / half
    for i in range(i0, i1):
        for j in range(j0, j1 + 1):
            row_buffer[j] = 0
        for e in range(12):
            start = max(edges[e, _START], (i - x) * per_pixel)
            end = min(edges[e, _END], (i + 1 - x) * per_pixel)
            if start < end:
                add_edge(row_buffer, j0, j1, y, per_pixel, top, edges, e, start, end)
        for j in range(j0, j1):
            part = row_buffer[j + 1] - row_buffer[j]
            fraction[i, j] = part if part > _DUST else 0.0


@njit(cache=True, nogil=True)
def add_edge(
    row_buffer: np.ndarray,
    j0: int,
    j1: int,
    y: float,
    per_pixel: float,
    top: float,
    edges: np.ndarray,
    e: int,
    start: float,
    end: float,
) -> None:
    """Add what lies above edge `e`, from `start` to `end` in x, up to each border of the pixels in y."""
    one = edges[e, _Y] + edges[e, _SLOPE] * (start - edges[e, _START])
    two = edges[e, _Y] + edges[e, _SLOPE] * (end - edges[e, _START])
    low, rise = min(one, two), abs(two - one)
    weight = edges[e, _WEIGHT] * (end - start) / 6
    for j in range(max(j0, int(np.floor(low / per_pixel + y))), j1 + 1):
        a = min((j - y) * per_pixel, top) - low
        b = a - rise
        if b >= 0:
            row_buffer[j] += weight * (a * a + a * b + b * b)
        elif a > 0:
            row_buffer[j] += weight * a * a * a / rise
