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
    "check_schema",
    "has_schema",
    "hdf5_errors",
    "read_quantity",
    "read_table",
    "read_text",
    "read_unit",
    "write_table",
]


def has_schema(path: Path, schema: str) -> bool:
    """Return True if `path` is an HDF5 file of this schema; never raises."""
    try:
        with h5py.File(path) as file:
            return read_text(file, "schema") == schema
    except (OSError, RuntimeError, UnicodeDecodeError):
        return False


def check_schema(file: h5py.File, path: Path, *, schema: str, version: int) -> None:
    """Raise `ReaderError` unless the root attributes state this schema, in this version or an earlier one."""
    found, number = read_text(file, "schema"), file.attrs.get("schema_version", 0)
    if found != schema:
        raise ReaderError(f"{path}: schema is {found!r}; expected {schema!r}")
    if number > version:
        raise ReaderError(f"{path}: schema version {number}, expected at most {version}; update stellarfm")


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
    """Return a text attribute, however HDF5 stores it; empty if absent."""
    value = group.attrs.get(name, "")
    return value.decode() if isinstance(value, bytes) else str(value)


def read_unit(text: object, where: str, expected: str) -> u.UnitBase:
    """Parse a unit attribute; raise `UnitsError` if it is None or unreadable."""
    if text is None:
        raise UnitsError(f"{where} has no unit attribute; expected {expected!r}")
    try:
        return clean_unit(text.decode() if isinstance(text, bytes) else str(text))
    except UnitsError as error:
        raise UnitsError(f"{where}: {error}") from error


def read_quantity(file: h5py.File, name: str, path: Path, *, expected: str) -> u.Quantity:
    """Return the attribute `name`, one or more numbers, in the unit of the attribute ``<name>_unit``."""
    if name not in file.attrs:
        raise ReaderError(f"{path}: attribute {name!r} is missing; expected numbers, for instance in {expected}")
    where = f"{path}: attribute {name!r}"
    return np.asarray(file.attrs[name], dtype=float) * read_unit(file.attrs.get(f"{name}_unit"), where, expected)


def read_table(group: h5py.Group, path: Path) -> QTable:
    """Read a table from a group of one dataset per column."""
    table = QTable()
    for name, dataset in group.items():
        values = dataset.asstr()[()].astype(str) if h5py.check_string_dtype(dataset.dtype) else dataset[()]
        unit = dataset.attrs.get("unit")
        where = f"{path}: column '{group.name.strip('/')}/{name}'"
        table[name] = values if unit is None else u.Quantity(values, read_unit(unit, where, "a unit"), copy=False)
    return table


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
