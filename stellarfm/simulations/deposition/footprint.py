"""Conventions and helpers of all footprint functions. Compiled.

A footprint function computes where on a map the mass of one gas element lands: it fills ``fraction[i0:i1, j0:j1]``
with the fraction in each pixel and returns i0, i1, j0, j1, which are `NOWHERE` for an element outside the window. All
lengths are in pixels: x and y count from the corner of the window, depth from its center. Its other arrays are scratch
space.

Compiled functions receive arrays and numbers one by one: counting the references of a tuple or a slice would cost more
than a cell does.
"""

from __future__ import annotations

import numpy as np
from numba import njit

__all__ = ["NOWHERE", "Pixels", "covered", "shadow"]

Pixels = tuple[int, int, int, int]

NOWHERE: Pixels = (0, 0, 0, 0)


@njit(cache=True, nogil=True)
def covered(center: float, half: float, n: int) -> tuple[int, int]:
    """Return the first of n pixels, and one after the last, that [center - half, center + half] touches."""
    return max(0, int(np.floor(center - half))), min(n, int(np.ceil(center + half)))


@njit(cache=True, nogil=True)
def shadow(frame: np.ndarray, row: int) -> float:
    """Return half the extent of a cube of half side 1 along a row of a frame."""
    return abs(frame[row, 0]) + abs(frame[row, 1]) + abs(frame[row, 2])
