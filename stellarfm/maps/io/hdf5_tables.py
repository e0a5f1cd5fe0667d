"""What our HDF5 files share: attributes, units, tables with one dataset a column, and one line for a broken file."""

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
    """Whether `path` is an HDF5 file of this schema; never raises."""
    try:
        with h5py.File(path) as file:
            return read_text(file, "schema") == schema
    except (OSError, RuntimeError, UnicodeDecodeError):
        return False


def check_schema(file: h5py.File, path: Path, *, schema: str, version: int) -> None:
    """Raise `ReaderError` unless a file says that it is of this schema, and of this version or an earlier one."""
    found, number = read_text(file, "schema"), file.attrs.get("schema_version", 0)
    if found != schema:
        raise ReaderError(f"{path}: schema is {found!r}, expected {schema!r}; this is another kind of file")
    if number > version:
        raise ReaderError(f"{path}: schema version {number}, expected at most {version}; update stellarfm")


@contextmanager
def hdf5_errors(path: Path) -> Iterator[None]:
    """Turn what h5py raises into one line about the file."""
    try:
        yield
    except StellarFMError:
        raise
    except (OSError, RuntimeError, UnicodeDecodeError) as error:
        raise ReaderError(f"{path}: not an HDF5 file, or a truncated one ({error}); fetch it again") from error


def read_text(group: h5py.Group, name: str) -> str:
    """A text attribute, whichever way HDF5 stores it; empty if absent."""
    value = group.attrs.get(name, "")
    return value.decode() if isinstance(value, bytes) else str(value)


def read_unit(text: object, where: str, expected: str) -> u.UnitBase:
    """A unit attribute; missing or unreadable ones are refused."""
    if text is None:
        raise UnitsError(f"{where} has no unit attribute; expected {expected!r}")
    try:
        return clean_unit(text.decode() if isinstance(text, bytes) else str(text))
    except UnitsError as error:
        raise UnitsError(f"{where}: {error}") from error


def read_quantity(file: h5py.File, name: str, path: Path, *, expected: str) -> u.Quantity:
    """The attribute `name`, a number or numbers in the unit that the attribute ``<name>_unit`` tells."""
    if name not in file.attrs:
        raise ReaderError(f"{path}: attribute {name!r} is missing; expected numbers in {expected}, say")
    where = f"{path}: attribute {name!r}"
    return np.asarray(file.attrs[name], dtype=float) * read_unit(file.attrs.get(f"{name}_unit"), where, expected)


def read_table(group: h5py.Group, path: Path) -> QTable:
    """A table from a group with one dataset a column."""
    table = QTable()
    for name, dataset in group.items():
        values = dataset.asstr()[()].astype(str) if h5py.check_string_dtype(dataset.dtype) else dataset[()]
        unit = dataset.attrs.get("unit")
        where = f"{path}: column '{group.name.strip('/')}/{name}'"
        table[name] = values if unit is None else u.Quantity(values, read_unit(unit, where, "a unit"), copy=False)
    return table


def write_table(group: h5py.Group, table: QTable) -> None:
    """One dataset a column."""
    for name in table.colnames:
        values = _plain(table[name])
        if values.dtype.kind not in "biufUS":
            raise MapError(f"column {name!r} of the stars cannot be written to HDF5; expected numbers or text")
        data = values.astype(object) if values.dtype.kind == "U" else values
        dataset = group.create_dataset(name, data=data, dtype=h5py.string_dtype() if data.dtype == object else None)
        if getattr(table[name], "unit", None) is not None:
            dataset.attrs["unit"] = table[name].unit.to_string()


def _plain(column: Any) -> np.ndarray:
    """Numbers or text of a column; what is masked becomes NaN or empty."""
    if hasattr(column, "filled"):
        text = column.dtype.kind in "SU"
        column = column.filled("") if text else column.astype(float).filled(np.nan)
    return np.asarray(getattr(column, "value", column))
