"""Physical windows of a field: around sources, or tiling it. Image order is kept: nothing is flipped or rotated."""

from __future__ import annotations

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import QTable, Table

from stellarfm.exceptions import MapError
from stellarfm.maps.gas_maps import GasMaps
from stellarfm.maps.map_set import MapSet
from stellarfm.maps.regridding import regrid
from stellarfm.maps.sources import normalize_sources
from stellarfm.maps.units import MAP_UNITS

__all__ = ["tiles", "windows_around"]


def windows_around(
    maps: GasMaps, sources: SkyCoord | Table, *, pixels: int = 64, pixel_scale: u.Quantity | str
) -> MapSet:
    """One window a source, cut from the field at a physical scale.

    The pixel c that holds the source is at index ``pixels // 2`` of its window: cells c - 32 ... c + 31 for 64, as in
    the simulated windows. Rows and columns run as in the image (with CDELT1 < 0, right ascension grows to the left).

    Parameters
    ----------
    maps : GasMaps
        With a distance.
    sources : SkyCoord or Table
        See `stellarfm.maps.sky_coordinates`.
    pixels : int
        Side of a window.
    pixel_scale : Quantity or str
        Side of a pixel, pc; the field is regridded if its own differs by more than 2 %.

    Returns
    -------
    MapSet
        N windows, NaN beyond the edge. The table has the sources' own columns, ``star``, ``ra``, ``dec``
        (deg), ``x_pixel``, ``y_pixel`` (position in `maps`, from 0) and ``coverage`` (fraction of pixels
        with all three maps). A source outside the field has an empty window and coverage 0.

    Raises
    ------
    MapError
        If no source lies in the field, or the distance is not known.
    """
    stars = normalize_sources(sources)
    coordinates = SkyCoord(stars["ra"], stars["dec"], frame="icrs")
    stars["x_pixel"], stars["y_pixel"] = maps.wcs.world_to_pixel(coordinates)
    grid = regrid(maps, pixel_scale)
    x, y = grid.wcs.world_to_pixel(coordinates)
    inside = _inside(x, y, grid.shape)
    if not inside.any():
        raise MapError(_none_inside(maps, stars))
    row, column = (_nearest(position, inside) for position in (y, x))
    windows = _cut(grid, row - pixels // 2, column - pixels // 2, pixels, keep=inside)
    return _mapset(grid, windows, stars)


def _inside(x: np.ndarray, y: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Whether positions (pixel centres are integers) lie on the grid; NaN does not."""
    return (x >= -0.5) & (x < shape[1] - 0.5) & (y >= -0.5) & (y < shape[0] - 0.5)


def _nearest(position: np.ndarray, inside: np.ndarray) -> np.ndarray:
    return np.floor(np.where(inside, position, 0) + 0.5).astype(int)


def _none_inside(maps: GasMaps, stars: QTable) -> str:
    centre = maps.wcs.pixel_to_world((maps.shape[1] - 1) / 2, (maps.shape[0] - 1) / 2).icrs
    field, first = (
        f"RA {ra.to_value(u.deg):.4f}, Dec {dec.to_value(u.deg):.4f} deg"
        for ra, dec in ((centre.ra, centre.dec), (stars["ra"][0], stars["dec"][0]))
    )
    return (
        f"none of the {len(stars)} sources lies in the field around {field}; "
        f"the first is at {first}: check the table's frame and units"
    )


def _cut(
    maps: GasMaps, rows: np.ndarray, columns: np.ndarray, pixels: int, *, keep: np.ndarray
) -> dict[str, u.Quantity]:
    """Windows whose first pixels are (rows, columns), which may lie beyond the edge; empty where not `keep`."""
    row, column = (np.asarray(first)[:, None] + np.arange(pixels) for first in (rows, columns))
    valid_row, valid_column = (row >= 0) & (row < maps.shape[0]), (column >= 0) & (column < maps.shape[1])
    valid = valid_row[:, :, None] & valid_column[:, None, :] & keep[:, None, None]
    row, column = np.clip(row, 0, maps.shape[0] - 1), np.clip(column, 0, maps.shape[1] - 1)
    chosen = {name: getattr(maps, name)[row[:, :, None], column[:, None, :]] for name in MAP_UNITS}
    return {name: np.where(valid, values, np.nan * values.unit) for name, values in chosen.items()}


def _mapset(maps: GasMaps, windows: dict[str, u.Quantity], stars: QTable) -> MapSet:
    name = str(maps.meta.get("object") or maps.meta.get("files") or "field")
    mapset = MapSet(
        **windows,
        stars=stars,
        pixel_scale=maps.pixel_scale,
        simulation=name,
        provenance=str(maps.meta.get("files", "")),
    )
    mapset.stars["coverage"] = 1 - mapset.mask.mean(axis=(1, 2))
    return mapset


def tiles(maps: GasMaps, *, pixels: int = 64, stride: int = 32) -> tuple[MapSet, np.ndarray]:
    """Overlapping windows that cover every pixel of a field, edges too.

    Parameters
    ----------
    maps : GasMaps
        At the scale wanted (see `regrid`), with a distance.
    pixels, stride : int
        Side of a tile and step between tiles; the last tile of a row ends at the edge.

    Returns
    -------
    MapSet
        T tiles; beyond the edge of a field smaller than a tile is NaN.
    ndarray
        Row and column in `maps` of each tile's first pixel, int, shape (T, 2).

    Raises
    ------
    MapError
        If the stride leaves gaps, or the distance is not known.
    """
    if not 0 < stride <= pixels:
        raise MapError(f"stride {stride} of tiles of {pixels} pixels; expected 1 to {pixels}")
    rows, columns = (_starts(length, pixels, stride) for length in maps.shape)
    first = np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1).reshape(-1, 2)
    windows = _cut(maps, first[:, 0], first[:, 1], pixels, keep=np.ones(len(first), dtype=bool))
    stars = QTable({"star": np.arange(1, len(first) + 1), "row": first[:, 0], "column": first[:, 1]})
    return _mapset(maps, windows, stars), first


def _starts(length: int, pixels: int, stride: int) -> np.ndarray:
    """First pixels of the tiles along one axis."""
    last = max(0, length - pixels)
    return np.unique(np.append(np.arange(0, last + 1, stride), last))
