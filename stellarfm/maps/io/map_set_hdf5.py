"""Sets of windows in HDF5 (schema ``stellarfm-mapset``, version 1), to and from the columns of `MapSet`."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from astropy import units as u

from stellarfm.exceptions import InputNotFoundError, MapError, ReaderError, UnitsError
from stellarfm.hdf5 import create_hdf5, open_hdf5
from stellarfm.maps.io.hdf5_tables import (
    check_dataset,
    check_schema,
    has_schema,
    hdf5_errors,
    read_number,
    read_quantity,
    read_table,
    read_text,
    read_unit,
    write_table,
)
from stellarfm.maps.io.missing_data import blank_infinities, blank_zeros
from stellarfm.maps.units import COLUMN_UNIT, MASS_PER_HYDROGEN, VELOCITY_UNIT, check_plausible
from stellarfm.output import new_file

__all__ = ["is_map_set", "read_columns", "write_columns"]

logger = logging.getLogger("stellarfm")

SCHEMA = "stellarfm-mapset"
SCHEMA_VERSION = 1

#: Dataset -> (unit in memory, unit as the file spells it, whether an exact zero means missing).
_DATASETS = {
    "column_density": (COLUMN_UNIT, "cm-2", True),
    "velocity": (VELOCITY_UNIT, "km / s", False),
    "velocity_dispersion": (VELOCITY_UNIT, "km / s", True),
}
_OPTIONAL = {"cell_size": (u.pc, "pc", True)}


def is_map_set(path: str | os.PathLike) -> bool:
    """Return True if `path` is an HDF5 file of this schema; never raises."""
    return has_schema(Path(path), SCHEMA)


def read_columns(path: str | os.PathLike) -> dict[str, Any]:
    """Return the arguments of `MapSet` from a file; errors are those of `MapSet.read`.

    Parameters
    ----------
    path : path
        HDF5 file.

    Returns
    -------
    dict
        Maps of shape (N, ny, nx), the table ``stars``, scales, ``label_kind`` and names.
    """
    path = Path(path)
    if not path.is_file():
        raise InputNotFoundError(f"{path}: no such file; check the path")
    with hdf5_errors(path), open_hdf5(path) as file:
        check_schema(file, path, schema=SCHEMA, version=SCHEMA_VERSION)
        for name in (*_DATASETS, "stars"):
            if name not in file:
                raise ReaderError(f"{path}: {name!r} is missing; expected {', '.join(_DATASETS)} and the group stars")
        return _columns(file, path)


def _columns(file: h5py.File, path: Path) -> dict[str, Any]:
    names = [*_DATASETS, *(name for name in _OPTIONAL if name in file)]
    for name in names:
        check_dataset(file.get(name), f"{path}: dataset {name!r}", kinds="f", ndim=(3,))
    shapes = {name: file[name].shape for name in names}
    if len(set(shapes.values())) > 1:
        found = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise MapError(f"{path}: windows of shapes {found}; expected one shape (N, ny, nx)")
    stars = read_table(file["stars"], path)
    if len(stars) != len(file["velocity"]):
        raise MapError(
            f"{path}: {len(file['velocity'])} windows but {len(stars)} rows of stars; expected one per window"
        )
    maps = {name: _read_maps(file[name], name, path) for name in names}
    check_plausible(maps["column_density"], where=f"{path}: dataset 'column_density'")
    return {
        **maps,
        "stars": stars,
        "pixel_scale": _read_length(file, "pixel_scale", path),
        "depth": _read_length(file, "depth", path),
        "mass_per_hydrogen": read_number(file, "mass_per_hydrogen", path, default=MASS_PER_HYDROGEN),
        "label_kind": read_text(file, "label_kind") or None,
        "simulation": read_text(file, "simulation"),
        "provenance": read_text(file, "provenance"),
    }


def _read_length(file: h5py.File, name: str, path: Path) -> u.Quantity:
    length = read_quantity(file, name, path, expected="pc")
    if length.size != 1:
        raise ReaderError(f"{path}: attribute {name!r} has {length.size} values; expected one")
    return length.reshape(())


def _read_maps(dataset: h5py.Dataset, name: str, path: Path) -> u.Quantity:
    unit, spelling, zero_is_missing = (_DATASETS | _OPTIONAL)[name]
    where = f"{path}: dataset {name!r}"
    stored_unit = read_unit(dataset.attrs.get("unit"), where, spelling)
    if not stored_unit.is_equivalent(unit):
        raise UnitsError(f"{where} has unit {dataset.attrs['unit']!r}; expected {spelling!r}")
    values = blank_infinities(dataset[()], where=where)
    values = blank_zeros(values, where=where) if zero_is_missing else values
    return u.Quantity(values, stored_unit, copy=False).to(unit, copy=False)


def write_columns(path: str | os.PathLike, columns: Mapping[str, Any], *, overwrite: bool = False) -> None:
    """Write a map set, whole or not at all.

    Parameters
    ----------
    path : path
        HDF5 file.
    columns : mapping
        Attributes of `MapSet`, by name.
    overwrite : bool
        Replace an existing file; otherwise it is an `OutputExistsError`.
    """
    with new_file(path, overwrite=overwrite) as temporary, create_hdf5(temporary) as (file, _):
        file.attrs.update(_attributes(columns))
        for name, (_, spelling, _) in (_DATASETS | _OPTIONAL).items():
            if (maps := columns[name]) is not None:
                _write_maps(file, name, maps.value, spelling)
        stars = columns["stars"].copy(copy_data=False)
        if np.all(np.asarray(stars["simulation"]) == columns["simulation"]):
            stars.remove_column("simulation")  # the root attribute holds it
        write_table(file.create_group("stars"), stars)


def _attributes(columns: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "pixel_scale": columns["pixel_scale"].value,
        "pixel_scale_unit": "pc",
        "depth": columns["depth"].value,
        "depth_unit": "pc",
        "mass_per_hydrogen": columns["mass_per_hydrogen"],
        "label_kind": columns["label_kind"] or "",
        "simulation": columns["simulation"],
        "provenance": columns["provenance"],
    }


def _write_maps(file: h5py.File, name: str, values: np.ndarray, spelling: str) -> None:
    n, ny, nx = values.shape
    chunks = (min(16, n), ny, nx) if n else None
    options = (
        {"chunks": chunks, "compression": "gzip", "compression_opts": 6, "shuffle": True, "fletcher32": True}
        if n
        else {}
    )
    file.create_dataset(name, data=values.astype(np.float32, copy=False), **options).attrs["unit"] = spelling
