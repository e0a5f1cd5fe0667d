"""Parts common to the HDF5 files of stellarfm: schema, attributes with units, tables of one dataset per column."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from astropy import units as u
from astropy.table import QTable

from stellarfm.exceptions import MapError, ReaderError, StellarFMError, UnitsError
from stellarfm.maps.units import clean_unit

__all__ = [
    "check_dataset",
    "check_schema",
    "has_schema",
    "hdf5_errors",
    "read_number",
    "read_quantity",
    "read_table",
    "read_text",
    "read_unit",
    "write_table",
]


#: Largest size of a number in bytes; longer ones are specific to a machine.
LARGEST_NUMBER = 8
#: Columns with a known meaning and their units; others may have any unit.
COLUMN_UNITS: dict[str, u.UnitBase] = {
    "mass": u.solMass,
    **dict.fromkeys("xyz", u.pc),
    **dict.fromkeys(("vx", "vy", "vz"), u.km / u.s),
    **dict.fromkeys(("age", "time", "formation_time"), u.Myr),
    "accretion_rate": u.solMass / u.yr,
}


def has_schema(path: Path, schema: str) -> bool:
    """Return True if `path` is an HDF5 file of this schema; never raises."""
    try:
        with h5py.File(path) as file:
            return read_text(file, "schema") == schema
    except (OSError, RuntimeError, UnicodeDecodeError):
        return False


def check_schema(file: h5py.File, path: Path, *, schema: str, version: int) -> None:
    """Raise `ReaderError` unless the root attributes state this schema, in this version or an earlier one."""
    found = read_text(file, "schema")
    if found != schema:
        raise ReaderError(f"{path}: schema is {found!r}; expected {schema!r}")
    number = read_number(file, "schema_version", path, default=0)
    if number > version:
        raise ReaderError(f"{path}: schema version {number:g}, expected at most {version}; update stellarfm")


@contextmanager
def hdf5_errors(path: Path) -> Iterator[None]:
    """Convert the errors of h5py to one-line `ReaderError` that names the file."""
    try:
        yield
    except StellarFMError:
        raise
    except (OSError, RuntimeError, UnicodeDecodeError) as error:
        raise ReaderError(f"{path}: not an HDF5 file, or a truncated one ({error}); fetch it again") from error


def read_text(group: h5py.Group, name: str) -> str:
    """Return a text attribute, however HDF5 stores it; empty if absent. `ReaderError` unless it is one value."""
    value = group.attrs.get(name, "")
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.item()
    if not isinstance(value, str | bytes | np.generic | int | float):
        raise ReaderError(f"{group.file.filename}: attribute {name!r} is not a text; expected one value")
    return value.decode() if isinstance(value, bytes) else str(value)


def read_number(file: h5py.File, name: str, path: Path, *, default: float) -> float:
    """Return an attribute that is one finite real number; `ReaderError` for anything else."""
    value = np.asarray(file.attrs.get(name, default))
    if value.size != 1 or value.dtype.kind not in "iuf" or not np.isfinite(value).all():
        raise ReaderError(f"{path}: attribute {name!r} is {_shown(value)}; expected a finite number")
    return float(value.reshape(()))


def read_unit(text: object, where: str, expected: str) -> u.UnitBase:
    """Parse a unit attribute; raise `UnitsError` if it is None, not a text or unreadable."""
    if text is None:
        raise UnitsError(f"{where} has no unit attribute; expected {expected!r}")
    if not isinstance(text, str | bytes):
        raise UnitsError(f"{where} has a unit attribute that is not a text; expected {expected!r}")
    try:
        return clean_unit(text.decode() if isinstance(text, bytes) else text)
    except UnitsError as error:
        raise UnitsError(f"{where}: {error}") from error


def read_quantity(file: h5py.File, name: str, path: Path, *, expected: str) -> u.Quantity:
    """Return the attribute `name`, one or more numbers, in the unit of the attribute ``<name>_unit``."""
    where = f"{path}: attribute {name!r}"
    if name not in file.attrs:
        raise ReaderError(f"{where} is missing; expected numbers, for instance in {expected}")
    values = np.asarray(file.attrs[name])
    if values.dtype.kind not in "iuf":
        raise ReaderError(f"{where} is {_shown(values)}; expected numbers, for instance in {expected}")
    unit = read_unit(file.attrs.get(f"{name}_unit"), where, expected)
    if not unit.is_equivalent(u.Unit(expected)):
        raise UnitsError(f"{where} is in {unit.to_string()}; expected something like {expected}")
    return values.astype(float) * unit


def check_dataset(dataset: object, where: str, *, kinds: str = "biuf", ndim: tuple[int, ...] = (1, 2)) -> None:
    """Raise `ReaderError` unless an object is a dataset of plain values with one row per entry.

    Parameters
    ----------
    dataset : object
        Member of an HDF5 group.
    where : str
        File and name, for the message.
    kinds : str
        Accepted kinds of `numpy.dtype`; strings are accepted in addition if it contains ``"O"``.
    ndim : tuple of int
        Accepted numbers of dimensions.
    """
    if not isinstance(dataset, h5py.Dataset):
        raise ReaderError(f"{where} is not a dataset; expected an array of values")
    try:
        kind, size, string = dataset.dtype.kind, dataset.dtype.itemsize, h5py.check_string_dtype(dataset.dtype)
    except (TypeError, ValueError) as error:
        raise ReaderError(f"{where} has values of an unknown type ({error}); expected numbers or text") from error
    if not (string is not None and "O" in kinds) and (kind not in kinds.replace("O", "") or size > LARGEST_NUMBER):
        raise ReaderError(f"{where} has values of type {dataset.dtype}; expected plain numbers or text")
    if dataset.shape is None or dataset.ndim not in ndim:
        found = "is empty" if dataset.shape is None else f"has shape {dataset.shape}"
        raise ReaderError(f"{where} {found}; expected an array of {' or '.join(map(str, ndim))} dimensions")


def read_table(group: h5py.Group, path: Path) -> QTable:
    """Read a table from a group of one dataset per column; `ReaderError` or `UnitsError` if a column does not fit."""
    if not isinstance(group, h5py.Group):
        raise ReaderError(f"{path}: {group.name.strip('/')!r} is not a group; expected one with a dataset per column")
    table = QTable()
    for name in group:
        where = f"{path}: column '{group.name.strip('/')}/{name}'"
        dataset = group.get(name)
        check_dataset(dataset, where, kinds="biufO")
        if table.colnames and len(dataset) != len(table):
            raise ReaderError(f"{where} has {len(dataset)} rows, but {table.colnames[0]!r} has {len(table)}")
        text = h5py.check_string_dtype(dataset.dtype) is not None
        values = dataset.asstr()[()].astype(str) if text else dataset[()]
        unit = dataset.attrs.get("unit")
        if text and (unit is not None or name in COLUMN_UNITS):
            raise ReaderError(f"{where} is text; expected numbers")
        table[name] = values if unit is None else u.Quantity(values, _column_unit(name, unit, where), copy=False)
    return table


def _column_unit(name: str, text: object, where: str) -> u.UnitBase:
    """Return the unit of a column; raise `UnitsError` if a column with a known meaning is of another kind."""
    expected = COLUMN_UNITS.get(name)
    unit = read_unit(text, where, "a unit" if expected is None else expected.to_string())
    if expected is not None and not unit.is_equivalent(expected):
        raise UnitsError(f"{where} has unit {unit.to_string()!r}; expected {expected.to_string()!r} or the like")
    return unit


def _shown(values: np.ndarray) -> str:
    """Return an array in a few characters."""
    text = " ".join(repr(values.tolist() if values.dtype.kind != "O" else str(values)).split())
    return text if len(text) <= 40 else f"{text[:40]}..."


def write_table(group: h5py.Group, table: QTable) -> None:
    """Write a table into a group, one dataset per column; masked values become NaN or empty text."""
    for name in table.colnames:
        values = _plain(table[name])
        if values.dtype.kind not in "biufUS":
            raise MapError(f"column {name!r} of the stars cannot be written to HDF5; expected numbers or text")
        data = values.astype(object) if values.dtype.kind == "U" else values
        dataset = group.create_dataset(name, data=data, dtype=h5py.string_dtype() if data.dtype == object else None)
        if getattr(table[name], "unit", None) is not None:
            dataset.attrs["unit"] = table[name].unit.to_string()


def _plain(column: Any) -> np.ndarray:
    """Return numbers or text of a column; masked values become NaN or empty text."""
    if hasattr(column, "filled"):
        text = column.dtype.kind in "SU"
        column = column.filled("") if text else column.astype(float).filled(np.nan)
    return np.asarray(getattr(column, "value", column))
