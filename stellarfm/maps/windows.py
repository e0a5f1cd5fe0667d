"""Windows of a field at a physical scale: around sources, or tiling it; nothing is flipped or rotated."""

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
    """Cut one window per source from a field at a physical scale.

    The pixel c that contains the source has index ``pixels // 2`` in its window: pixels c - 32 ... c + 31 for 64, as in
    the simulated windows. Rows and columns are in image order (with CDELT1 < 0, right ascension increases to the left).

    Parameters
    ----------
    maps : GasMaps
        Field with a distance.
    sources : SkyCoord or Table
        Positions; see `stellarfm.maps.sky_coordinates`.
    pixels : int
        Side of a window in pixels.
    pixel_scale : Quantity or str
        Side of a pixel, pc; the field is regridded if its own differs by more than 2 %.

    Returns
    -------
    MapSet
        N windows, NaN beyond the edge. The table has the columns of `sources`, ``star``, ``ra``, ``dec`` (deg),
        ``x_pixel``, ``y_pixel`` (position in `maps`, from 0) and ``coverage`` (fraction of pixels with all three maps).
        A source outside the field has an empty window and coverage 0.

    Raises
    ------
    MapError
        If no source lies in the field, or the distance is not known.

    Examples
    --------
    >>> from stellarfm.data import EXAMPLE_FIELD
    >>> from stellarfm.maps import GasMaps, column_peaks, windows_around
    >>> maps = GasMaps.read(EXAMPLE_FIELD)
    >>> windows_around(maps, column_peaks(maps, n_peaks=3), pixel_scale="0.0078125 pc").velocity.shape
    (3, 64, 64)
    """
    stars = normalize_sources(sources)
    coordinates = SkyCoord(stars["ra"], stars["dec"], frame="icrs")
    stars["x_pixel"], stars["y_pixel"] = maps.wcs.world_to_pixel(coordinates)
    grid = regrid(maps, pixel_scale)
    x, y = grid.wcs.world_to_pixel(coordinates)
    inside = _inside(x, y, grid.shape)
    if not inside.any():
        raise MapError(_none_inside(maps, stars))
    row, column = (np.floor(np.where(inside, position, 0) + 0.5).astype(int) for position in (y, x))
    windows = _cut(grid, row - pixels // 2, column - pixels // 2, pixels, keep=inside)
    return _as_map_set(grid, windows, stars)


def _inside(x: np.ndarray, y: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return True for positions (pixel centers are integers) on the grid, False for NaN."""
    return (x >= -0.5) & (x < shape[1] - 0.5) & (y >= -0.5) & (y < shape[0] - 0.5)


def _none_inside(maps: GasMaps, stars: QTable) -> str:
    center = maps.wcs.pixel_to_world((maps.shape[1] - 1) / 2, (maps.shape[0] - 1) / 2).icrs
    field, first = (
        f"RA {ra.to_value(u.deg):.4f}, Dec {dec.to_value(u.deg):.4f} deg"
        for ra, dec in ((center.ra, center.dec), (stars["ra"][0], stars["dec"][0]))
    )
    return (
        f"none of the {len(stars)} sources lies in the field around {field}; "
        f"the first is at {first}: check the frame and units of the table"
    )


def _cut(
    maps: GasMaps, rows: np.ndarray, columns: np.ndarray, pixels: int, *, keep: np.ndarray
) -> dict[str, u.Quantity]:
    """Cut windows whose first pixels are (rows, columns), which may lie beyond the edge; empty where not `keep`."""
    row, column = (np.asarray(first)[:, None] + np.arange(pixels) for first in (rows, columns))
    valid_row, valid_column = (row >= 0) & (row < maps.shape[0]), (column >= 0) & (column < maps.shape[1])
    valid = valid_row[:, :, None] & valid_column[:, None, :] & keep[:, None, None]
    row, column = np.clip(row, 0, maps.shape[0] - 1), np.clip(column, 0, maps.shape[1] - 1)
    chosen = {name: getattr(maps, name)[row[:, :, None], column[:, None, :]] for name in MAP_UNITS}
    return {name: np.where(valid, values, np.nan * values.unit) for name, values in chosen.items()}


def _as_map_set(maps: GasMaps, windows: dict[str, u.Quantity], stars: QTable) -> MapSet:
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
    """Cut overlapping windows that cover every pixel of a field, including its edges.

    Parameters
    ----------
    maps : GasMaps
        Field with a distance, at the scale of the tiles (see `regrid`).
    pixels : int
        Side of a tile in pixels.
    stride : int
        Step between tiles in pixels; the last tile of a row ends at the edge.

    Returns
    -------
    windows : MapSet
        T tiles; NaN beyond the edge of a field smaller than a tile.
    first : ndarray
        Row and column in `maps` of the first pixel of each tile, int, shape (T, 2).

    Raises
    ------
    MapError
        If the stride leaves gaps, or the distance is not known.

    Examples
    --------
    >>> from stellarfm.data import EXAMPLE_FIELD
    >>> from stellarfm.maps import GasMaps, tiles
    >>> windows, first = tiles(GasMaps.read(EXAMPLE_FIELD), pixels=64, stride=64)
    >>> len(windows), first[-1].tolist()
    (49, [352, 352])
    """
    if not 0 < stride <= pixels:
        raise MapError(f"stride {stride} of tiles of {pixels} pixels; expected 1 to {pixels}")
    rows, columns = (_starts(length, pixels, stride) for length in maps.shape)
    first = np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1).reshape(-1, 2)
    windows = _cut(maps, first[:, 0], first[:, 1], pixels, keep=np.ones(len(first), dtype=bool))
    stars = QTable({"star": np.arange(1, len(first) + 1), "row": first[:, 0], "column": first[:, 1]})
    return _as_map_set(maps, windows, stars), first


def _starts(length: int, pixels: int, stride: int) -> np.ndarray:
    """Return the first pixels of the tiles along one axis."""
    last = max(0, length - pixels)
    return np.unique(np.append(np.arange(0, last + 1, stride), last))
