"""Tables of masses and their files. Numbers become Quantities here, and nowhere before."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.table import QTable

from stellarfm.exceptions import MapError, StellarFMError
from stellarfm.output import check_output, new_file

__all__ = [
    "check_masses_path",
    "level_name",
    "mass_table",
    "write_hdus",
    "write_masses",
]

#: Ending -> format, for tables of masses.
ENDINGS = {".fits": "fits", ".ecsv": "ascii.ecsv", ".vot": "votable", ".xml": "votable", ".parquet": "parquet"}

#: Key of `QTable.meta` -> FITS keyword.
KEYWORDS = {
    "label_kind": "LABELS",
    "levels": "LEVELS",
    "encoder": "ENCODER",
    "model_sha256": "MODELSHA",
    "stellarfm_version": "SFMVERS",
    "options": "OPTIONS",
    "date": "DATE",
}

DESCRIPTIONS = {
    "mass": "ten to the power of the estimated log10 mass",
    "log_mass_error": "half the width of the narrowest interval, in dex",
    "coverage": "fraction of usable pixels in the window",
    "ood": "distance to the reference set; above 1: farther than 99 % of the reference stars",
    "flags": "bits of stellarfm.inference.MassFlag",
}


def level_name(level: float) -> str:
    """A level as it stands in column names: 0.68 is ``68``, 0.955 is ``95p5``."""
    return f"{100 * level:g}".replace(".", "p")


def mass_table(
    stars: QTable,
    *,
    log_mass: np.ndarray,
    offsets: Mapping[float, tuple[np.ndarray, np.ndarray]],
    coverage: np.ndarray,
    ood: np.ndarray,
    flags: np.ndarray,
    meta: Mapping[str, Any],
) -> QTable:
    """The table of masses: one row a window.

    Parameters
    ----------
    stars : QTable
        Who the stars are; a column ``mass`` in it (a label) is left out.
    log_mass : ndarray
        Shape (N,), log10 of solMass.
    offsets : mapping
        Level -> lower and upper offsets of `log_mass`, each (N,), dex.
    coverage, ood, flags : ndarray
        Shape (N,).
    meta : mapping
        Kept as the table's meta data.

    Returns
    -------
    QTable
        The columns of `stars`, then ``mass``, ``mass_lower_68``, ``mass_upper_68``, ... [solMass], ``log_mass_error``
        [dex], ``coverage``, ``ood``, ``flags``.
    """
    columns = {"mass": 10**log_mass * u.solMass}
    for level, (lower, upper) in offsets.items():
        columns[f"mass_lower_{level_name(level)}"] = 10 ** (log_mass + lower) * u.solMass
        columns[f"mass_upper_{level_name(level)}"] = 10 ** (log_mass + upper) * u.solMass
    lower, upper = offsets[min(offsets)]
    columns |= {"log_mass_error": (upper - lower) / 2, "coverage": coverage.astype(np.float32)}
    columns |= {"ood": ood.astype(np.float32), "flags": flags.astype(np.int16)}
    table = QTable(stars[[name for name in stars.colnames if name not in columns]], copy=True)
    for name, values in columns.items():
        table[name] = values
        table[name].info.description = DESCRIPTIONS.get(name)
    table.meta = {"levels": " ".join(f"{level:g}" for level in offsets), **meta}
    return table


def check_masses_path(path: str | os.PathLike, *, overwrite: bool = False) -> Path:
    """`path`, after making sure early that a table of masses can be written there.

    Raises
    ------
    OutputExistsError
        If it exists and `overwrite` is False.
    MapError
        If its ending names no format.
    """
    path = check_output(path, overwrite=overwrite)
    if path.suffix.lower() not in ENDINGS:
        raise MapError(f"{path}: no table format has the ending {path.suffix!r}; choose from {', '.join(ENDINGS)}")
    return path


def write_masses(table: QTable, path: str | os.PathLike, *, overwrite: bool = False) -> Path:
    """Write a table of masses, in the format of the ending: .fits, .ecsv, .vot, .xml or .parquet.

    Raises
    ------
    MapError, OutputExistsError
        See `check_masses_path`.
    """
    path = check_masses_path(path, overwrite=overwrite)
    kind = ENDINGS[path.suffix.lower()]
    with new_file(path, overwrite=overwrite) as temporary:
        if kind == "fits":
            _write_fits(table, temporary)
        elif kind == "votable":
            _write_votable(table, temporary)
        else:
            _write_table(table, temporary, kind)
    return path


def _write_table(table: QTable, path: Path, kind: str) -> None:
    """Formats that astropy writes with all meta data."""
    try:
        table.write(path, format=kind)
    except ModuleNotFoundError as error:
        raise StellarFMError(
            f"{path.name}: {error}; pip install 'stellarfm[tables]', or write .fits or .ecsv"
        ) from error


def _write_fits(table: QTable, path: Path) -> None:
    """A primary HDU and the table MASSES, whose header holds the meta data."""
    plain = table.copy()
    plain.meta = {}
    for name in plain.colnames:
        if plain[name].dtype == np.int8:  # astropy would write it as logical: FITS tables have no signed byte
            plain[name] = plain[name].astype(np.int16)
    hdu = fits.table_to_hdu(plain)
    hdu.name = "MASSES"
    for key, value in table.meta.items():
        hdu.header[_keyword(key)] = value
    for number, name in enumerate(table.colnames, start=1):
        if table[name].info.description:
            hdu.header[f"TCOMM{number}"] = table[name].info.description
    write_hdus([fits.PrimaryHDU(), hdu], path)


def _keyword(key: str) -> str:
    """FITS keyword of a key of the meta data; ``input_1_sha256`` becomes INSHA1."""
    if key.startswith("input_"):
        number, _, what = key.removeprefix("input_").partition("_")
        return f"INSHA{number}" if what else f"INPUT{number}"
    return KEYWORDS.get(key, key.upper()[:8])


def _write_votable(table: QTable, path: Path) -> None:
    """A VOTable whose meta data are INFO elements."""
    from astropy.io.votable import from_table
    from astropy.io.votable.tree import Info

    plain = table.copy()
    plain.meta = {}
    for name in plain.colnames:
        if plain[name].dtype == np.int8:  # astropy would write it as logical: FITS tables have no signed byte
            plain[name] = plain[name].astype(np.int16)
    for name in plain.colnames:
        if plain[name].dtype.kind in "iu" and not isinstance(plain[name], u.Quantity):
            plain[name] = plain[name].astype(np.int64)  # VOTable has no signed bytes and no unsigned words
    votable = from_table(plain)
    votable.resources[0].infos.extend(Info(name=key, value=str(value)) for key, value in table.meta.items())
    votable.to_xml(str(path))


def write_hdus(hdus: Sequence[Any], path: str | os.PathLike) -> None:
    """Write HDUs with CHECKSUM and DATASUM whose comments hold no date, so that equal data give equal files."""
    hdulist = fits.HDUList(list(hdus))
    hdulist.update_extend()
    for hdu in hdulist:
        hdu.add_checksum(when="data and header of this HDU")
    hdulist.writeto(path)
