"""The footprint of a cubic cell, for lines of sight along the axes and for any other. Compiled."""

from __future__ import annotations

import numpy as np
from numba import njit

from stellarfm.simulations.deposition.cell_edges import cube_by_edges, is_general
from stellarfm.simulations.deposition.cell_faces import cube_by_faces
from stellarfm.simulations.deposition.footprint import NOWHERE, Pixels, covered, shadow

__all__ = ["aligned_cube", "oblique_cube"]

#: Overlaps of fewer pixels come from rounding.
_TOUCH = 1e-11


@njit(cache=True, nogil=True)
def overlap(center: float, half: float, low: float, high: float) -> float:
    """Return the length of [center - half, center + half] inside [low, high]; 0 where only rounding makes them meet."""
    inside = min(center + half, high) - max(center - half, low)
    return inside if inside > _TOUCH else 0.0


@njit(cache=True, nogil=True)
def aligned_cube(
    fraction: np.ndarray, row_buffer: np.ndarray, x: float, y: float, depth: float, half: float, half_depth: float
) -> Pixels:
    """Fill the footprint of a cell with faces along the sides of the window: products of overlap lengths.

    Parameters
    ----------
    fraction, row_buffer : ndarray
        Arrays to fill and to work in, shapes (pixels, pixels) and (pixels + 1,).
    x, y, depth : float
        Center of the cell.
    half : float
        Half its side.
    half_depth : float
        Half the depth of the window.
    """
    i0, i1 = covered(x, half, len(fraction))
    j0, j1 = covered(y, half, len(fraction))
    part = overlap(depth, half, -half_depth, half_depth) / (8 * half * half * half)
    if part == 0 or i0 >= i1 or j0 >= j1:
        return NOWHERE
    for j in range(j0, j1):
        row_buffer[j] = overlap(y, half, j, j + 1)
    for i in range(i0, i1):
        row = part * overlap(x, half, i, i + 1)
        for j in range(j0, j1):
            fraction[i, j] = row * row_buffer[j]
    return i0, i1, j0, j1


@njit(cache=True, nogil=True)
def oblique_cube(
    fraction: np.ndarray,
    row_buffer: np.ndarray,
    workspace: np.ndarray,
    x: float,
    y: float,
    depth: float,
    half: float,
    half_depth: float,
    frame: np.ndarray,
    edges: np.ndarray,
) -> Pixels:
    """Fill the footprint of a cell seen from any direction.

    Its edges are used, or its faces where the window's depth cuts it or one is near edge-on.

    Parameters
    ----------
    fraction, row_buffer : ndarray
        Output and buffer, as in `aligned_cube`.
    workspace : ndarray
        Polygons to work in, shape (N_POLYGONS, MOST_VERTICES, 3), see `stellarfm.simulations.deposition.cell_faces`.
    x, y, depth : float
        Center of the cell, as in `aligned_cube`.
    half, half_depth : float
        Half sides of the cell and of the window's depth, as in `aligned_cube`.
    frame : ndarray
        Frame of the line of sight, shape (3, 3), rows as in `stellarfm.simulations.lines_of_sight`.
    edges : ndarray
        Edges of `frame`, from `stellarfm.simulations.deposition.cell_edges.edges_of`.
    """
    half_x, half_y, half_z = half * shadow(frame, 0), half * shadow(frame, 1), half * shadow(frame, 2)
    low, high = -half_depth - depth, half_depth - depth
    i0, i1 = covered(x, half_x, len(fraction))
    j0, j1 = covered(y, half_y, len(fraction))
    if i0 >= i1 or j0 >= j1 or low >= half_z or high <= -half_z:
        return NOWHERE
    whole = low <= -half_z and high >= half_z
    inside = i0 <= x - half_x and x + half_x <= i0 + 1 and j0 <= y - half_y and y + half_y <= j0 + 1
    if whole and inside:
        fraction[i0, j0] = 1
        return i0, i0 + 1, j0, j0 + 1
    if whole and is_general(frame):
        cube_by_edges(fraction, row_buffer, i0, i1, j0, j1, x, y, half, edges, shadow(frame, 1))
    else:
        cube_by_faces(fraction, workspace, i0, i1, j0, j1, x, y, half, frame, max(low, -half_z), min(high, half_z))
    return i0, i1, j0, j1
