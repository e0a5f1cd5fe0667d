"""Tables of positions: sources on the sky, and points in the box of a simulation."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import Column, QTable, Table

from stellarfm.exceptions import InputNotFoundError, MapError, ReaderError
from stellarfm.maps import normalize_sources
from stellarfm.maps.io.fits_image import check_hdus
from stellarfm.maps.io.missing_data import logged_warnings
from stellarfm.maps.units import require_unit

__all__ = ["read_positions", "read_sources", "stored_sources"]

#: Names of the extensions of a FITS file that hold a table of sources.
SOURCE_EXTENSIONS = ("STARS", "SOURCES")

#: File extension -> format of `astropy.table`.
_FORMATS = {
    ".csv": "ascii.csv",
    ".ecsv": "ascii.ecsv",
    ".fit": "fits",
    ".fits": "fits",
    ".tsv": "ascii.tab",
    ".txt": "ascii",
    ".dat": "ascii",
    ".cat": "ascii",
    ".cds": "ascii.cds",
    ".gz": "fits",
    ".ipac": "ascii.ipac",
    ".ldac": "fits",
    ".mrt": "ascii.mrt",
    ".parq": "parquet",
    ".parquet": "parquet",
    ".reg": "ds9",
    ".tbl": "ascii.ipac",
    ".vot": "votable",
    ".votable": "votable",
    ".xml": "votable",
}


def read_sources(path: str | os.PathLike) -> QTable:
    r"""Read a table of sources in CSV, ECSV, FITS, VOTable, Parquet, MRT, IPAC or plain text, or DS9 regions.

    Parameters
    ----------
    path : path
        File of a known ending with ``ra`` and ``dec`` under any common name, or a SkyCoord column. Of several
        tables in FITS, ``STARS`` or ``SOURCES`` is read, else the first.

    Returns
    -------
    QTable
        ``star``, ``ra``, ``dec`` (ICRS, deg), then all other columns.

    Raises
    ------
    InputNotFoundError, ReaderError
        If the file is absent, has another extension, or cannot be read.
    MapError
        If it has no positions.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from stellarfm.readers import read_sources
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "sources.csv")
    ...     _ = path.write_text("name,RAJ2000,DEJ2000\nIRS 5,04:31:34,+18:08:05\n")
    ...     read_sources(path).colnames
    ['star', 'ra', 'dec', 'name']
    """
    path = Path(path)
    return _normalized(_read_table(path), path)


def stored_sources(path: str | os.PathLike) -> QTable | None:
    """Read the table STARS or SOURCES of a FITS file.

    Parameters
    ----------
    path : path
        File that exists, of any format.

    Returns
    -------
    QTable or None
        Table as `read_sources` returns it; None if the file is not FITS, or has neither table.

    Raises
    ------
    ReaderError, MapError
        If the table cannot be read, or has no positions.
    """
    path = Path(path)
    try:
        hdus = fits.open(path, memmap=False)
    except OSError:  # not a FITS file
        return None
    with hdus, _table_errors(path, "fits"):
        check_hdus(hdus, str(path))
        named = [hdu for hdu in hdus if _is_table(hdu) and _extension(hdu) in SOURCE_EXTENSIONS]
        table = _quantities(Table.read(named[0])) if named else None
    return None if table is None else _normalized(table, path)


def _normalized(table: QTable, path: Path) -> QTable:
    try:
        return normalize_sources(table)
    except MapError as error:
        raise type(error)(f"{path}: {error}") from error


def read_positions(path: str | os.PathLike) -> QTable:
    r"""Read a table of positions in the box of a simulation, in the formats of `read_sources`.

    Parameters
    ----------
    path : path
        File with the columns ``x``, ``y``, ``z`` in box coordinates: pc, unless a column has another unit.

    Returns
    -------
    QTable
        ``star`` (as in the file, else 1, 2, ...), ``x``, ``y``, ``z`` (pc), then all other columns.

    Raises
    ------
    InputNotFoundError, ReaderError
        If the file is absent, has another extension, or cannot be read.
    MapError, UnitsError
        If it has no positions, or they are not lengths.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from stellarfm.readers import read_positions
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "positions.csv")
    ...     _ = path.write_text("x,y,z\n1,2,3\n")
    ...     print(read_positions(path)["z"])
    [3.] pc
    """
    path = Path(path)
    table = _read_table(path)
    if missing := [name for name in "xyz" if name not in table.colnames]:
        raise MapError(f"{path}: no column {', '.join(missing)} among {', '.join(table.colnames)}; expected x, y and z")
    if not len(table):
        raise MapError(f"{path}: the table is empty; expected at least one position")
    stars = table["star"] if "star" in table.colnames else np.arange(1, len(table) + 1)
    positions = QTable({"star": stars, **{name: _in_parsec(table[name], f"{path}: column {name!r}") for name in "xyz"}})
    for name in table.colnames:
        if name not in positions.colnames:
            positions[name] = table[name]
    return positions


def _in_parsec(column: Any, where: str) -> u.Quantity:
    """Convert a column to lengths in pc; one without a unit is taken to be in pc."""
    try:
        values = np.asarray(getattr(column, "value", column), dtype=float)
    except ValueError as error:
        raise MapError(f"{where} does not hold numbers ({error}); expected box coordinates") from error
    return require_unit(values * (getattr(column, "unit", None) or u.pc), u.pc, where)


def _read_table(path: Path) -> QTable:
    """Read a table by the extension of the file; raise `InputNotFoundError` or `ReaderError`."""
    if not path.is_file():
        raise InputNotFoundError(f"{path}: no such file; check the path")
    form = _FORMATS.get(path.suffix.lower())
    if form is None:
        raise ReaderError(f"{path}: not a known format of tables; expected one of {', '.join(_FORMATS)}")
    with _table_errors(path, form):
        if form == "ds9":
            return _read_regions(path)
        if form == "votable":
            _check_no_streams(path)
        return _read_fits(path) if form == "fits" else _lenient(path, form)


def _lenient(path: Path, form: str) -> QTable:
    """Read a table; one whose units or text columns `QTable` cannot hold is read without them being converted."""
    table = Table.read(path, format=form)
    for name in table.colnames:
        column = table[name]
        if isinstance(column, Column) and column.dtype.kind not in "biuf":
            column.unit = None  # "h:m:s" of sexagesimal text
    return _quantities(table)


def _quantities(table: Table) -> QTable:
    """Return a `QTable` in which columns of unknown units are plain numbers, and angles in any spelling are degrees."""
    plain = QTable(meta=table.meta)
    for name in table.colnames:
        column = table[name]
        unit = getattr(column, "unit", None)
        if isinstance(column, Column) and unit is not None and not _is_known(unit):
            column = column.copy()
            column.unit = u.deg if str(unit).strip().lower() in ("degrees", "degree", "degs") else None
        one = Table({name: column}, copy=False) if isinstance(column, Column) else None
        plain[name] = QTable(one)[name] if one is not None else column
    return plain


def _is_known(unit: object) -> bool:
    return not isinstance(u.Unit(str(unit), parse_strict="silent"), u.UnrecognizedUnit)


def _read_regions(path: Path) -> QTable:
    """Read the centers of the regions of a DS9 file, in sky coordinates."""
    try:
        from regions import Regions
    except ImportError as error:
        raise ReaderError(
            f"{path}: DS9 regions need regions ({error}); python -m pip install 'stellarfm[regions]'"
        ) from error
    regions = Regions.read(path, format="ds9")
    centers = [getattr(region, "center", None) for region in regions]
    sky = [center for center in centers if isinstance(center, SkyCoord)]
    if not sky:
        raise ReaderError(
            f"{path}: no region has a center in sky coordinates among {len(regions)}; expected points or circles "
            "in fk5, icrs or galactic: save the regions from DS9 in WCS coordinates"
        )
    icrs = [center.icrs for center in sky]
    table = QTable({"ra": [c.ra.deg for c in icrs] * u.deg, "dec": [c.dec.deg for c in icrs] * u.deg})
    kept = [region for region, center in zip(regions, centers, strict=True) if isinstance(center, SkyCoord)]
    names = [str(region.meta.get("text", "")) for region in kept]
    if any(names):
        table["name"] = names
    return table


def _check_no_streams(path: Path) -> None:
    """Raise `ReaderError` if a VOTable refers to data elsewhere, which astropy would fetch."""
    from astropy.utils.xml.iterparser import get_xml_iterator

    with get_xml_iterator(str(path)) as events:
        for start, tag, attributes, _ in events:
            if start and tag.upper() == "STREAM" and any(name.lower() == "href" for name in attributes):
                raise ReaderError(f"{path}: its STREAM refers to another file, which is not read; use inline data")


@contextmanager
def _table_errors(path: Path, form: str) -> Iterator[None]:
    """Log warnings, and convert the many errors of astropy's table readers to one-line `ReaderError`."""
    try:
        with logged_warnings(str(path)):
            yield
    except ReaderError:
        raise
    except Exception as error:
        cause = " ".join(str(error).split())[:200]
        raise ReaderError(f"{path}: cannot be read as {form} ({cause}); check the file") from error


def _read_fits(path: Path) -> QTable:
    with fits.open(path, memmap=False) as hdus:
        check_hdus(hdus, str(path))
        tables = [hdu for hdu in hdus if _is_table(hdu)]
        named = [hdu for hdu in tables if _extension(hdu) in SOURCE_EXTENSIONS]
        if not tables:
            raise ReaderError(f"{path}: has no table; expected a table of sources")
        return _quantities(Table.read((named or tables)[0]))


def _extension(hdu: Any) -> str:
    return hdu.name.strip().upper()


def _is_table(hdu: Any) -> bool:
    objects = isinstance(hdu, fits.BinTableHDU | fits.TableHDU)
    return objects and not isinstance(hdu, fits.CompImageHDU) and _extension(hdu) != "LDAC_IMHEAD"
