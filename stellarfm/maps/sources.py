"""Where the stars are: positions in any usual table, or peaks of the column density when there is no table."""

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

#: Lower-case names without underscores, blanks and brackets, the most usual first.
_RA = ("ra", "raj2000", "raicrs", "radeg", "rightascension", "alphaj2000", "rad", "radegrees")
_DEC = ("dec", "decj2000", "dej2000", "deicrs", "decicrs", "decdeg", "dedeg", "declination", "deltaj2000", "de")


def sky_coordinates(sources: SkyCoord | Table) -> SkyCoord:
    """ICRS positions of sources, shape (N,).

    Parameters
    ----------
    sources : SkyCoord or Table
        A table has a SkyCoord column, or right ascension and declination under a usual name (``ra``, ``RAJ2000``,
        ``_RAJ2000``, ...): degrees unless the column has another unit; sexagesimal text means hours and degrees.

    Raises
    ------
    MapError
        If the table has no such columns, no rows, or impossible positions.
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
    """Names of the right ascension and declination columns."""
    plain = {"".join(c for c in name.lower() if c.isalnum()): name for name in reversed(table.colnames)}
    ra, dec = (next((plain[name] for name in names if name in plain), None) for names in (_RA, _DEC))
    if ra is None or dec is None:
        raise MapError(
            f"columns {', '.join(table.colnames)} hold no position; expected ra and dec (or RAJ2000 and DEJ2000, ...), "
            "or a SkyCoord column"
        )
    return ra, dec


def _from_columns(table: Table, ra: str, dec: str) -> SkyCoord:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return SkyCoord(_angle(table[ra], u.hourangle), _angle(table[dec], u.deg), frame="icrs")
    except (ValueError, TypeError, u.UnitsError) as error:
        raise MapError(f"columns {ra!r} and {dec!r} are no positions on the sky ({error}); expected degrees") from error


def _angle(column, sexagesimal: u.UnitBase) -> u.Quantity:
    """A column as degrees; what is masked becomes NaN."""
    if column.dtype.kind in "US":
        return Angle(np.asarray(column).astype(str), unit=sexagesimal).to(u.deg)
    column = column.astype(float)
    column = column.filled(np.nan) if hasattr(column, "filled") else column
    return u.Quantity(column, column.unit or u.deg).to(u.deg)


def normalize_sources(sources: SkyCoord | Table) -> QTable:
    """A table with the columns ``star``, ``ra``, ``dec`` (ICRS, deg) first, then whatever else `sources` told.

    ``star`` is kept if it is there and counts from 1 if not.
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
    """Local maxima of the column density: where to look when no list of sources is given.

    Parameters
    ----------
    maps : GasMaps
        With a distance.
    separation : Quantity or str
        A peak is the largest value within a square of this side, pc.
    threshold : float
        Least column density of a peak, in medians of the usable pixels.
    n_peaks : int
        Keep this many at most, the highest.

    Returns
    -------
    QTable
        ``star`` (1, 2, ...), ``ra``, ``dec`` (deg), ``x_pixel``, ``y_pixel`` (from 0) and ``column_density`` (cm-2),
        highest first.

    Raises
    ------
    MapError
        If there is none, or the distance is not known.
    """
    from photutils.detection import find_peaks

    side = max(3, round((parse_length(separation, what="separation") / maps.pixel_scale).to_value(u.one)))
    column = np.where(maps.mask, 0.0, maps.column_density.value)
    least = threshold * np.median(column[~maps.mask])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peaks = find_peaks(column, least, box_size=side, mask=maps.mask, n_peaks=n_peaks)
    if peaks is None or not len(peaks):
        raise MapError(f"no peak of the column density above {least:.3g} cm-2; give a table of sources: --sources")
    peaks.sort("peak_value", reverse=True)
    x, y = np.asarray(peaks["x_peak"], dtype=float), np.asarray(peaks["y_peak"], dtype=float)
    table = normalize_sources(maps.wcs.pixel_to_world(x, y))
    table["x_pixel"], table["y_pixel"] = x, y
    table["column_density"] = np.asarray(peaks["peak_value"]) * maps.column_density.unit
    return table
