"""Gas on a uniform grid whose quantities are cubes in FITS files, read slab by slab."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits

from stellarfm.exceptions import ReaderError, SnapshotError
from stellarfm.maps.io.fits_image import open_fits
from stellarfm.readers.fits.uniform_grid import Grid
from stellarfm.simulations import GasBlock, GasSource, Region
from stellarfm.simulations.gas import BLOCK_SIZE

__all__ = ["CubeFile", "GridGas"]


@dataclass(frozen=True)
class CubeFile:
    """One image of a FITS file, and the factor from its numbers to those of a `GasBlock`."""

    path: Path
    hdu: int
    factor: float

    def read(self, start: int, stop: int) -> np.ndarray:
        """Some planes of the cube; raises `ReaderError` if the file breaks off."""
        with open_fits(self.path) as (hdus, _):
            return np.asarray(hdus[self.hdu].section[start:stop], dtype=float) * self.factor


class GridGas(GasSource):
    """Equal cells.

    Parameters
    ----------
    grid : Grid
        Where the cells are.
    mass : CubeFile
        Mass of a cell, solar masses.
    velocities : dict of str to CubeFile
        Velocity along ``"x"``, ``"y"``, ``"z"``, km/s. If some are missing, the snapshot can be projected along the
        others only.
    thermal : float, optional
        One-dimensional thermal velocity dispersion, km/s.
    """

    kind = "cells"

    def __init__(
        self, grid: Grid, mass: CubeFile, velocities: dict[str, CubeFile], *, thermal: float | None = None
    ) -> None:
        self._grid, self._mass, self._velocities, self._thermal = grid, mass, velocities, thermal
        self.velocity_axes = "".join(velocities)

    def blocks(self, regions: Sequence[Region]) -> Iterator[GasBlock]:
        """The cells in the regions; raises `ReaderError` if a file breaks off or holds nonsense."""
        planes, *plane = self._grid.shape
        thickness = max(1, BLOCK_SIZE // (plane[0] * plane[1]))
        for start in range(0, planes, thickness):
            stop = min(start + thickness, planes)
            wanted = self._wanted(regions, start, stop)
            if wanted.any():
                yield from self._slab(wanted, start, stop)

    def _wanted(self, regions: Sequence[Region], start: int, stop: int) -> np.ndarray:
        """Cells of a slab that overlap any of the regions, boolean, shape (stop - start, ...)."""
        centres = (self._grid.centres[0][start:stop], *self._grid.centres[1:])
        wanted = np.zeros(tuple(len(along) for along in centres), dtype=bool)
        for region in regions:
            inside = [
                np.abs(along - (region.lower[axis] + region.upper[axis]) / 2)
                <= (region.upper[axis] - region.lower[axis] + self._grid.cell) / 2
                for along, axis in zip(centres, self._grid.axes, strict=True)
            ]
            wanted[np.ix_(*inside)] = True
        return wanted

    def _slab(self, wanted: np.ndarray, start: int, stop: int) -> Iterator[GasBlock]:
        mass = self._mass.read(start, stop)[wanted]
        velocity = np.zeros((len(mass), 3))
        for name, cube in self._velocities.items():
            velocity[:, "xyz".index(name)] = cube.read(start, stop)[wanted]
        first, *others = np.nonzero(wanted)
        position = self._grid.positions((first + start, *others))
        for low in range(0, len(mass), BLOCK_SIZE):
            part = slice(low, low + BLOCK_SIZE)
            yield self._block(position[part], mass[part], velocity[part])

    def _block(self, position: np.ndarray, mass: np.ndarray, velocity: np.ndarray) -> GasBlock:
        size = np.full(len(mass), self._grid.cell)
        thermal = None if self._thermal is None else np.full(len(mass), self._thermal)
        try:
            return GasBlock(position, size, mass, velocity, thermal)
        except SnapshotError as error:
            raise ReaderError(f"{self._mass.path}: {error}; expected numbers in every cell of the cubes") from error


def check_whole(hdu: fits.ImageHDU) -> None:
    """Touch the last cell, so that a truncated file is noticed at once."""
    hdu.section[-1, -1, -1]
