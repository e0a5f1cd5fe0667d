"""Gas on the uniform grid of cubes in FITS files, read slab by slab."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.io import fits

from stellarfm.exceptions import MapError, ReaderError, SnapshotError, UnitsError
from stellarfm.maps.io.fits_image import open_fits
from stellarfm.maps.units import clean_unit, parse_length
from stellarfm.simulations import GasBlock, GasSource, Region
from stellarfm.simulations.gas import BLOCK_SIZE

__all__ = ["CubeFile", "UniformGrid", "UniformGridGas", "check_not_truncated", "read_grid"]


@dataclass(frozen=True, eq=False)
class UniformGrid:
    """Cell centers of a cube of equal cells.

    Attributes
    ----------
    axes : tuple of int
        Box axis (0 is x) of each array axis: (2, 1, 0) for an array indexed ``[z, y, x]``, the default order of FITS.
    centers : tuple of ndarray
        Centers of the cells along each array axis, pc, box coordinates.
    cell : float
        Side of a cell, pc.
    """

    axes: tuple[int, ...]
    centers: tuple[np.ndarray, ...]
    cell: float

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""
        return tuple(len(centers) for centers in self.centers)

    def corners(self) -> tuple[u.Quantity, u.Quantity]:
        """Return the lower and upper corner of the box, pc, shape (3,), x first."""
        along = [self.centers[self.axes.index(axis)] for axis in range(3)]
        lower = np.array([centers.min() for centers in along]) - self.cell / 2
        return lower * u.pc, (lower + self.cell * np.array([len(centers) for centers in along])) * u.pc

    def positions(self, indices: tuple[np.ndarray, ...]) -> np.ndarray:
        """Return the centers of cells, x first, shape (n, 3), from their indices along each array axis."""
        along = [self.centers[self.axes.index(axis)][indices[self.axes.index(axis)]] for axis in range(3)]
        return np.stack(along, axis=1)


def read_grid(header: fits.Header, cell_size: str | None, *, where: str) -> UniformGrid:
    """Return the grid of a cube: CTYPE names its axes (NAXIS1 is x by default), CDELT and CUNIT its cells.

    Parameters
    ----------
    header : Header
        Header of the cube.
    cell_size : str or None
        Side of a cell, in place of CDELT and CUNIT; the box then begins at the origin.
    where : str
        File, for messages.

    Raises
    ------
    MapError, UnitsError
        If the image does not have three axes, cells are not cubes, or their size is unknown.
    """
    if header["NAXIS"] != 3:
        raise MapError(f"{where}: NAXIS is {header['NAXIS']}; expected 3: remove the axes of one pixel")
    axes = _box_axes(header, where)
    if cell_size is None:
        centers, cell = _header_cells(header, where)
    else:
        cell = parse_length(cell_size, what="cell size").value
        centers = [(np.arange(header[f"NAXIS{axis}"]) + 0.5) * cell for axis in (1, 2, 3)]
    return UniformGrid(tuple(axes[::-1]), tuple(centers[::-1]), cell)


def _box_axes(header: fits.Header, where: str) -> list[int]:
    """Return the box axis of each FITS axis."""
    names = [str(header.get(f"CTYPE{axis}", "")).strip().lower()[:1] for axis in (1, 2, 3)]
    if not set(names) & set("xyz"):
        return [0, 1, 2]
    if sorted(names) != ["x", "y", "z"]:
        raise MapError(f"{where}: CTYPE names the axes {', '.join(map(repr, names))}; expected X, Y and Z, or nothing")
    return ["xyz".index(name) for name in names]


def _header_cells(header: fits.Header, where: str) -> tuple[list[np.ndarray], float]:
    """Return the cell centers along each FITS axis, and the side of a cell, pc."""
    scales = [_length_unit(header, axis, where).to(u.pc) for axis in (1, 2, 3)]
    sides = [abs(float(header.get(f"CDELT{axis}", 0))) * scale for axis, scale in zip((1, 2, 3), scales, strict=True)]
    if not min(sides) > 0 or not np.allclose(sides, sides[0], rtol=1e-4):
        raise MapError(f"{where}: cells of {sides} pc (CDELT, CUNIT); expected cubes, or give cell_size='0.01 pc'")
    centers = []
    for axis, scale in zip((1, 2, 3), scales, strict=True):
        value, pixel, step = (float(header.get(f"{key}{axis}", 0)) for key in ("CRVAL", "CRPIX", "CDELT"))
        centers.append((value + (np.arange(header[f"NAXIS{axis}"]) + 1 - pixel) * step) * scale)
    return centers, sides[0]


def _length_unit(header: fits.Header, axis: int, where: str) -> u.UnitBase:
    """Return the unit of an axis, which must be a length."""
    text = str(header.get(f"CUNIT{axis}", "")).strip()
    if not text:
        raise UnitsError(f"{where}: CUNIT{axis} is missing; give the size of a cell: cell_size='0.01 pc'")
    unit = clean_unit(text)
    if not unit.is_equivalent(u.pc):
        raise UnitsError(f"{where}: CUNIT{axis} {text!r} is not a length; give the size of a cell: cell_size='0.01 pc'")
    return unit


@dataclass(frozen=True)
class CubeFile:
    """One image of a FITS file, and the factor from its numbers to those of a `GasBlock`."""

    path: Path
    hdu: int
    factor: float

    def read(self, start: int, stop: int) -> np.ndarray:
        """Read some planes of the cube; raises `ReaderError` if the file is truncated."""
        with open_fits(self.path) as (hdus, _):
            return np.asarray(hdus[self.hdu].section[start:stop], dtype=float) * self.factor


def check_not_truncated(hdu: fits.ImageHDU) -> None:
    """Read the last cell, which raises an error if the file is truncated."""
    hdu.section[-1, -1, -1]


class UniformGridGas(GasSource):
    """Gas in equal cells.

    Parameters
    ----------
    grid : UniformGrid
        Positions of the cells.
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
        self, grid: UniformGrid, mass: CubeFile, velocities: dict[str, CubeFile], *, thermal: float | None = None
    ) -> None:
        self._grid, self._mass, self._velocities, self._thermal = grid, mass, velocities, thermal
        self.velocity_axes = "".join(velocities)

    def blocks(self, regions: Sequence[Region]) -> Iterator[GasBlock]:
        """Yield the cells in the regions; raises `ReaderError` on truncated files or invalid values."""
        planes, *plane = self._grid.shape
        thickness = max(1, BLOCK_SIZE // (plane[0] * plane[1]))
        for start in range(0, planes, thickness):
            stop = min(start + thickness, planes)
            selected = self._select(regions, start, stop)
            if selected.any():
                yield from self._slab(selected, start, stop)

    def _select(self, regions: Sequence[Region], start: int, stop: int) -> np.ndarray:
        """Return the cells of a slab that overlap any of the regions, boolean, shape (stop - start, ...)."""
        centers = (self._grid.centers[0][start:stop], *self._grid.centers[1:])
        selected = np.zeros(tuple(len(along) for along in centers), dtype=bool)
        for region in regions:
            inside = [
                np.abs(along - (region.lower[axis] + region.upper[axis]) / 2)
                <= (region.upper[axis] - region.lower[axis] + self._grid.cell) / 2
                for along, axis in zip(centers, self._grid.axes, strict=True)
            ]
            selected[np.ix_(*inside)] = True
        return selected

    def _slab(self, selected: np.ndarray, start: int, stop: int) -> Iterator[GasBlock]:
        """Yield the selected cells of a slab in blocks."""
        mass = self._mass.read(start, stop)[selected]
        velocity = np.zeros((len(mass), 3))
        for name, cube in self._velocities.items():
            velocity[:, "xyz".index(name)] = cube.read(start, stop)[selected]
        first, *others = np.nonzero(selected)
        position = self._grid.positions((first + start, *others))
        size = np.full(len(mass), self._grid.cell)
        thermal = None if self._thermal is None else np.full(len(mass), self._thermal)
        for low in range(0, len(mass), BLOCK_SIZE):
            part = slice(low, low + BLOCK_SIZE)
            moving = None if thermal is None else thermal[part]
            try:
                yield GasBlock(position[part], size[part], mass[part], velocity[part], moving)
            except SnapshotError as error:
                raise ReaderError(f"{self._mass.path}: {error}; expected numbers in all cells of the cubes") from error
