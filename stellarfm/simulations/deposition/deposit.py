"""Deposition of gas elements on the maps of one window. Compiled; one thread per window, so that sums keep their order.

numba's cache does not look through modules: after a change to the footprints imported here, remove the ``*.nbi`` files
in ``__pycache__``.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from stellarfm.simulations.deposition.cell import aligned_cube, oblique_cube
from stellarfm.simulations.deposition.cell_faces import MOST_VERTICES, N_POLYGONS
from stellarfm.simulations.deposition.footprint import Pixels
from stellarfm.simulations.deposition.sph_kernel import particle

__all__ = [
    "ALIGNED",
    "MASS",
    "MOMENTUM",
    "OBLIQUE",
    "PARTICLES",
    "SIZE",
    "SQUARE",
    "THERMAL",
    "Gas",
    "View",
    "deposit_elements",
]

ALIGNED, OBLIQUE, PARTICLES = range(3)

#: The sums of a pixel: mass, and mass times velocity, its square, the size of the element, and the thermal square; the
#: last two only where there is room for them.
MASS, MOMENTUM, SQUARE, SIZE, THERMAL = range(5)


class Gas(NamedTuple):
    """Arrays of a `GasBlock`; `reach` is half the side of a cell or the support radius of a kernel."""

    position: np.ndarray
    reach: np.ndarray
    size: np.ndarray
    mass: np.ndarray
    velocity: np.ndarray
    thermal: np.ndarray


class View(NamedTuple):
    """Line of sight, the same for all stars; lengths are in pc.

    Attributes
    ----------
    kind : int
        Kind of element: `ALIGNED` cells (line of sight along an axis), `OBLIQUE` cells, or `PARTICLES`.
    frame : ndarray
        Frame of the line of sight, shape (3, 3).
    half : ndarray
        Half the sides of the window in that frame, shape (3,).
    per_pc : float
        Number of pixels per pc.
    reach, period : ndarray
        Half extent of the window along the axes of the box; periods of the box, 0 for none; shape (3,).
    edges : ndarray
        Edges of a cell in the frame, from `stellarfm.simulations.deposition.cell_edges.edges_of`.
    sky, slab : ndarray
        Cumulative kernels, from `stellarfm.simulations.deposition.sph_kernel.kernel_tables`.
    """

    kind: int
    frame: np.ndarray
    half: np.ndarray
    per_pc: float
    reach: np.ndarray
    period: np.ndarray
    edges: np.ndarray
    sky: np.ndarray
    slab: np.ndarray


@njit(cache=True, nogil=True)
def deposit_elements(
    sums: np.ndarray, reference: np.ndarray, center: np.ndarray, view: View, gas: Gas, chosen: np.ndarray
) -> None:
    """Add the chosen elements, with all periodic images that reach the window.

    Parameters
    ----------
    sums : ndarray
        Sums, shape (pixels, pixels, 5), or 4 without the thermal part, or 3 without the sizes as well.
    reference : ndarray
        Zero point of the velocities of the window, shape (1,), so that squares of a large common velocity do not swamp
        a small dispersion. If NaN, it is set to the velocity of the first element.
    center : ndarray
        Center of the window, pc, shape (3,).
    view : View
        Line of sight.
    gas : Gas
        Gas elements.
    chosen : ndarray
        Indices of the elements to add.
    """
    n = len(sums)
    fraction, row_buffer, workspace = np.empty((n, n)), np.empty(n + 1), np.empty((N_POLYGONS, MOST_VERTICES, 3))
    kind, frame, half, per_pc, reach, period, edges, sky, slab = view
    position, reaches, sizes, masses, velocities, thermals = gas
    half_depth = half[2] * per_pc
    first, last = np.empty(3, np.int64), np.empty(3, np.int64)
    for e in chosen:
        for k in range(3):
            first[k], last[k] = images(position[e, k] - center[k], reach[k] + reaches[e], period[k])
        for i in range(first[0], last[0]):
            for j in range(first[1], last[1]):
                for k in range(first[2], last[2]):
                    dx = position[e, 0] - center[0] + i * period[0]
                    dy = position[e, 1] - center[1] + j * period[1]
                    dz = position[e, 2] - center[2] + k * period[2]
                    x = (along(frame, 0, dx, dy, dz) + half[0]) * per_pc
                    y = (along(frame, 1, dx, dy, dz) + half[1]) * per_pc
                    depth = along(frame, 2, dx, dy, dz) * per_pc
                    size = reaches[e] * per_pc
                    if kind == ALIGNED:
                        pixels = aligned_cube(fraction, row_buffer, x, y, depth, size, half_depth)
                    elif kind == OBLIQUE:
                        pixels = oblique_cube(
                            fraction, row_buffer, workspace, x, y, depth, size, half_depth, frame, edges
                        )
                    else:
                        pixels = particle(fraction, row_buffer, x, y, depth, size, half_depth, sky, slab)
                    if pixels[0] < pixels[1]:
                        velocity = along(frame, 2, velocities[e, 0], velocities[e, 1], velocities[e, 2])
                        if np.isnan(reference[0]):
                            reference[0] = velocity
                        spread(sums, fraction, pixels, masses[e], velocity - reference[0], sizes[e], thermals[e])


@njit(cache=True, nogil=True)
def images(distance: float, reach: float, period: float) -> tuple[int, int]:
    """Return the first, and one after the last, multiple of the period that brings an element within reach."""
    if period == 0 or abs(distance) + reach < period:
        return 0, int(abs(distance) < reach)
    return int(np.ceil((-reach - distance) / period)), int(np.floor((reach - distance) / period)) + 1


@njit(cache=True, nogil=True)
def along(frame: np.ndarray, row: int, x: float, y: float, z: float) -> float:
    """Return the component of (x, y, z) along a row of a frame; counting references of slices would cost more."""
    return frame[row, 0] * x + frame[row, 1] * y + frame[row, 2] * z


@njit(cache=True, nogil=True)
def spread(
    sums: np.ndarray,
    fraction: np.ndarray,
    pixels: Pixels,
    mass: float,
    velocity: float,
    size: float,
    thermal: float,
) -> None:
    """Add the sums of one element to the pixels of its footprint."""
    momentum, square = mass * velocity, mass * velocity * velocity
    for i in range(pixels[0], pixels[1]):
        for j in range(pixels[2], pixels[3]):
            part = fraction[i, j]
            sums[i, j, MASS] += part * mass
            sums[i, j, MOMENTUM] += part * momentum
            sums[i, j, SQUARE] += part * square
            if sums.shape[2] > SIZE:
                sums[i, j, SIZE] += part * mass * size
            if sums.shape[2] > THERMAL:
                sums[i, j, THERMAL] += part * mass * thermal * thermal
