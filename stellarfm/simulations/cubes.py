"""The footprint of a cubic cell on a map, for lines of sight along the axes and for any other. Compiled."""

from __future__ import annotations

import numpy as np
from numba import njit

from stellarfm.simulations.edges import cube_by_edges, is_general
from stellarfm.simulations.faces import cube_by_faces
from stellarfm.simulations.scratch import NOWHERE, Scratch, covered

__all__ = ["aligned_cube", "oblique_cube"]

_TOUCH = 1e-11


@njit(cache=True, nogil=True)
def overlap(centre: float, half: float, low: float, high: float) -> float:
    """Length of [centre - half, centre + half] inside [low, high]; 0 where only rounding makes them meet."""
    inside = min(centre + half, high) - max(centre - half, low)
    return inside if inside > _TOUCH else 0.0


@njit(cache=True, nogil=True)
def aligned_cube(
    scratch: Scratch, x: float, y: float, depth: float, half: float, half_depth: float
) -> tuple[int, int, int, int]:
    """A cell whose faces are along the sides of the window: overlap lengths, multiplied.

    Parameters
    ----------
    scratch : Scratch
        Its ``share`` is filled.
    x, y, depth : float
        Centre of the cell.
    half : float
        Half its side.
    half_depth : float
        Half the depth of the window.
    """
    share, columns = scratch.share, scratch.line
    i0, i1 = covered(x, half, len(share))
    j0, j1 = covered(y, half, len(share))
    part = overlap(depth, half, -half_depth, half_depth) / (8 * half * half * half)
    if part == 0 or i0 >= i1 or j0 >= j1:
        return NOWHERE
    for j in range(j0, j1):
        columns[j] = overlap(y, half, j, j + 1)
    for i in range(i0, i1):
        row = part * overlap(x, half, i, i + 1)
        for j in range(j0, j1):
            share[i, j] = row * columns[j]
    return i0, i1, j0, j1


@njit(cache=True, nogil=True)
def oblique_cube(
    scratch: Scratch, x: float, y: float, depth: float, half: float, half_depth: float, frame: np.ndarray
) -> tuple[int, int, int, int]:
    """A cell seen from any side: by its edges, or by its faces where the window's depth cuts it or one is near edge-on.

    Parameters
    ----------
    scratch, x, y, depth, half, half_depth
        As in `aligned_cube`.
    frame : ndarray
        Shape (3, 3), rows as in `stellarfm.simulations.sightlines`.
    """
    half_x, half_y, half_z = shadow(half, frame[0]), shadow(half, frame[1]), shadow(half, frame[2])
    low, high = -half_depth - depth, half_depth - depth
    i0, i1 = covered(x, half_x, len(scratch.share))
    j0, j1 = covered(y, half_y, len(scratch.share))
    if i0 >= i1 or j0 >= j1 or low >= half_z or high <= -half_z:
        return NOWHERE
    whole = low <= -half_z and high >= half_z
    inside = i0 <= x - half_x and x + half_x <= i0 + 1 and j0 <= y - half_y and y + half_y <= j0 + 1
    if whole and inside:
        scratch.share[i0, j0] = 1
        return i0, i0 + 1, j0, j0 + 1
    if whole and is_general(frame[2]):
        cube_by_edges(scratch, (i0, i1, j0, j1), x, y, half, frame)
    else:
        cube_by_faces(scratch, (i0, i1, j0, j1), x, y, half, frame, max(low, -half_z), min(high, half_z))
    return i0, i1, j0, j1


@njit(cache=True, nogil=True)
def shadow(half: float, direction: np.ndarray) -> float:
    """Half the extent of a cube along a direction."""
    return half * (abs(direction[0]) + abs(direction[1]) + abs(direction[2]))
