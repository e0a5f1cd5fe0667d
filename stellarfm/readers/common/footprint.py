"""Which of many gas elements may overlap some regions: a coarse grid answers for all of them at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stellarfm.simulations import Region

__all__ = ["Footprint"]

#: Tiles along an axis: with a margin for periodic borders the table has 96^3 entries, which cost milliseconds.
TILES = 32


class Footprint:
    """The tiles of a box that some regions touch, as a summed-area table (Crow 1984).

    Parameters
    ----------
    regions : sequence of Region
        Inside the box.
    lower, upper : ndarray
        Corners of the box, pc, shape (3,).
    wrap : tuple of bool
        Axes along which an element may reach across the border and come back on the other side.
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
        """The tile of each position, clipped to the box, shape (..., 3)."""
        return np.clip(np.floor((position - self._lower) / self._tile), 0, TILES - 1).astype(np.intp)

    def overlaps(self, position: np.ndarray, reach: np.ndarray) -> np.ndarray:
        """Whether cubes may overlap a region: True wherever they do, and sometimes nearby.

        Parameters
        ----------
        position : ndarray
            Centres, pc, shape (n, 3).
        reach : ndarray
            Half their sides, pc, shape (n,).

        Returns
        -------
        ndarray
            Booleans, shape (n,).
        """
        top = np.array(self._sums.shape) - 2
        corners = (self._lower, self._tile, self._pad, top)
        first = [_corner(position[:, i] - reach, i, *corners) for i in range(3)]
        last = [_corner(position[:, i] + reach, i, *corners) + 1 for i in range(3)]
        return _inside(self._sums, first, last) > 0


def _corner(
    coordinate: np.ndarray, axis: int, lower: np.ndarray, tile: np.ndarray, pad: np.ndarray, top: np.ndarray
) -> np.ndarray:
    """Index of the tile along one axis, in the padded grid."""
    index = np.floor((coordinate - lower[axis]) / tile[axis]) + pad[axis]
    return np.clip(index, 0, top[axis]).astype(np.intp)


def _inside(sums: np.ndarray, first: list[np.ndarray], last: list[np.ndarray]) -> np.ndarray:
    """Number of touched tiles between two corners, by inclusion and exclusion of the eight corners."""
    (x0, y0, z0), (x1, y1, z1) = first, last
    upper = sums[x1, y1, z1] - sums[x0, y1, z1] - sums[x1, y0, z1] + sums[x0, y0, z1]
    below = sums[x1, y1, z0] - sums[x0, y1, z0] - sums[x1, y0, z0] + sums[x0, y0, z0]
    return upper - below
