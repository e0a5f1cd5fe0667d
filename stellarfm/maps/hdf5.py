"""The HDF5 form of a MapSet: schema ``stellarfm-mapset``, version 1."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from astropy import units as u
from astropy.table import QTable

from stellarfm.exceptions import InputNotFoundError, MapError, ReaderError, UnitsError
from stellarfm.maps.mapset import MapSet
from stellarfm.maps.missing import blank_zeros
from stellarfm.maps.units import COLUMN_UNIT, MASS_PER_HYDROGEN, VELOCITY_UNIT, check_plausible, clean_unit
from stellarfm.output import new_file

__all__ = ["is_mapset", "read_mapset", "write_mapset"]

SCHEMA = "stellarfm-mapset"
SCHEMA_VERSION = 1

#: Dataset -> (unit in memory, unit as the file spells it, whether an exact zero means missing).
_DATASETS = {
    "column_density": (COLUMN_UNIT, "cm-2", True),
    "velocity": (VELOCITY_UNIT, "km / s", False),
    "velocity_dispersion": (VELOCITY_UNIT, "km / s", True),
}


def is_mapset(path: str | os.PathLike) -> bool:
    """Whether `path` is an HDF5 file of this schema; never raises."""
    try:
        with h5py.File(path) as file:
            return _text(file, "schema") == SCHEMA
    except (OSError, RuntimeError, UnicodeDecodeError):
        return False


def read_mapset(path: str | os.PathLike) -> MapSet:
    """Read a map set; see `MapSet.read`."""
    path = Path(path)
    if not path.is_file():
        raise InputNotFoundError(f"{path}: no such file; check the path")
    with _reader_errors(path), h5py.File(path) as file:
        _check_schema(file, path)
        return _located(path, _columns(file, path))


def _located(path: Path, columns: dict) -> MapSet:
    """Build the set; an error names the file."""
    try:
        return MapSet(**columns)
    except MapError as error:
        raise type(error)(f"{path}: {error}") from error


@contextmanager
def _reader_errors(path: Path) -> Iterator[None]:
    """Turn what h5py raises into one line about the file."""
    try:
        yield
    except (InputNotFoundError, MapError, ReaderError):
        raise
    except (OSError, RuntimeError, UnicodeDecodeError) as error:
        raise ReaderError(f"{path}: not an HDF5 file, or a truncated one ({error}); fetch it again") from error


def _check_schema(file: h5py.File, path: Path) -> None:
    schema, version = _text(file, "schema"), file.attrs.get("schema_version", 0)
    if schema != SCHEMA:
        raise ReaderError(f"{path}: schema is {schema!r}, expected {SCHEMA!r}; this is not a map set of stellarfm")
    if version > SCHEMA_VERSION:
        raise ReaderError(f"{path}: schema version {version}, expected at most {SCHEMA_VERSION}; update stellarfm")
    for name in (*_DATASETS, "stars"):
        if name not in file:
            raise ReaderError(f"{path}: {name!r} is missing; expected {', '.join(_DATASETS)} and the group stars")


def _columns(file: h5py.File, path: Path) -> dict:
    """Everything a MapSet is made of."""
    maps = {name: _read_maps(file[name], name, path) for name in _DATASETS}
    check_plausible(maps["column_density"], where=f"{path}: dataset 'column_density'")
    return {
        **maps,
        "stars": _read_stars(file["stars"], path),
        "pixel_scale": _read_length(file, "pixel_scale", path),
        "depth": _read_length(file, "depth", path),
        "mass_per_hydrogen": float(file.attrs.get("mass_per_hydrogen", MASS_PER_HYDROGEN)),
        "label_kind": _text(file, "label_kind") or None,
        "simulation": _text(file, "simulation"),
        "provenance": _text(file, "provenance"),
    }


def _text(file: h5py.File, name: str) -> str:
    """A text attribute, whichever way HDF5 stores it; empty if absent."""
    value = file.attrs.get(name, "")
    return value.decode() if isinstance(value, bytes) else str(value)


def _unit(text: object, where: str, expected: str) -> u.UnitBase:
    """A unit attribute; missing or unreadable ones are refused."""
    if text is None:
        raise UnitsError(f"{where} has no unit attribute; expected {expected!r}")
    try:
        return clean_unit(str(text))
    except UnitsError as error:
        raise UnitsError(f"{where}: {error}") from error


def _read_maps(dataset: h5py.Dataset, name: str, path: Path) -> u.Quantity:
    unit, spelling, zero_is_missing = _DATASETS[name]
    where = f"{path}: dataset {name!r}"
    stored = _unit(dataset.attrs.get("unit"), where, spelling)
    if not stored.is_equivalent(unit):
        raise UnitsError(f"{where} has unit {dataset.attrs['unit']!r}; expected {spelling!r}")
    values = _floating(dataset, where)
    values = blank_zeros(values, where=where) if zero_is_missing else values
    return u.Quantity(values, stored, copy=False).to(unit, copy=False)


def _floating(dataset: h5py.Dataset, where: str) -> np.ndarray:
    if not isinstance(dataset, h5py.Dataset) or dataset.dtype.kind != "f":
        raise MapError(f"{where} is no array of floating-point numbers; expected shape (N, ny, nx)")
    return dataset[()]


def _read_length(file: h5py.File, name: str, path: Path) -> u.Quantity:
    if name not in file.attrs:
        raise ReaderError(f"{path}: attribute {name!r} is missing; expected a length")
    where = f"{path}: attribute {name!r}"
    return float(file.attrs[name]) * _unit(file.attrs.get(f"{name}_unit"), where, "pc")


def _read_stars(group: h5py.Group, path: Path) -> QTable:
    stars = QTable()
    for name, dataset in group.items():
        values = dataset.asstr()[()].astype(str) if h5py.check_string_dtype(dataset.dtype) else dataset[()]
        unit = dataset.attrs.get("unit")
        where = f"{path}: column 'stars/{name}'"
        stars[name] = values if unit is None else u.Quantity(values, _unit(unit, where, "a unit"), copy=False)
    return stars


def write_mapset(mapset: MapSet, path: str | os.PathLike, *, overwrite: bool = False) -> None:
    """Write a map set; see `MapSet.write`."""
    with new_file(path, overwrite=overwrite) as temporary, h5py.File(temporary, "w") as file:
        file.attrs.update(_attributes(mapset))
        for name, (_, spelling, _) in _DATASETS.items():
            _write_maps(file, name, getattr(mapset, name).value, spelling)
        _write_stars(file.create_group("stars"), mapset)


def _attributes(mapset: MapSet) -> dict:
    return {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "pixel_scale": mapset.pixel_scale.value,
        "pixel_scale_unit": "pc",
        "depth": mapset.depth.value,
        "depth_unit": "pc",
        "mass_per_hydrogen": mapset.mass_per_hydrogen,
        "label_kind": mapset.label_kind or "",
        "simulation": mapset.simulation,
        "provenance": mapset.provenance,
    }


def _write_maps(file: h5py.File, name: str, values: np.ndarray, spelling: str) -> None:
    n, ny, nx = values.shape
    chunks = (min(16, n), ny, nx) if n else None
    options = {"chunks": chunks, "compression": "gzip", "compression_opts": 6, "shuffle": True} if n else {}
    file.create_dataset(name, data=values.astype(np.float32, copy=False), **options).attrs["unit"] = spelling


def _plain(column: Any) -> np.ndarray:
    """Numbers or text of a column; what is masked becomes NaN or empty."""
    if hasattr(column, "filled"):
        text = column.dtype.kind in "SU"
        column = column.filled("") if text else column.astype(float).filled(np.nan)
    return np.asarray(getattr(column, "value", column))


def _write_stars(group: h5py.Group, mapset: MapSet) -> None:
    """One dataset a column; ``simulation`` only where it says more than the root attribute."""
    for name in mapset.stars.colnames:
        column = mapset.stars[name]
        if name == "simulation" and np.all(np.asarray(column) == mapset.simulation):
            continue
        values = _plain(column)
        if values.dtype.kind not in "biufUS":
            raise MapError(f"column {name!r} of the stars cannot be written to HDF5; expected numbers or text")
        data = values.astype(object) if values.dtype.kind == "U" else values
        dataset = group.create_dataset(name, data=data, dtype=h5py.string_dtype() if data.dtype == object else None)
        if getattr(column, "unit", None) is not None:
            dataset.attrs["unit"] = column.unit.to_string()
