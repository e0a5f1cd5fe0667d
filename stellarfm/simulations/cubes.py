"""The footprint of a cubic cell on a map, for lines of sight along the axes and for any other. Compiled.

A footprint function fills ``share[i0:i1, j0:j1]`` with the fraction of the mass of one gas element in each pixel, and
returns i0, i1, j0, j1. All lengths are in pixels: x and y count from the corner of the window, depth from its centre.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from stellarfm.simulations.polygons import integral, integral_between, range_of, split

__all__ = ["N_POLYGONS", "aligned_cube", "covered", "oblique_cube"]

#: Polygons that `oblique_cube` needs room for: two for a face, two for a row of it, a pixel of that, two for the depth.
N_POLYGONS = 7
_FACE, _ROW, _PIXEL, _DEPTH = 0, 2, 4, 5

_DUST = 1e-13
_NOWHERE = (0, 0, 0, 0)


@njit(cache=True, nogil=True)
def covered(centre: float, half: float, n: int) -> tuple[int, int]:
    """First pixel, and one after the last, that [centre - half, centre + half] touches."""
    return max(0, int(np.floor(centre - half))), min(n, int(np.ceil(centre + half)))


@njit(cache=True, nogil=True)
def overlap(centre: float, half: float, low: float, high: float) -> float:
    """Fraction of [centre - half, centre + half] inside [low, high]; 0 where only rounding makes them meet."""
    inside = min(centre + half, high) - max(centre - half, low)
    return inside / (2 * half) if inside > 1e-11 else 0.0


@njit(cache=True, nogil=True)
def aligned_cube(
    share: np.ndarray, x: float, y: float, depth: float, half: float, half_depth: float
) -> tuple[int, int, int, int]:
    """A cell whose faces are along the sides of the window: overlap lengths, multiplied.

    Parameters
    ----------
    share : ndarray
        Shape (pixels, pixels).
    x, y, depth : float
        Centre of the cell.
    half : float
        Half its side.
    half_depth : float
        Half the depth of the window.
    """
    n = len(share)
    i0, i1 = covered(x, half, n)
    j0, j1 = covered(y, half, n)
    part = overlap(depth, half, -half_depth, half_depth)
    if part == 0:
        return _NOWHERE
    for i in range(i0, i1):
        row = part * overlap(x, half, i, i + 1)
        for j in range(j0, j1):
            share[i, j] = row * overlap(y, half, j, j + 1)
    return i0, i1, j0, j1


@njit(cache=True, nogil=True)
def oblique_cube(
    share: np.ndarray,
    x: float,
    y: float,
    depth: float,
    half: float,
    half_depth: float,
    frame: np.ndarray,
    room: np.ndarray,
) -> tuple[int, int, int, int]:
    """A cell seen from any side: depth of its back less depth of its front, integrated over each pixel.

    Back and front are three faces each, parallelograms on the sky on which depth is linear; a face is cut along pixel
    borders, and at the ends of the window's depth where the cell crosses them.

    Parameters
    ----------
    share, x, y, depth, half, half_depth
        As in `aligned_cube`.
    frame : ndarray
        Shape (3, 3), rows as in `stellarfm.simulations.sightlines`.
    room : ndarray
        Scratch, shape (N_POLYGONS, MOST_VERTICES, 3).
    """
    n = len(share)
    half_x, half_y, half_z = shadow(half, frame[0]), shadow(half, frame[1]), shadow(half, frame[2])
    low, high = -half_depth - depth, half_depth - depth
    i0, i1 = covered(x, half_x, n)
    j0, j1 = covered(y, half_y, n)
    if i0 >= i1 or j0 >= j1 or low >= half_z or high <= -half_z:
        return _NOWHERE
    low, high = max(low, -half_z), min(high, half_z)
    whole = low == -half_z and high == half_z
    if whole and i0 <= x - half_x and x + half_x <= i0 + 1 and j0 <= y - half_y and y + half_y <= j0 + 1:
        share[i0, j0] = 1
        return i0, i0 + 1, j0, j0 + 1
    for i in range(i0, i1):
        for j in range(j0, j1):
            share[i, j] = 0
    for axis in range(3):
        for side in (-1, 1):
            sign = face(room, axis, side * half, half, frame)
            if sign != 0:
                add_face(share, (i0, i1, j0, j1), x, y, sign, low, high, whole, room)
    volume = (2 * half) ** 3
    for i in range(i0, i1):
        for j in range(j0, j1):
            part = share[i, j] / volume
            share[i, j] = part if part > _DUST else 0.0
    return i0, i1, j0, j1


@njit(cache=True, nogil=True)
def shadow(half: float, direction: np.ndarray) -> float:
    """Half the extent of a cube along a direction."""
    return half * (abs(direction[0]) + abs(direction[1]) + abs(direction[2]))


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
def add_face(
    share: np.ndarray,
    pixels: tuple[int, int, int, int],
    x: float,
    y: float,
    sign: float,
    low: float,
    high: float,
    whole: bool,
    room: np.ndarray,
) -> None:
    """Add the integral of the depth over a face to each of the pixels, row by row.

    Pixel borders are moved to the centre of the cell, not the face to the pixels: a small cell keeps all its digits.
    """
    start, end = range_of(room, _FACE, 4, 0)
    i0, i1 = max(pixels[0], int(np.floor(start + x))), min(pixels[1], int(np.ceil(end + x)))
    rest, other, n_rest = _FACE, _FACE + 1, 4
    if start < i0 - x:
        _, n_rest = split(room, rest, n_rest, 0, i0 - x, _ROW, other)
        rest, other = other, rest
    for i in range(i0, i1):
        n_row, n_rest = split(room, rest, n_rest, 0, i + 1 - x, _ROW, other)
        rest, other = other, rest
        if n_row > 2:
            add_row(share, i, n_row, pixels[2], pixels[3], y, sign, low, high, whole, room)


@njit(cache=True, nogil=True)
def add_row(
    share: np.ndarray,
    i: int,
    n_rest: int,
    j0: int,
    j1: int,
    y: float,
    sign: float,
    low: float,
    high: float,
    whole: bool,
    room: np.ndarray,
) -> None:
    """Add the integral of the depth over a row of a face to each of its pixels."""
    start, end = range_of(room, _ROW, n_rest, 1)
    j0, j1 = max(j0, int(np.floor(start + y))), min(j1, int(np.ceil(end + y)))
    rest, other = _ROW, _ROW + 1
    if start < j0 - y:
        _, n_rest = split(room, rest, n_rest, 1, j0 - y, _PIXEL, other)
        rest, other = other, rest
    for j in range(j0, j1):
        n_pixel, n_rest = split(room, rest, n_rest, 1, j + 1 - y, _PIXEL, other)
        rest, other = other, rest
        if n_pixel > 2 and whole:
            share[i, j] += sign * integral(room, _PIXEL, n_pixel, 0.0)
        elif n_pixel > 2:
            share[i, j] += sign * integral_between(room, _PIXEL, n_pixel, low, high, _DEPTH)
