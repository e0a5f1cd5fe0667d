"""The Hilbert curve: an order of points in space in which neighbours along the curve are neighbours in space."""

from __future__ import annotations

import numpy as np

__all__ = ["hilbert_keys"]

#: Steps of the curve along each axis, as a power of two.
BITS = 20


def hilbert_keys(position: np.ndarray, *, lower: np.ndarray, upper: np.ndarray, bits: int = BITS) -> np.ndarray:
    """Where along the curve each point lies; by the transposition of Skilling (2004, AIP Conf. Proc. 707, 381).

    Parameters
    ----------
    position : ndarray
        Points, shape (n, 3).
    lower, upper : ndarray
        Corners of the box that the curve fills, shape (3,); points outside count as on its faces.
    bits : int
        The curve has ``2**bits`` steps along each axis, at most 2^21.

    Returns
    -------
    ndarray
        Unsigned 64-bit integers, shape (n,).
    """
    steps = 2.0**bits
    cells = np.clip((position - lower) / (upper - lower) * steps, 0, steps - 1).astype(np.uint64).T
    return _interleaved(_transposed(np.ascontiguousarray(cells), bits), bits)


def _transposed(x: np.ndarray, bits: int) -> np.ndarray:
    """Cell coordinates, shape (3, n), to the transpose of the key; in place."""
    for bit in range(bits - 1, 0, -1):
        one, below = np.uint64(1 << bit), np.uint64((1 << bit) - 1)
        for axis in range(3):
            invert = (x[axis] & one) > 0
            swap = np.where(invert, 0, (x[0] ^ x[axis]) & below)
            x[0] ^= np.where(invert, below, swap)
            x[axis] ^= swap
    x[1] ^= x[0]
    x[2] ^= x[1]
    flip = np.zeros_like(x[0])
    for bit in range(bits - 1, 0, -1):
        flip ^= np.where(x[2] & np.uint64(1 << bit), np.uint64((1 << bit) - 1), np.uint64(0))
    x ^= flip
    return x


def _interleaved(x: np.ndarray, bits: int) -> np.ndarray:
    """One key from its transpose: the highest bit of each of the three, then the next."""
    key = np.zeros_like(x[0])
    for bit in range(bits - 1, -1, -1):
        for axis in range(3):
            key = (key << np.uint64(1)) | ((x[axis] >> np.uint64(bit)) & np.uint64(1))
    return key
