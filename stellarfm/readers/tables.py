"""Readers of tables: sources on the sky, places in a simulation."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.table import QTable

from stellarfm.exceptions import InputNotFoundError, MapError, ReaderError
from stellarfm.maps import normalize_sources
from stellarfm.maps.io.missing_data import logged_warnings
from stellarfm.maps.units import require_unit

__all__ = ["read_positions", "read_sources"]

_FORMATS = {
    ".csv": "ascii.csv",
    ".ecsv": "ascii.ecsv",
    ".fit": "fits",
    ".fits": "fits",
    ".tsv": "ascii.tab",
    ".txt": "ascii",
    ".dat": "ascii",
    ".vot": "votable",
    ".votable": "votable",
    ".xml": "votable",
}


def read_sources(path: str | os.PathLike) -> QTable:
    """A table of sources: CSV, ECSV, FITS, VOTable or text, by ending.

    Parameters
    ----------
    path : path
        With ``ra`` and ``dec`` under any usual name, or a SkyCoord column. In FITS the table ``STARS`` or
        ``SOURCES`` is taken, else the first.

    Returns
    -------
    QTable
        ``star``, ``ra``, ``dec`` (ICRS, deg), then all other columns.

    Raises
    ------
    InputNotFoundError, ReaderError
        If the file is absent, of another ending, or cannot be read.
    MapError
        If it holds no positions.
    """
    path = Path(path)
    if not path.is_file():
        raise InputNotFoundError(f"{path}: no such file; check the path")
    table = _read(path)
    try:
        return normalize_sources(table)
    except MapError as error:
        raise type(error)(f"{path}: {error}") from error


def read_positions(path: str | os.PathLike) -> QTable:
    """A table of places in the box of a simulation, in the same kinds of files.

    Parameters
    ----------
    path : path
        With the columns ``x``, ``y``, ``z`` in box coordinates: pc, unless a column has another unit.

    Returns
    -------
    QTable
        ``star`` (numbers from 1, unless the table names them), ``x``, ``y``, ``z`` (pc), then all other columns.

    Raises
    ------
    InputNotFoundError, ReaderError
        If the file is absent, of another ending, or cannot be read.
    MapError, UnitsError
        If it holds no positions, or they are no lengths.
    """
    path = Path(path)
    if not path.is_file():
        raise InputNotFoundError(f"{path}: no such file; check the path")
    table = _read(path)
    if missing := [name for name in "xyz" if name not in table.colnames]:
        raise MapError(f"{path}: no column {', '.join(missing)} among {', '.join(table.colnames)}; expected x, y and z")
    if not len(table):
        raise MapError(f"{path}: the table is empty; expected at least one position")
    stars = table["star"] if "star" in table.colnames else np.arange(1, len(table) + 1)
    places = QTable({"star": stars, **{name: _place(table[name], f"{path}: column {name!r}") for name in "xyz"}})
    for name in table.colnames:
        if name not in places.colnames:
            places[name] = table[name]
    return places


def _place(column: Any, where: str) -> u.Quantity:
    """A column as lengths in pc; one without a unit is taken to be in pc."""
    try:
        values = np.asarray(getattr(column, "value", column), dtype=float)
    except ValueError as error:
        raise MapError(f"{where} holds no numbers ({error}); expected box coordinates") from error
    return require_unit(values * (getattr(column, "unit", None) or u.pc), u.pc, where)


def _read(path: Path) -> QTable:
    form = _FORMATS.get(path.suffix.lower())
    if form is None:
        raise ReaderError(f"{path}: not a known kind of table; expected one of {', '.join(_FORMATS)}")
    try:
        with logged_warnings(str(path)):
            return _read_fits(path) if form == "fits" else QTable.read(path, format=form)
    except ReaderError:
        raise
    except Exception as error:  # astropy's table readers raise many kinds
        cause = " ".join(str(error).split())[:200]
        raise ReaderError(f"{path}: cannot be read as {form} ({cause}); check the file") from error


def _read_fits(path: Path) -> QTable:
    with fits.open(path, memmap=False) as hdus:
        tables = [hdu for hdu in hdus if isinstance(hdu, fits.BinTableHDU | fits.TableHDU)]
        named = [hdu for hdu in tables if hdu.name in ("STARS", "SOURCES")]
        if not tables:
            raise ReaderError(f"{path}: holds no table; expected a table of sources")
        return QTable.read((named or tables)[0])
