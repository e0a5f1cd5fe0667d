"""The uniform grid of a cube in FITS: which axis is which, and where its cells are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from astropy import units as u
from astropy.io import fits

from stellarfm.exceptions import MapError, UnitsError
from stellarfm.maps.units import clean_unit, parse_length

__all__ = ["Grid", "grid_of"]


@dataclass(frozen=True, eq=False)
class Grid:
    """Cell centres of a cube of equal cells.

    Attributes
    ----------
    axes : tuple of int
        Box axis (0 is x) of each array axis: (2, 1, 0) for an array indexed ``[z, y, x]``, the usual order of FITS.
    centres : tuple of ndarray
        Centres of the cells along each array axis, pc, box coordinates.
    cell : float
        Side of a cell, pc.
    """

    axes: tuple[int, ...]
    centres: tuple[np.ndarray, ...]
    cell: float

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""
        return tuple(len(centres) for centres in self.centres)

    def corners(self) -> tuple[u.Quantity, u.Quantity]:
        """Lower and upper corner of the box, pc, shape (3,), x first."""
        along = [self.centres[self.axes.index(axis)] for axis in range(3)]
        lower = np.array([centres.min() for centres in along]) - self.cell / 2
        return lower * u.pc, (lower + self.cell * np.array([len(centres) for centres in along])) * u.pc

    def positions(self, indices: tuple[np.ndarray, ...]) -> np.ndarray:
        """Centres of some cells, x first, shape (n, 3), from their indices along each array axis."""
        along = [self.centres[self.axes.index(axis)][indices[self.axes.index(axis)]] for axis in range(3)]
        return np.stack(along, axis=1)


def grid_of(header: fits.Header, cell_size: str | None, *, where: str) -> Grid:
    """The grid of a header: CTYPE names the axes (NAXIS1 is x by default), CDELT and CUNIT or `cell_size` the cells.

    Raises
    ------
    MapError, UnitsError
        If the image has not three axes, cells are no cubes, or their size is unknown.
    """
    if header["NAXIS"] != 3:
        raise MapError(f"{where}: NAXIS is {header['NAXIS']}; expected 3: drop the axes of one pixel")
    axes = _box_axes(header, where)
    if cell_size is None:
        centres, cell = _from_header(header, where)
    else:
        cell = parse_length(cell_size, what="cell size").value
        centres = [(np.arange(header[f"NAXIS{axis}"]) + 0.5) * cell for axis in (1, 2, 3)]
    return Grid(tuple(axes[::-1]), tuple(centres[::-1]), cell)


def _box_axes(header: fits.Header, where: str) -> list[int]:
    """Box axis of each FITS axis."""
    names = [str(header.get(f"CTYPE{axis}", "")).strip().lower()[:1] for axis in (1, 2, 3)]
    if not set(names) & set("xyz"):
        return [0, 1, 2]
    if sorted(names) != ["x", "y", "z"]:
        raise MapError(f"{where}: CTYPE names the axes {', '.join(map(repr, names))}; expected X, Y and Z, or nothing")
    return ["xyz".index(name) for name in names]


def _from_header(header: fits.Header, where: str) -> tuple[list[np.ndarray], float]:
    """Cell centres along each FITS axis, and the side of a cell, pc."""
    scales = [_length_unit(header, axis, where).to(u.pc) for axis in (1, 2, 3)]
    sides = [abs(float(header.get(f"CDELT{axis}", 0))) * scale for axis, scale in zip((1, 2, 3), scales, strict=True)]
    if not min(sides) > 0 or not np.allclose(sides, sides[0], rtol=1e-4):
        raise MapError(f"{where}: cells of {sides} pc (CDELT, CUNIT); expected cubes, or say cell_size='0.01 pc'")
    centres = []
    for axis, scale in zip((1, 2, 3), scales, strict=True):
        value, pixel, step = (float(header.get(f"{key}{axis}", 0)) for key in ("CRVAL", "CRPIX", "CDELT"))
        centres.append((value + (np.arange(header[f"NAXIS{axis}"]) + 1 - pixel) * step) * scale)
    return centres, sides[0]


def _length_unit(header: fits.Header, axis: int, where: str) -> u.UnitBase:
    text = str(header.get(f"CUNIT{axis}", "")).strip()
    if not text:
        raise UnitsError(f"{where}: CUNIT{axis} is missing; say how large a cell is: cell_size='0.01 pc'")
    unit = clean_unit(text)
    if not unit.is_equivalent(u.pc):
        raise UnitsError(f"{where}: CUNIT{axis} {text!r} is no length; say how large a cell is: cell_size='0.01 pc'")
    return unit
