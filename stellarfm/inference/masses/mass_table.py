"""Tables of masses with units, and their files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.table import QTable

from stellarfm.exceptions import MapError, StellarFMError
from stellarfm.maps.io.fits_image import write_hdus
from stellarfm.output import check_output, new_file

__all__ = [
    "check_masses_path",
    "interval_columns",
    "level_name",
    "mass_table",
    "write_masses",
]

#: Ending -> format, for tables of masses.
ENDINGS = {".fits": "fits", ".ecsv": "ascii.ecsv", ".vot": "votable", ".xml": "votable", ".parquet": "parquet"}

#: Key of `QTable.meta` -> FITS keyword.
KEYWORDS = {
    "label_kind": "LABELS",
    "depth_class": "DEPTHCLS",
    "prior": "PRIOR",
    "levels": "LEVELS",
    "encoder": "ENCODER",
    "model_sha256": "MODELSHA",
    "stellarfm_version": "SFMVERS",
    "options": "OPTIONS",
    "date": "DATE",
    "decisions": "DECISION",
    "column_species": "SPECIES",
    "distance_error": "DISTERR",
}

DESCRIPTIONS = {
    "mass": "median mass",
    "mass_mean": "ten to the power of the mean log10 mass",
    "log_mass_error": "half the width of the narrowest interval, in dex",
    "coverage": "fraction of usable pixels in the window",
    "ood": "largest score of unfamiliarity in units of its threshold; above 1: flagged",
    "flags": "bits of stellarfm.inference.MassFlag",
}


def level_name(level: float) -> str:
    """Return a level as it is written in column names.

    Examples
    --------
    >>> level_name(0.68), level_name(0.955)
    ('68', '95p5')
    """
    return f"{100 * level:g}".replace(".", "p")


def interval_columns(level: float) -> tuple[str, str]:
    """Return the names of the columns of the lower and upper end of an interval.

    Examples
    --------
    >>> interval_columns(0.68)
    ('mass_lower_68', 'mass_upper_68')
    """
    return f"mass_lower_{level_name(level)}", f"mass_upper_{level_name(level)}"


def mass_table(
    stars: QTable,
    *,
    log_mass: np.ndarray,
    mean: np.ndarray,
    intervals: Mapping[float, tuple[np.ndarray, np.ndarray]],
    coverage: np.ndarray,
    ood: np.ndarray,
    flags: np.ndarray,
    quantiles: Mapping[float, np.ndarray] | None = None,
    samples: np.ndarray | None = None,
) -> QTable:
    """Return the table of masses, a row per window.

    Parameters
    ----------
    stars : QTable
        Names and positions of the stars; a column ``mass`` in it (a label) is left out.
    log_mass, mean : ndarray
        Median and mean of log10 of the mass in solMass, shape (N,).
    intervals : mapping
        Level -> lower and upper end of log10 mass, each (N,).
    coverage : ndarray
        Fraction of usable pixels, shape (N,).
    ood : ndarray
        Largest score of unfamiliarity in units of its threshold, shape (N,).
    flags : ndarray
        Bits of `MassFlag`, shape (N,).
    quantiles : mapping, optional
        Probability -> quantile of log10 mass, shape (N,).
    samples : ndarray, optional
        Draws of log10 mass, shape (N, n).

    Returns
    -------
    QTable
        The columns of `stars`, then ``mass``, ``mass_mean``, ``mass_lower_68``, ``mass_upper_68``, ... [solMass],
        ``log_mass_error`` [dex], ``coverage``, ``ood``, ``flags``, and, if given, ``mass_quantile_05``, ... and
        ``mass_samples`` [solMass].
    """
    columns = {"mass": 10**log_mass * u.solMass, "mass_mean": 10**mean * u.solMass}
    for level, ends in intervals.items():
        for name, end in zip(interval_columns(level), ends, strict=True):
            columns[name] = 10**end * u.solMass
    lower, upper = intervals[min(intervals)]
    columns |= {"log_mass_error": (upper - lower) / 2, "coverage": coverage.astype(np.float32)}
    columns |= {"ood": ood.astype(np.float32), "flags": flags.astype(np.int16)}
    for probability, values in (quantiles or {}).items():
        columns[f"mass_quantile_{level_name(probability).zfill(2)}"] = 10**values * u.solMass
    if samples is not None:
        columns["mass_samples"] = (10**samples).astype(np.float32) * u.solMass
    table = QTable(stars[[name for name in stars.colnames if name not in columns]], copy=True)
    for name, values in columns.items():
        table[name] = values
        table[name].info.description = DESCRIPTIONS.get(name)
    table.meta = {"levels": " ".join(f"{level:g}" for level in intervals)}
    return table


def check_masses_path(path: str | os.PathLike, *, overwrite: bool = False) -> Path:
    """Return `path` as a `Path` if a table of masses can be written there.

    Raises
    ------
    OutputExistsError
        If the file exists and `overwrite` is False.
    MapError
        If the file name ending is not that of a table format.
    """
    path = check_output(path, overwrite=overwrite)
    if path.suffix.lower() not in ENDINGS:
        raise MapError(f"{path}: no table format has the ending {path.suffix!r}; choose from {', '.join(ENDINGS)}")
    return path


def write_masses(
    table: QTable, path: str | os.PathLike, *, analogues: QTable | None = None, overwrite: bool = False
) -> Path:
    """Write a table of masses in the format of the file name ending: .fits, .ecsv, .vot, .xml or .parquet.

    Parameters
    ----------
    table : QTable
        Masses as `StellarModel.estimate` returns them.
    path : path
        Output file.
    analogues : QTable, optional
        Second table, extension ANALOGUES of a FITS file.
    overwrite : bool
        Replace an existing file.

    Returns
    -------
    Path
        The path of the file.

    Raises
    ------
    MapError, OutputExistsError
        If `analogues` are given for another format, the ending is not that of a table format, or the file exists and
        `overwrite` is False.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from astropy import units as u
    >>> from astropy.table import QTable
    >>> table = QTable({"star": [1, 2], "mass": [0.5, 2.0] * u.solMass})
    >>> with TemporaryDirectory() as folder:
    ...     path = write_masses(table, f"{folder}/masses.ecsv")
    ...     print(QTable.read(path)["mass"])
    [0.5 2. ] solMass
    """
    path = check_masses_path(path, overwrite=overwrite)
    kind = ENDINGS[path.suffix.lower()]
    if analogues is not None and kind != "fits":
        raise MapError(f"{path.name} cannot hold a second table; write `analogues` to a file of its own")
    with new_file(path, overwrite=overwrite) as temporary:
        if kind == "fits":
            hdus = [_table_hdu(table, "MASSES")]
            hdus += [] if analogues is None else [_table_hdu(analogues, "ANALOGUES")]
            write_hdus([fits.PrimaryHDU(), *hdus], temporary)
        elif kind == "votable":
            _write_votable(table, temporary)
        else:
            try:
                table.write(temporary, format=kind)
            except ModuleNotFoundError as error:
                raise StellarFMError(
                    f"{path.name}: {error}; pip install 'stellarfm[tables]', or write .fits or .ecsv"
                ) from error
    return path


def _without_meta(table: QTable) -> QTable:
    """Return a copy without meta data and without int8 columns, which astropy would write as logical ones."""
    plain = table.copy()
    plain.meta = {}
    for name in plain.colnames:
        if plain[name].dtype == np.int8:  # neither FITS tables nor VOTables have a signed byte
            plain[name] = plain[name].astype(np.int16)
    return plain


def _table_hdu(table: QTable, name: str) -> fits.BinTableHDU:
    """Return a table extension whose header holds the meta data."""
    if foreign := [name for name in table.colnames if not name.isascii()]:
        raise MapError(f"column {foreign[0]!r} cannot be written to FITS, which holds ASCII names only; write .ecsv")
    hdu = fits.table_to_hdu(_without_meta(table))
    hdu.name = name
    for key, value in table.meta.items():
        hdu.header[_keyword(key)] = value
    for number, name in enumerate(table.colnames, start=1):
        if table[name].info.description:
            hdu.header[f"TCOMM{number}"] = table[name].info.description
    return hdu


def _keyword(key: str) -> str:
    """Return the FITS keyword of a key of the meta data; ``input_1_sha256`` becomes INSHA1."""
    if key.startswith("input_"):
        number, _, what = key.removeprefix("input_").partition("_")
        return f"INSHA{number}" if what else f"INPUT{number}"
    return KEYWORDS.get(key, key.upper()[:8])


def _write_votable(table: QTable, path: Path) -> None:
    """Write a VOTable whose meta data are INFO elements."""
    from astropy.io.votable import from_table
    from astropy.io.votable.tree import Info

    plain = _without_meta(table)
    for name in plain.colnames:
        if plain[name].dtype.kind in "iu" and not isinstance(plain[name], u.Quantity):
            plain[name] = plain[name].astype(np.int64)  # VOTables have no unsigned integers of two bytes or more
    votable = from_table(plain)
    votable.resources[0].infos.extend(Info(name=key, value=str(value)) for key, value in table.meta.items())
    votable.to_xml(str(path))
