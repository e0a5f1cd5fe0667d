"""Adds gas elements to the maps of one window. Compiled; one thread a window, so that sums keep their order.

numba's cache does not look through modules: who changes the footprints below this module removes the ``*.nbi`` files in
``__pycache__``.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from stellarfm.simulations.cubes import aligned_cube, oblique_cube
from stellarfm.simulations.particles import particle
from stellarfm.simulations.scratch import Scratch, new_scratch

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
    "add",
]

ALIGNED, OBLIQUE, PARTICLES = range(3)

#: The sums of a pixel: mass, and mass times velocity, its square, the size of the element, and the thermal square; the
#: last only where there is room for it.
MASS, MOMENTUM, SQUARE, SIZE, THERMAL = range(5)


class Gas(NamedTuple):
    """The arrays of a `GasBlock`; `reach` is half the side of a cell or the radius of a kernel."""

    position: np.ndarray
    reach: np.ndarray
    size: np.ndarray
    mass: np.ndarray
    velocity: np.ndarray
    thermal: np.ndarray


class View(NamedTuple):
    """One line of sight, the same for all stars: `kind` is one of the constants above, lengths are in pc.

    Attributes
    ----------
    kind : int
        `ALIGNED` cells (line of sight along an axis), `OBLIQUE` cells, or `PARTICLES`.
    frame : ndarray
        Shape (3, 3).
    half : ndarray
        Half the sides of the window in that frame, shape (3,).
    pixel : float
        Side of a pixel.
    reach, period : ndarray
        How far the window reaches along the axes of the box; periods of the box, 0 for none; shape (3,).
    sky, slab : ndarray
        From `kernel_tables`.
    """

    kind: int
    frame: np.ndarray
    half: np.ndarray
    pixel: float
    reach: np.ndarray
    period: np.ndarray
    sky: np.ndarray
    slab: np.ndarray


@njit(cache=True, nogil=True)
def add(sums: np.ndarray, reference: np.ndarray, centre: np.ndarray, view: View, gas: Gas, chosen: np.ndarray) -> None:
    """Add the chosen elements, with all periodic images that reach the window.

    Parameters
    ----------
    sums : ndarray
        Shape (pixels, pixels, 5), or 4 without the thermal part.
    reference : ndarray
        Shape (1,): the velocity from which those of the window are counted, so that squares of a large common velocity
        do not swallow a small dispersion. That of the first element, if it is NaN.
    centre : ndarray
        Of the window, pc, shape (3,).
    chosen : ndarray
        Indices of elements.
    """
    scratch = new_scratch(len(sums))
    first, last, offset = np.empty(3, np.int64), np.empty(3, np.int64), np.empty(3)
    for e in chosen:
        for k in range(3):
            first[k], last[k] = images(gas.position[e, k] - centre[k], view.reach[k] + gas.reach[e], view.period[k])
        for i in range(first[0], last[0]):
            for j in range(first[1], last[1]):
                for k in range(first[2], last[2]):
                    offset[0] = gas.position[e, 0] - centre[0] + i * view.period[0]
                    offset[1] = gas.position[e, 1] - centre[1] + j * view.period[1]
                    offset[2] = gas.position[e, 2] - centre[2] + k * view.period[2]
                    pixels = footprint(scratch, offset, gas.reach[e], view)
                    add_element(sums, reference, scratch.share, pixels, view, gas, e)


@njit(cache=True, nogil=True)
def images(distance: float, reach: float, period: float) -> tuple[int, int]:
    """First and one after the last multiple of the period that brings an element within reach; none is often."""
    if period == 0:
        return 0, int(abs(distance) < reach)
    return int(np.ceil((-reach - distance) / period)), int(np.floor((reach - distance) / period)) + 1


@njit(cache=True, nogil=True)
def footprint(scratch: Scratch, offset: np.ndarray, reach: float, view: View) -> tuple[int, int, int, int]:
    """Fractions of an element in the pixels of a window, from its offset (pc) in the axes of the box."""
    x = (dot(view.frame[0], offset) + view.half[0]) / view.pixel
    y = (dot(view.frame[1], offset) + view.half[1]) / view.pixel
    depth, half_depth = dot(view.frame[2], offset) / view.pixel, view.half[2] / view.pixel
    reach = reach / view.pixel
    if view.kind == ALIGNED:
        return aligned_cube(scratch, x, y, depth, reach, half_depth)
    if view.kind == OBLIQUE:
        return oblique_cube(scratch, x, y, depth, reach, half_depth, view.frame)
    return particle(scratch, x, y, depth, reach, half_depth, view.sky, view.slab)


@njit(cache=True, nogil=True)
def dot(a: np.ndarray, b: np.ndarray) -> float:
    """Scalar product of two vectors."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@njit(cache=True, nogil=True)
def add_element(
    sums: np.ndarray,
    reference: np.ndarray,
    share: np.ndarray,
    pixels: tuple[int, int, int, int],
    view: View,
    gas: Gas,
    e: int,
) -> None:
    """Spread the sums of one element over the pixels of its footprint."""
    velocity = dot(view.frame[2], gas.velocity[e])
    if np.isnan(reference[0]):
        reference[0] = velocity
    velocity -= reference[0]
    mass, momentum = gas.mass[e], gas.mass[e] * velocity
    square, size, thermal = momentum * velocity, gas.mass[e] * gas.size[e], gas.mass[e] * gas.thermal[e] ** 2
    for i in range(pixels[0], pixels[1]):
        for j in range(pixels[2], pixels[3]):
            part = share[i, j]
            sums[i, j, MASS] += part * mass
            sums[i, j, MOMENTUM] += part * momentum
            sums[i, j, SQUARE] += part * square
            sums[i, j, SIZE] += part * size
            if sums.shape[2] > THERMAL:
                sums[i, j, THERMAL] += part * thermal
