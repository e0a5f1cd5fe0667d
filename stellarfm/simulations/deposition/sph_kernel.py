"""The footprint of a particle on a map: the cubic spline kernel, integrated over each pixel. Compiled.

The kernel (Monaghan & Lattanzio 1985, A&A 149, 135) reaches zero at radius 1 here:
w(q) = 8 / pi (1 - 6 q^2 + 6 q^3) for q < 1/2, and 16 / pi (1 - q)^3 for 1/2 <= q < 1.

What of it lies in a pixel is the difference of a cumulative table at the four corners, so that pixels that tile the
plane hold all of it, whatever their size.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numba import njit

from stellarfm.simulations.deposition.footprint import NOWHERE, Pixels, covered

__all__ = ["kernel_tables", "particle"]

_N = 256
_DUST = 1e-14


def _kernel(q: np.ndarray) -> np.ndarray:
    inner, outer = 1 - 6 * q**2 + 6 * q**3, 2 * np.clip(1 - q, 0, None) ** 3
    return 8 / np.pi * np.where(q < 0.5, inner, outer)


def _gauss(low: np.ndarray, high: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return nodes and weights of Gauss-Legendre integration from `low` to `high`, on a new last axis."""
    node, weight = np.polynomial.legendre.leggauss(n)
    middle, half = (high + low)[..., None] / 2, (high - low)[..., None] / 2
    return middle + half * node, half * weight


def _projected(radius: np.ndarray) -> np.ndarray:
    """Return the kernel integrated along a line at distance `radius` from its center."""
    bend, end = (np.sqrt(np.clip(reach**2 - radius**2, 0, None)) for reach in (0.5, 1.0))
    total = np.zeros_like(radius)
    for low, high in ((np.zeros_like(radius), bend), (bend, end)):
        z, weight = _gauss(low, high, 12)
        total += 2 * np.sum(weight * _kernel(np.hypot(radius[..., None], z)), axis=-1)
    return total


@cache
def kernel_tables() -> tuple[np.ndarray, np.ndarray]:
    """Return cumulative kernels on even grids, computed once per process.

    Returns
    -------
    sky : ndarray
        Integral of the projected kernel over [0, x] x [0, y], for x and y from 0 to 1, shape (257, 257); 1/4 at (1, 1).
    depth : ndarray
        Integral of the kernel over the slab between 0 and z, for z from 0 to 1, shape (257,); 1/2 at 1.
    """
    edges = np.linspace(0, 1, _N + 1)
    x, weight = (values.ravel() for values in _gauss(edges[:-1], edges[1:], 4))
    radius = np.linspace(0, 1, 16 * _N + 1)
    density = np.interp(np.hypot(x[:, None], x), radius, _projected(radius)) * weight[:, None] * weight
    sky = np.pad(density.reshape(_N, 4, _N, 4).sum(axis=(1, 3)).cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    return sky / (4 * sky[-1, -1]), _slab(edges)


def _slab(edges: np.ndarray) -> np.ndarray:
    """Return the integral of the kernel over the slab between 0 and each edge.

    Its density is 2 pi times the integral of w(q) q from z to 1.
    """
    z, weight = _gauss(edges[:-1], edges[1:], 4)
    density = np.zeros_like(z)
    for low, high in ((np.minimum(z, 0.5), np.full_like(z, 0.5)), (np.maximum(z, 0.5), np.ones_like(z))):
        q, part = _gauss(low, high, 8)
        density += 2 * np.pi * np.sum(part * _kernel(q) * q, axis=-1)
    table = np.pad(np.sum(density * weight, axis=-1).cumsum(), (1, 0))
    return table / (2 * table[-1])


@njit(cache=True, nogil=True)
def interval(table: np.ndarray, x: float) -> tuple[int, float]:
    """Return the interval of an even table over [0, 1] that contains min(|x|, 1), and the position in it."""
    place = min(abs(x), 1.0) * (len(table) - 1)
    index = min(int(place), len(table) - 2)
    return index, place - index


@njit(cache=True, nogil=True)
def up_to_depth(table: np.ndarray, z: float) -> float:
    """Return the integral of the kernel from 0 to z, odd in z."""
    i, part = interval(table, z)
    value = table[i] + part * (table[i + 1] - table[i])
    return value if z >= 0 else -value


@njit(cache=True, nogil=True)
def up_to_corner(table: np.ndarray, x: float, y: float) -> float:
    """Return the integral of the projected kernel over [0, x] x [0, y], odd in x and in y."""
    i, a = interval(table, x)
    j, b = interval(table, y)
    low = table[i, j] + b * (table[i, j + 1] - table[i, j])
    high = table[i + 1, j] + b * (table[i + 1, j + 1] - table[i + 1, j])
    value = low + a * (high - low)
    return value if (x >= 0) == (y >= 0) else -value


@njit(cache=True, nogil=True)
def particle(
    fraction: np.ndarray,
    corners: np.ndarray,
    x: float,
    y: float,
    depth: float,
    radius: float,
    half_depth: float,
    sky: np.ndarray,
    slab: np.ndarray,
) -> Pixels:
    """Fill the footprint of a particle whose kernel has support radius `radius`.

    Where an end of the window's depth cuts the kernel, the fraction between the ends counts with the same shape on the
    sky: exact for the sum over the sky, not for a single pixel.

    Parameters
    ----------
    fraction, corners : ndarray
        Arrays to fill and to work in, shapes (pixels, pixels) and (pixels + 1,).
    x, y, depth : float
        Position of the particle.
    radius : float
        Support radius of the kernel.
    half_depth : float
        Half the depth of the window.
    sky, slab : ndarray
        Cumulative kernels, from `kernel_tables`.
    """
    i0, i1 = covered(x, radius, len(fraction))
    j0, j1 = covered(y, radius, len(fraction))
    part = up_to_depth(slab, (half_depth - depth) / radius) - up_to_depth(slab, (-half_depth - depth) / radius)
    if i0 >= i1 or j0 >= j1 or part <= _DUST:
        return NOWHERE
    for j in range(j0, j1 + 1):
        corners[j] = up_to_corner(sky, (i0 - x) / radius, (j - y) / radius)
    for i in range(i0, i1):
        lower = corners[j0]
        left = corners[j0] = up_to_corner(sky, (i + 1 - x) / radius, (j0 - y) / radius)
        for j in range(j0, j1):
            upper = corners[j + 1]
            right = corners[j + 1] = up_to_corner(sky, (i + 1 - x) / radius, (j + 1 - y) / radius)
            inside = right - left - upper + lower
            fraction[i, j] = part * inside if inside > _DUST else 0.0
            lower, left = upper, right
    return i0, i1, j0, j1
