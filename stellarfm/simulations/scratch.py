"""Room in which the footprint of one element is worked out, one a thread. Compiled."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

__all__ = ["MOST_VERTICES", "NOWHERE", "Scratch", "covered", "new_scratch"]

#: The footprint of an element outside the window.
NOWHERE = (0, 0, 0, 0)

#: A face has 4 vertices, is cut 5 times at most, and rounding can at worst add half as many at each cut.
MOST_VERTICES = 32


class Scratch(NamedTuple):
    """Arrays that are overwritten by every element.

    A footprint function fills ``share[i0:i1, j0:j1]`` with the fraction of the mass of one element in each pixel, and
    returns i0, i1, j0, j1. All lengths are in pixels: x and y count from the corner of the window, depth from its
    centre.

    Attributes
    ----------
    share : ndarray
        Shape (pixels, pixels).
    line : ndarray
        Shape (pixels + 1,).
    polygons : ndarray
        Shape (7, MOST_VERTICES, 3), see `stellarfm.simulations.polygons`.
    edges : ndarray
        Shape (12, 5), see `stellarfm.simulations.edges`.
    """

    share: np.ndarray
    line: np.ndarray
    polygons: np.ndarray
    edges: np.ndarray


@njit(cache=True, nogil=True)
def new_scratch(n: int) -> Scratch:
    """For maps of n pixels along a side."""
    return Scratch(np.empty((n, n)), np.empty(n + 1), np.empty((7, MOST_VERTICES, 3)), np.empty((12, 5)))


@njit(cache=True, nogil=True)
def covered(centre: float, half: float, n: int) -> tuple[int, int]:
    """First pixel, and one after the last, that [centre - half, centre + half] touches."""
    return max(0, int(np.floor(centre - half))), min(n, int(np.ceil(centre + half)))
