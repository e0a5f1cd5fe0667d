"""Selection of the gas near some regions: elements on a coarse grid, and chunks by their bounding boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stellarfm.simulations import Region

__all__ = ["ChunkBounds", "RegionMask", "bounding_box"]

#: Tiles along an axis: with a margin for periodic borders the table has 96^3 entries, which cost milliseconds.
TILES = 32


class RegionMask:
    """Tiles of a box that overlap any of some regions, as a summed-area table (Crow 1984).

    Parameters
    ----------
    regions : sequence of Region
        Regions inside the box.
    lower, upper : ndarray
        Corners of the box, pc, shape (3,).
    wrap : tuple of bool
        Axes along which an element may extend across the periodic border.
    """

    def __init__(
        self, regions: Sequence[Region], *, lower: np.ndarray, upper: np.ndarray, wrap: tuple[bool, ...] = (False,) * 3
    ) -> None:
        self._lower, self._tile = lower, (upper - lower) / TILES
        touched = np.zeros((TILES,) * 3, dtype=np.int32)
        for region in regions:
            first, last = self._tiles(region.lower), self._tiles(region.upper)
            touched[tuple(slice(a, b + 1) for a, b in zip(first, last))] = 1
        self._pad = np.where(wrap, TILES, 0)
        padded = np.pad(touched, [(n, n) for n in self._pad], mode="wrap")
        self._sums = np.pad(padded.cumsum(0).cumsum(1).cumsum(2), [(1, 0)] * 3)

    def _tiles(self, position: np.ndarray) -> np.ndarray:
        """Return the tile of each position, clipped to the box, shape (..., 3)."""
        return np.clip(np.floor((position - self._lower) / self._tile), 0, TILES - 1).astype(np.intp)

    def overlaps(self, position: np.ndarray, half_width: np.ndarray) -> np.ndarray:
        """Return True for every cube that overlaps a region, and for some cubes close to one.

        Parameters
        ----------
        position : ndarray
            Centers of the cubes, pc, shape (n, 3).
        half_width : ndarray
            Half their sides, pc, shape (n,).

        Returns
        -------
        ndarray
            Booleans, shape (n,).
        """
        first = [self._padded_tile(position[:, axis] - half_width, axis) for axis in range(3)]
        last = [self._padded_tile(position[:, axis] + half_width, axis) + 1 for axis in range(3)]
        return _count_between(self._sums, first, last) > 0

    def _padded_tile(self, coordinate: np.ndarray, axis: int) -> np.ndarray:
        """Return the index of the tile along one axis of the padded grid."""
        index = np.floor((coordinate - self._lower[axis]) / self._tile[axis]) + self._pad[axis]
        return np.clip(index, 0, self._sums.shape[axis] - 2).astype(np.intp)


def _count_between(sums: np.ndarray, first: list[np.ndarray], last: list[np.ndarray]) -> np.ndarray:
    """Return the number of touched tiles between two corners, by inclusion and exclusion of the eight corners."""
    (x0, y0, z0), (x1, y1, z1) = first, last
    upper = sums[x1, y1, z1] - sums[x0, y1, z1] - sums[x1, y0, z1] + sums[x0, y0, z1]
    below = sums[x1, y1, z0] - sums[x0, y1, z0] - sums[x1, y0, z0] + sums[x0, y0, z0]
    return upper - below


def bounding_box(position: np.ndarray, size: np.ndarray, *, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the corners of the smallest box around gas elements; it may extend beyond a periodic box.

    Parameters
    ----------
    position : ndarray
        Centers, shape (n, 3).
    size : ndarray
        Sides of cells, or kernel radii of particles, in the same unit, shape (n,).
    kind : {"cells", "particles"}
        Kind of the elements.

    Returns
    -------
    tuple of ndarray
        Lower and upper corner, each shape (3,).
    """
    half_width = (size if kind == "particles" else size / 2)[:, None]
    return (position - half_width).min(axis=0), (position + half_width).max(axis=0)


@dataclass(frozen=True, eq=False)
class ChunkBounds:
    """Rows and bounding boxes of the m chunks of a file.

    Attributes
    ----------
    first : ndarray
        Row numbers, shape (m + 1,): chunk i holds the rows ``first[i]`` to ``first[i + 1] - 1``.
    lower, upper : ndarray
        Corners of the boxes, pc, shape (m, 3).
    """

    first: np.ndarray
    lower: np.ndarray
    upper: np.ndarray

    def overlaps(self, regions: Sequence[Region], *, period: np.ndarray) -> np.ndarray:
        """Return True for every chunk that overlaps any of the regions.

        Parameters
        ----------
        regions : sequence of Region
            Regions inside the box.
        period : ndarray
            Side of the box along axes where elements extend across a periodic border, pc, else 0; shape (3,).

        Returns
        -------
        ndarray
            Booleans, shape (m,).
        """
        lower, upper = (np.stack([getattr(region, name) for region in regions]) for name in ("lower", "upper"))
        selected = np.zeros(len(self.lower), dtype=bool)
        for start in range(0, len(regions), 256):
            part = slice(start, start + 256)
            selected |= self._overlap_matrix(lower[part], upper[part], period).any(axis=1)
        return selected

    def _overlap_matrix(self, lower: np.ndarray, upper: np.ndarray, period: np.ndarray) -> np.ndarray:
        """Compare every chunk with every region; returns booleans, shape (m, regions)."""
        together = np.ones((len(self.lower), len(lower)), dtype=bool)
        for axis in range(3):
            along = np.zeros_like(together)
            for shift in {-period[axis], 0.0, period[axis]}:
                begins = self.lower[:, axis, None] + shift < upper[:, axis]
                along |= begins & (self.upper[:, axis, None] + shift > lower[:, axis])
            together &= along
        return together

    def row_ranges(self, selected: np.ndarray, *, max_rows: int) -> list[tuple[int, int]]:
        """Return the rows of the selected chunks as (start, stop), adjacent chunks joined up to about `max_rows` rows.

        Parameters
        ----------
        selected : ndarray
            Booleans, shape (m,).
        max_rows : int
            Largest number of rows of joined chunks; a single chunk may be larger.

        Returns
        -------
        list of tuple of int
            First row, and the row after the last one.
        """
        ranges: list[tuple[int, int]] = []
        for chunk in np.flatnonzero(selected):
            start, stop = int(self.first[chunk]), int(self.first[chunk + 1])
            if ranges and ranges[-1][1] == start and stop - ranges[-1][0] <= max_rows:
                ranges[-1] = (ranges[-1][0], stop)
            else:
                ranges.append((start, stop))
        return ranges
