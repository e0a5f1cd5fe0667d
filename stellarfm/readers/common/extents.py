"""Bounding boxes of the chunks of a file: which chunks must be read for some regions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stellarfm.simulations import Region

__all__ = ["Extents", "bounds"]


def bounds(position: np.ndarray, size: np.ndarray, *, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Corners of the smallest box around some gas elements, each shape (3,); it may stick out of a periodic box."""
    reach = (size if kind == "particles" else size / 2)[:, None]
    return (position - reach).min(axis=0), (position + reach).max(axis=0)


@dataclass(frozen=True, eq=False)
class Extents:
    """Rows and bounding boxes of m chunks.

    Attributes
    ----------
    first : ndarray
        Chunk i holds the rows ``first[i]`` to ``first[i + 1] - 1``; shape (m + 1,).
    lower, upper : ndarray
        Corners of the boxes, pc, shape (m, 3).
    """

    first: np.ndarray
    lower: np.ndarray
    upper: np.ndarray

    def overlapping(self, regions: Sequence[Region], *, period: np.ndarray) -> np.ndarray:
        """Whether each chunk overlaps any of the regions, shape (m,).

        Parameters
        ----------
        regions : sequence of Region
            Inside the box.
        period : ndarray
            Side of the box along axes where elements reach across a periodic border, pc, else 0; shape (3,).
        """
        lower, upper = (np.stack([getattr(region, name) for region in regions]) for name in ("lower", "upper"))
        wanted = np.zeros(len(self.lower), dtype=bool)
        for start in range(0, len(regions), 256):
            part = slice(start, start + 256)
            wanted |= self._overlaps(lower[part], upper[part], period).any(axis=1)
        return wanted

    def _overlaps(self, lower: np.ndarray, upper: np.ndarray, period: np.ndarray) -> np.ndarray:
        """Every chunk against every region, shape (m, regions)."""
        together = np.ones((len(self.lower), len(lower)), dtype=bool)
        for axis in range(3):
            along = np.zeros_like(together)
            for shift in {-period[axis], 0.0, period[axis]}:
                begins = self.lower[:, axis, None] + shift < upper[:, axis]
                along |= begins & (self.upper[:, axis, None] + shift > lower[:, axis])
            together &= along
        return together

    def pieces(self, wanted: np.ndarray, *, most: int) -> list[tuple[int, int]]:
        """Rows of neighbouring chunks that are wanted, as (start, stop), about `most` rows at a time."""
        pieces: list[tuple[int, int]] = []
        for chunk in np.flatnonzero(wanted):
            low, high = int(self.first[chunk]), int(self.first[chunk + 1])
            if pieces and pieces[-1][1] == low and high - pieces[-1][0] <= most:
                pieces[-1] = (pieces[-1][0], high)
            else:
                pieces.append((low, high))
        return pieces
