"""Positions of stars on the sky: from tables of sources, or from peaks of the column density."""

from __future__ import annotations

import warnings
from typing import Any

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
_DEC = ("dec", "decj2000", "decl", "dej2000", "deicrs", "decicrs", "decdeg", "dedeg", "declination", "deltaj2000", "de")


_GLON = ("glon", "l", "gallon", "galacticlongitude", "lii", "galacticl")
_GLAT = ("glat", "b", "gallat", "galacticlatitude", "bii", "galacticb")
_SIGNS = ("de-", "dec-", "design", "dsign", "de_sign", "decsign")
_HOURS = ("hourangle", "hour", "hours", "h", "hr", "hrs", "h:m:s", "hms")


def sky_coordinates(sources: SkyCoord | Table) -> SkyCoord:
    """Return the ICRS positions of sources.

    Parameters
    ----------
    sources : SkyCoord or Table
        Positions, or a table with a SkyCoord column, or with right ascension and declination under a common name
        (``ra``, ``RAJ2000``, ``_RAJ2000``, ...): degrees unless the column has another unit; sexagesimal text is in
        hours and degrees. Also their parts (``RAh``, ``RAm``, ``RAs``, ``DE-``, ``DEd``, ``DEm``, ``DEs``), or Galactic
        coordinates (``GLON``, ``GLAT``). Rows without a position are NaN.

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
    return _from_columns(sources)


def position_columns(table: Table) -> list[str]:
    """Return the names of the columns that hold the positions; raise `MapError` without them.

    Right ascension and declination come first, then the parts of sexagesimal numbers (RAh, RAm, RAs, DE-, DEd, DEm,
    DEs), then Galactic coordinates.
    """
    plain = {"".join(c for c in name.lower() if c.isalnum()): name for name in reversed(table.colnames)}
    if "rah" in plain and "ded" in plain:
        parts = [plain[name] for name in ("rah", "ram", "ras", "ded", "dem", "des") if name in plain]
        return parts + [name for name in table.colnames if name.lower() in _SIGNS]
    for names in ((_RA, _DEC), (_GLON, _GLAT)):
        pair = [next((plain[name] for name in each if name in plain), "") for each in names]
        if all(pair):
            return pair
    raise MapError(
        f"columns {', '.join(table.colnames)} hold no position; expected ra and dec (or RAJ2000 and DEJ2000, "
        "RAh to DEs, GLON and GLAT, ...) or a SkyCoord column"
    )


def _from_columns(table: Table) -> SkyCoord:
    names = position_columns(table)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if len(names) > 2:
                return _from_parts(table, {name.lower(): name for name in names})
            lon, lat = names
            galactic = "".join(c for c in lon.lower() if c.isalnum()) in _GLON
            if galactic:
                return SkyCoord(_angle(table[lon], u.deg), _angle(table[lat], u.deg), frame="galactic").icrs
            return SkyCoord(_angle(table[lon], u.hourangle), _angle(table[lat], u.deg), frame="icrs")
    except (ValueError, TypeError, u.UnitsError) as error:
        found = " and ".join(map(repr, names))
        raise MapError(f"columns {found} are not positions on the sky ({error}); expected degrees") from error


def _from_parts(table: Table, names: dict[str, str]) -> SkyCoord:
    """Return positions from hours, minutes and seconds, and degrees, arcminutes and arcseconds with a sign."""

    def value(name: str) -> np.ndarray:
        if name not in names:
            return np.zeros(len(table))
        column = np.ma.asarray(getattr(table[names[name]], "value", table[names[name]]))
        return np.ma.filled(column.astype(float), np.nan)

    hours = value("rah") + value("ram") / 60 + value("ras") / 3600
    degrees = np.abs(value("ded")) + value("dem") / 60 + value("des") / 3600
    sign = np.where(np.signbit(value("ded")), -1.0, 1.0)
    for name in _SIGNS:
        if name in names:
            sign = np.array([-1.0 if str(each).strip() in ("-", "\u2212") else 1.0 for each in table[names[name]]])
    return SkyCoord(hours * u.hourangle, sign * degrees * u.deg, frame="icrs")


def _angle(column, sexagesimal: u.UnitBase) -> u.Quantity:
    """Return a column in degrees; masked and empty values become NaN."""
    if column.dtype.kind in "USO":
        masked = np.ma.getmaskarray(np.ma.asarray(column)) if hasattr(column, "mask") else np.zeros(len(column), bool)
        texts = [each.decode() if isinstance(each, bytes) else str(each) for each in column]
        empty = masked | np.array([text.strip().lower() in ("", "--", "nan", "none", "masked") for text in texts])
        texts = ["0" if gone else text for text, gone in zip(texts, empty, strict=True)]
        numbers = all(_is_number(text) for text, gone in zip(texts, empty, strict=True) if not gone)
        stated = str(getattr(column, "unit", None) or "").strip().lower()
        unit = u.deg if numbers and stated not in _HOURS else sexagesimal
        return np.where(empty, np.nan, Angle(texts, unit=unit).to(u.deg))
    column = column.astype(float)
    unit = _angle_unit(column.unit)
    column = column.filled(np.nan) if hasattr(column, "filled") else column
    return (np.asarray(getattr(column, "value", column)) * unit).to(u.deg)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _angle_unit(unit: u.UnitBase | None) -> u.UnitBase:
    """Return the unit of a column of angles: degrees without one, also in spellings that astropy does not know."""
    if unit is None or not str(unit).strip():
        return u.deg
    name = str(unit).strip().lower().strip("[]'\"")
    if name in ("degree", "degrees", "degs", "deg", "decimal degrees", "degree (j2000)"):
        return u.deg
    if name in _HOURS:
        return u.hourangle
    if name in ("radian", "radians", "rad"):
        return u.rad
    return u.Unit(unit)


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
        drop = {*position_columns(given)}
    table = QTable({"star": given["star"] if "star" in given.colnames else np.arange(1, len(coordinates) + 1)})
    table["ra"], table["dec"] = coordinates.ra.to(u.deg).view(u.Quantity), coordinates.dec.to(u.deg).view(u.Quantity)
    for name in given.colnames:
        if name not in drop | {"star", "ra", "dec"}:
            table[name] = given[name]
    if "mass" in table.colnames and not _is_mass(table["mass"]):
        table.remove_column("mass")  # a mass of something, in no unit of mass: not a label
    return table


def _is_mass(column: Any) -> bool:
    unit = getattr(column, "unit", None)
    return unit is not None and u.Unit(unit).is_equivalent(u.solMass)


def column_peaks(
    maps: GasMaps, *, separation: u.Quantity | str = "0.1 pc", threshold: float = 2.0, n_peaks: int = 50
) -> QTable:
    """Return the local maxima of the column density: candidates for sources, not known to be stars.

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
