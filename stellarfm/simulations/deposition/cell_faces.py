"""The footprint of a cell from its six faces: any direction, cut by the depth of the window or not. Compiled.

Back and front of a cell are three faces each, parallelograms on the sky on which depth is linear. A face is cut at the
ends of the window's depth: what is before counts for nothing, what is behind as if it were at the end. The mass in a
pixel is the integral of the depth over the part of each face in the pixel, of the back less of the front. An edge-on
face has no area and counts for nothing, so that no direction is special.

Convex polygons carry a depth. They lie in one array ``workspace`` of shape (N_POLYGONS, MOST_VERTICES, 3) and are named
by their number in it, because slices would cost more than the arithmetic. A vertex is x, y, depth. Depth is linear on a
polygon; every vertex carries its own, so that an edge-on polygon needs no gradient and counts for nothing.
"""

from __future__ import annotations

import numpy as np
from numba import njit

__all__ = ["MOST_VERTICES", "N_POLYGONS", "cube_by_faces"]

_DUST = 1e-13

#: Polygons in use: what is left of a face, of a row of it (two each, in turns), a pixel of that; what lies behind.
N_POLYGONS = 6
_FACE, _ROW, _PIXEL, _BEHIND = 0, 2, 4, 5

#: A face has 4 vertices, is cut 6 times at most, and rounding can at worst add half as many at each cut.
MOST_VERTICES = 48


@njit(cache=True, nogil=True)
def cube_by_faces(
    fraction: np.ndarray,
    workspace: np.ndarray,
    i0: int,
    i1: int,
    j0: int,
    j1: int,
    x: float,
    y: float,
    half: float,
    frame: np.ndarray,
    low: float,
    high: float,
) -> None:
    """Fill the pixels of a footprint.

    Parameters
    ----------
    fraction, workspace : ndarray
        Arrays to fill and to work in, shapes (pixels, pixels) and (N_POLYGONS, MOST_VERTICES, 3).
    i0, i1, j0, j1 : int
        First and one after the last of the rows and columns that the cell touches.
    x, y, half : float
        Center and half the side of the cell, in pixels.
    frame : ndarray
        Frame of the line of sight, shape (3, 3), rows as in `stellarfm.simulations.lines_of_sight`.
    low, high : float
        Ends of the depth of the window, from the center of the cell.
    """
    for i in range(i0, i1):
        for j in range(j0, j1):
            fraction[i, j] = 0
    for axis in range(3):
        for side in (-1, 1):
            sign = face(workspace, axis, side * half, half, frame)
            if sign != 0:
                p, n, n_behind = cut_in_depth(workspace, low, high)
                add_face(fraction, workspace, p, n, i0, i1, j0, j1, x, y, sign, low)
                flattened(workspace, _BEHIND, n_behind, high, _FACE)
                add_face(fraction, workspace, _FACE, n_behind, i0, i1, j0, j1, x, y, sign, low)
    volume = 8 * half * half * half
    for i in range(i0, i1):
        for j in range(j0, j1):
            part = fraction[i, j] / volume
            fraction[i, j] = part if part > _DUST else 0.0


@njit(cache=True, nogil=True)
def face(workspace: np.ndarray, axis: int, offset: float, half: float, frame: np.ndarray) -> float:
    """Project one face of a cube around the origin to the first polygon; return the sign of its integral.

    The sign is that of the face (back +1, front -1, edge-on 0) times the sense in which its vertices run on the sky.
    """
    one, two = (axis + 1) % 3, (axis + 2) % 3
    for corner in range(4):
        along_one = half if corner in (1, 2) else -half
        along_two = half if corner >= 2 else -half
        for k in range(3):
            part = along_one * frame[k, one] + along_two * frame[k, two]
            workspace[_FACE, corner, k] = offset * frame[k, axis] + part
    sense = frame[0, one] * frame[1, two] - frame[1, one] * frame[0, two]
    return np.sign(offset * frame[2, axis]) * np.sign(sense)


@njit(cache=True, nogil=True)
def cut_in_depth(workspace: np.ndarray, low: float, high: float) -> tuple[int, int, int]:
    """Cut the face at the ends of the depth; return its polygon and the numbers of vertices within and behind."""
    p, n, n_behind = _FACE, 4, 0
    nearest, farthest = range_of(workspace, _FACE, 4, 2)
    if farthest <= low:
        return p, 0, 0
    if nearest < low:
        _, n = split(workspace, p, n, 2, low, _ROW, _FACE + 1)
        p = _FACE + 1
    if farthest > high:
        n, n_behind = split(workspace, p, n, 2, high, _FACE + 1 - p, _BEHIND)
        p = _FACE + 1 - p
    return p, n, n_behind


@njit(cache=True, nogil=True)
def add_face(
    fraction: np.ndarray,
    workspace: np.ndarray,
    rest: int,
    n_rest: int,
    i0: int,
    i1: int,
    j0: int,
    j1: int,
    x: float,
    y: float,
    sign: float,
    low: float,
) -> None:
    """Add the integral of the depth, from `low`, over a part `rest` of a face to each of the pixels, row by row.

    Pixel borders are moved to the centre of the cell, not the face to the pixels: a small cell keeps all its digits.
    """
    if n_rest < 3:
        return
    start, end = range_of(workspace, rest, n_rest, 0)
    i0, i1 = max(i0, int(np.floor(start + x))), min(i1, int(np.ceil(end + x)))
    other = _FACE + 1 - rest
    if start < i0 - x:
        _, n_rest = split(workspace, rest, n_rest, 0, i0 - x, _ROW, other)
        rest, other = other, rest
    for i in range(i0, i1):
        n_row, n_rest = split(workspace, rest, n_rest, 0, i + 1 - x, _ROW, other)
        rest, other = other, rest
        if n_row > 2:
            add_row(fraction, workspace, i, n_row, j0, j1, y, sign, low)


@njit(cache=True, nogil=True)
def add_row(
    fraction: np.ndarray,
    workspace: np.ndarray,
    i: int,
    n_rest: int,
    j0: int,
    j1: int,
    y: float,
    sign: float,
    low: float,
) -> None:
    """Add the integral of the depth, from `low`, over a row of it to each of its pixels."""
    start, end = range_of(workspace, _ROW, n_rest, 1)
    j0, j1 = max(j0, int(np.floor(start + y))), min(j1, int(np.ceil(end + y)))
    rest, other = _ROW, _ROW + 1
    if start < j0 - y:
        _, n_rest = split(workspace, rest, n_rest, 1, j0 - y, _PIXEL, other)
        rest, other = other, rest
    for j in range(j0, j1):
        n_pixel, n_rest = split(workspace, rest, n_rest, 1, j + 1 - y, _PIXEL, other)
        rest, other = other, rest
        if n_pixel > 2:
            fraction[i, j] += sign * integral(workspace, _PIXEL, n_pixel, low)


@njit(cache=True, nogil=True)
def split(workspace: np.ndarray, p: int, n: int, axis: int, bound: float, below: int, above: int) -> tuple[int, int]:
    """Cut polygon `p` of `n` vertices at ``coordinate[axis] = bound`` in two that share the cut.

    Returns
    -------
    n_below, n_above : int
        Vertices of the polygons that are now at `below` and `above`, both other than `p`.
    """
    n_below = n_above = 0
    for i in range(n):
        j = i + 1 if i + 1 < n else 0
        here, there = workspace[p, i, axis] - bound, workspace[p, j, axis] - bound
        if here <= 0:
            for k in range(3):
                workspace[below, n_below, k] = workspace[p, i, k]
            n_below += 1
        if here >= 0:
            for k in range(3):
                workspace[above, n_above, k] = workspace[p, i, k]
            n_above += 1
        if here * there < 0:
            part = here / (here - there)
            for k in range(3):
                cut = bound if k == axis else workspace[p, i, k] + part * (workspace[p, j, k] - workspace[p, i, k])
                workspace[below, n_below, k] = workspace[above, n_above, k] = cut
            n_below += 1
            n_above += 1
    return n_below, n_above


@njit(cache=True, nogil=True)
def range_of(workspace: np.ndarray, p: int, n: int, axis: int) -> tuple[float, float]:
    """Return the smallest and largest coordinate of polygon `p` along an axis."""
    low = high = workspace[p, 0, axis]
    for i in range(1, n):
        low, high = min(low, workspace[p, i, axis]), max(high, workspace[p, i, axis])
    return low, high


@njit(cache=True, nogil=True)
def integral(workspace: np.ndarray, p: int, n: int, zero: float) -> float:
    """Return the integral of (depth - zero) over polygon `p`; positive for anticlockwise vertices of positive depth."""
    total = 0.0
    for i in range(1, n - 1):
        ax, ay = workspace[p, i, 0] - workspace[p, 0, 0], workspace[p, i, 1] - workspace[p, 0, 1]
        bx, by = workspace[p, i + 1, 0] - workspace[p, 0, 0], workspace[p, i + 1, 1] - workspace[p, 0, 1]
        depth = (workspace[p, 0, 2] + workspace[p, i, 2] + workspace[p, i + 1, 2]) / 3
        total += (ax * by - ay * bx) * (depth - zero)
    return total / 2


@njit(cache=True, nogil=True)
def flattened(workspace: np.ndarray, p: int, n: int, depth: float, target: int) -> None:
    """Copy polygon `p` to `target`, all of it at one depth."""
    for i in range(n):
        for k in range(2):
            workspace[target, i, k] = workspace[p, i, k]
        workspace[target, i, 2] = depth
