"""The footprint of a cell from its six faces: any direction, cut by the depth of the window or not. Compiled.

Back and front of a cell are three faces each, parallelograms on the sky on which depth is linear. A face is cut at the
ends of the window's depth: what is before counts for nothing, what is behind as if it were at the end. The mass in a
pixel is the integral of the depth over the part of each face in the pixel, of the back less of the front. An edge-on
face has no area and counts for nothing, so that no direction is special.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from stellarfm.simulations.deposition.polygons import flattened, integral, range_of, split

__all__ = ["N_POLYGONS", "cube_by_faces"]

_DUST = 1e-13

#: Polygons in use: what is left of a face, of a row of it (two each, in turns), a pixel of that; what lies behind.
N_POLYGONS = 6
_FACE, _ROW, _PIXEL, _BEHIND = 0, 2, 4, 5


@njit(cache=True, nogil=True)
def cube_by_faces(
    share: np.ndarray,
    room: np.ndarray,
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
    share, room : ndarray
        Shapes (pixels, pixels) and (N_POLYGONS, MOST_VERTICES, 3).
    i0, i1, j0, j1 : int
        First and one after the last of the rows and columns that the cell touches.
    x, y, half : float
        Centre and half the side of the cell, in pixels.
    frame : ndarray
        Shape (3, 3), rows as in `stellarfm.simulations.lines_of_sight`.
    low, high : float
        Ends of the depth of the window, from the centre of the cell.
    """
    for i in range(i0, i1):
        for j in range(j0, j1):
            share[i, j] = 0
    for axis in range(3):
        for side in (-1, 1):
            sign = face(room, axis, side * half, half, frame)
            if sign != 0:
                p, n, n_behind = cut_in_depth(room, low, high)
                add_face(share, room, p, n, i0, i1, j0, j1, x, y, sign, low)
                flattened(room, _BEHIND, n_behind, high, _FACE)
                add_face(share, room, _FACE, n_behind, i0, i1, j0, j1, x, y, sign, low)
    volume = 8 * half * half * half
    for i in range(i0, i1):
        for j in range(j0, j1):
            part = share[i, j] / volume
            share[i, j] = part if part > _DUST else 0.0


@njit(cache=True, nogil=True)
def face(room: np.ndarray, axis: int, offset: float, half: float, frame: np.ndarray) -> float:
    """One face of a cube around the origin, projected, as the first polygon; the sign with which its integral counts.

    The sign is that of the face (back +1, front -1, edge-on 0) times the sense in which its vertices run on the sky.
    """
    one, two = (axis + 1) % 3, (axis + 2) % 3
    for corner in range(4):
        along_one = half if corner in (1, 2) else -half
        along_two = half if corner >= 2 else -half
        for k in range(3):
            part = along_one * frame[k, one] + along_two * frame[k, two]
            room[_FACE, corner, k] = offset * frame[k, axis] + part
    sense = frame[0, one] * frame[1, two] - frame[1, one] * frame[0, two]
    return np.sign(offset * frame[2, axis]) * np.sign(sense)


@njit(cache=True, nogil=True)
def cut_in_depth(room: np.ndarray, low: float, high: float) -> tuple[int, int, int]:
    """Cut the face at the ends of the depth; where it goes on, its vertices, and those of what is behind the end."""
    p, n, n_behind = _FACE, 4, 0
    nearest, farthest = range_of(room, _FACE, 4, 2)
    if farthest <= low:
        return p, 0, 0
    if nearest < low:
        _, n = split(room, p, n, 2, low, _ROW, _FACE + 1)
        p = _FACE + 1
    if farthest > high:
        n, n_behind = split(room, p, n, 2, high, _FACE + 1 - p, _BEHIND)
        p = _FACE + 1 - p
    return p, n, n_behind


@njit(cache=True, nogil=True)
def add_face(
    share: np.ndarray,
    room: np.ndarray,
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
    start, end = range_of(room, rest, n_rest, 0)
    i0, i1 = max(i0, int(np.floor(start + x))), min(i1, int(np.ceil(end + x)))
    other = _FACE + 1 - rest
    if start < i0 - x:
        _, n_rest = split(room, rest, n_rest, 0, i0 - x, _ROW, other)
        rest, other = other, rest
    for i in range(i0, i1):
        n_row, n_rest = split(room, rest, n_rest, 0, i + 1 - x, _ROW, other)
        rest, other = other, rest
        if n_row > 2:
            add_row(share, room, i, n_row, j0, j1, y, sign, low)


@njit(cache=True, nogil=True)
def add_row(
    share: np.ndarray,
    room: np.ndarray,
    i: int,
    n_rest: int,
    j0: int,
    j1: int,
    y: float,
    sign: float,
    low: float,
) -> None:
    """Add the integral of the depth, from `low`, over a row of it to each of its pixels."""
    start, end = range_of(room, _ROW, n_rest, 1)
    j0, j1 = max(j0, int(np.floor(start + y))), min(j1, int(np.ceil(end + y)))
    rest, other = _ROW, _ROW + 1
    if start < j0 - y:
        _, n_rest = split(room, rest, n_rest, 1, j0 - y, _PIXEL, other)
        rest, other = other, rest
    for j in range(j0, j1):
        n_pixel, n_rest = split(room, rest, n_rest, 1, j + 1 - y, _PIXEL, other)
        rest, other = other, rest
        if n_pixel > 2:
            share[i, j] += sign * integral(room, _PIXEL, n_pixel, low)
