"""Positions of stars on the sky: from tables of sources, or from peaks of the column density."""

from __future__ import annotations

import warnings

import numpy as np
from astropy import units as u
from astropy.coordinates import Angle, SkyCoord
from astropy.table import QTable, Table

from stellarfm.exceptions import MapError
from stellarfm.maps.gas_maps import GasMaps
from stellarfm.maps.units import parse_length

__all__ = ["column_peaks", "normalize_sources", "sky_coordinates"]

#: Column names in lower case without underscores, blanks and brackets, the most common first.
_RA = ("ra", "raj2000", "raicrs", "radeg", "rightascension", "alphaj2000", "rad", "radegrees")
_DEC = ("dec", "decj2000", "dej2000", "deicrs", "decicrs", "decdeg", "dedeg", "declination", "deltaj2000", "de")


def sky_coordinates(sources: SkyCoord | Table) -> SkyCoord:
    """Return the ICRS positions of sources.

    Parameters
    ----------
    sources : SkyCoord or Table
        Positions, or a table with a SkyCoord column, or with right ascension and declination under a common name
        (``ra``, ``RAJ2000``, ``_RAJ2000``, ...): degrees unless the column has another unit; sexagesimal text is in
        hours and degrees.

    Returns
    -------
    SkyCoord
        Shape (N,).

    Raises
    ------
    MapError
        If the table has no such columns, no rows, or impossible positions.

    Examples
    --------
    >>> from astropy.table import QTable
    >>> from stellarfm.maps import sky_coordinates
    >>> sky_coordinates(QTable({"RAJ2000": ["04:21:57"], "DEJ2000": ["+15:29:46"]})).to_string()
    ['65.4875 15.4961']
    """
    if isinstance(sources, SkyCoord):
        return sources.icrs.reshape(-1)
    if not len(sources):
        raise MapError("the table of sources is empty; expected at least one position")
    for name in sources.colnames:
        if isinstance(sources[name], SkyCoord):
            return sources[name].icrs
    return _from_columns(sources, *position_columns(sources))


def position_columns(table: Table) -> tuple[str, str]:
    """Return the names of the right ascension and declination columns; raise `MapError` without them."""
    plain = {"".join(c for c in name.lower() if c.isalnum()): name for name in reversed(table.colnames)}
    ra, dec = (next((plain[name] for name in names if name in plain), None) for names in (_RA, _DEC))
    if ra is None or dec is None:
        raise MapError(
            f"columns {', '.join(table.colnames)} hold no position; expected ra and dec (or RAJ2000 and DEJ2000, ...) "
            "or a SkyCoord column"
        )
    return ra, dec


def _from_columns(table: Table, ra: str, dec: str) -> SkyCoord:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return SkyCoord(_angle(table[ra], u.hourangle), _angle(table[dec], u.deg), frame="icrs")
    except (ValueError, TypeError, u.UnitsError) as error:
        raise MapError(
            f"columns {ra!r} and {dec!r} are not positions on the sky ({error}); expected degrees"
        ) from error


def _angle(column, sexagesimal: u.UnitBase) -> u.Quantity:
    """Return a column in degrees; masked values become NaN."""
    if column.dtype.kind in "US":
        return Angle(np.asarray(column).astype(str), unit=sexagesimal).to(u.deg)
    column = column.astype(float)
    column = column.filled(np.nan) if hasattr(column, "filled") else column
    return u.Quantity(column, column.unit or u.deg).to(u.deg)


def normalize_sources(sources: SkyCoord | Table) -> QTable:
    """Return a table of sources with standard names for the columns of number and position.

    Parameters
    ----------
    sources : SkyCoord or Table
        Positions; see `sky_coordinates`.

    Returns
    -------
    QTable
        ``star`` (as in `sources`, else 1, 2, ...), ``ra``, ``dec`` (ICRS, deg), then all other columns.

    Raises
    ------
    MapError
        If `sources` has no positions.

    Examples
    --------
    >>> from astropy.table import QTable
    >>> from stellarfm.maps import normalize_sources
    >>> normalize_sources(QTable({"RAJ2000": [65.4], "DEJ2000": [27.5], "name": ["a"]})).colnames
    ['star', 'ra', 'dec', 'name']
    """
    coordinates = sky_coordinates(sources)
    given = QTable() if isinstance(sources, SkyCoord) else QTable(sources)
    drop = {name for name in given.colnames if isinstance(given[name], SkyCoord)}
    if not isinstance(sources, SkyCoord) and not drop:
        drop = set(position_columns(given))
    table = QTable({"star": given["star"] if "star" in given.colnames else np.arange(1, len(coordinates) + 1)})
    table["ra"], table["dec"] = coordinates.ra.to(u.deg).view(u.Quantity), coordinates.dec.to(u.deg).view(u.Quantity)
    for name in given.colnames:
        if name not in drop | {"star", "ra", "dec"}:
            table[name] = given[name]
    return table


def column_peaks(
    maps: GasMaps, *, separation: u.Quantity | str = "0.1 pc", threshold: float = 2.0, n_peaks: int = 50
) -> QTable:
    """Return the local maxima of the column density, as a substitute for a list of sources.

    Parameters
    ----------
    maps : GasMaps
        Field with a distance.
    separation : Quantity or str
        Side of the square, pc, within which a peak is the largest value.
    threshold : float
        Smallest column density of a peak, in units of the median of the usable pixels.
    n_peaks : int
        Largest number of peaks; the highest are kept.

    Returns
    -------
    QTable
        ``star`` (1, 2, ...), ``ra``, ``dec`` (deg), ``x_pixel``, ``y_pixel`` (from 0) and ``column_density`` (cm-2),
        highest first.

    Raises
    ------
    MapError
        If there is no peak, or the distance is not known.

    Examples
    --------
    >>> from stellarfm.data import EXAMPLE_FIELD
    >>> from stellarfm.maps import GasMaps, column_peaks
    >>> column_peaks(GasMaps.read(EXAMPLE_FIELD), n_peaks=3)["star"].tolist()
    [1, 2, 3]
    """
    from photutils.detection import find_peaks

    side = max(3, round((parse_length(separation, what="separation") / maps.pixel_scale).to_value(u.one)))
    column = np.where(maps.mask, 0.0, maps.column_density.value)
    least = threshold * np.median(column[~maps.mask])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peaks = find_peaks(column, least, box_size=side, mask=maps.mask, n_peaks=n_peaks)
    if peaks is None or not len(peaks):
        raise MapError(f"no peak of the column density above {least:.3g} cm-2; give a table of positions: sources=")
    peaks.sort("peak_value", reverse=True)
    x, y = np.asarray(peaks["x_peak"], dtype=float), np.asarray(peaks["y_peak"], dtype=float)
    table = normalize_sources(maps.wcs.pixel_to_world(x, y))
    table["x_pixel"], table["y_pixel"] = x, y
    table["column_density"] = np.asarray(peaks["peak_value"]) * maps.column_density.unit
    return table
