"""Random numbers of the samplers: one addressable stream per candidate.

They come from the counter-based generator Philox (Salmon et al. 2011), keyed by (seed, index), with its counter set to
(attempt, sampler). Only its raw output is used, which numpy guarantees not to change, unlike the methods of
`numpy.random.Generator`.
"""

from __future__ import annotations

import zlib
from itertools import islice

import numpy as np

__all__ = ["RandomStream"]

#: Maximum number of random numbers per attempt (a flame of eight maps takes 153).
PER_ATTEMPT = 192


class RandomStream:
    """Random numbers of one candidate for one image.

    Parameters
    ----------
    sampler : str
        Name of the sampler: two samplers never use the same numbers.
    seed, index, attempt : int
        Address of the candidate; seed and index below 2^64.

    Examples
    --------
    >>> stream = RandomStream(sampler="flames", seed=0, index=3)
    >>> stream.integer(2, 8)
    2
    """

    def __init__(self, *, sampler: str, seed: int, index: int, attempt: int = 0) -> None:
        key = np.array([seed, index], dtype=np.uint64)
        counter = np.array([0, 0, attempt, zlib.crc32(sampler.encode())], dtype=np.uint64)
        raw = np.random.Philox(key=key, counter=counter).random_raw(PER_ATTEMPT)
        self._unit = iter(((raw >> np.uint64(11)) * 2.0**-53).tolist())

    def uniform(self, low: float, high: float, n: int) -> list[float]:
        """Return `n` numbers, uniform in [low, high)."""
        return [low + (high - low) * unit for unit in islice(self._unit, n)]

    def number(self, low: float = 0.0, high: float = 1.0) -> float:
        """Return one number, uniform in [low, high)."""
        return low + (high - low) * next(self._unit)

    def integer(self, low: int, high: int) -> int:
        """Return one integer, uniform in low ... high inclusive."""
        return low + int(self.number() * (high - low + 1))
