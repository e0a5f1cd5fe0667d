"""The exchange form of a snapshot: HDF5 that any code can write; schema ``stellarfm-snapshot``, version 1.

See the user guide for its groups and attributes, and `stellarfm.readers.hdf5.writer` to write it from Python.
"""

from __future__ import annotations

import os
from pathlib import Path

import h5py
import numpy as np
from astropy import units as u
from astropy.table import QTable

from stellarfm.exceptions import InputNotFoundError, MapError, ReaderError, SnapshotError
from stellarfm.maps.io.hdf5_tables import check_schema, has_schema, hdf5_errors, read_quantity, read_table, read_text
from stellarfm.maps.units import MASS_PER_HYDROGEN, require_unit
from stellarfm.readers.common.run_identity import file_hashes
from stellarfm.readers.hdf5.gas import ExchangeGas
from stellarfm.simulations import Snapshot

__all__ = ["SCHEMA", "SCHEMA_VERSION", "is_exchange", "read_exchange"]

SCHEMA = "stellarfm-snapshot"
SCHEMA_VERSION = 1


def is_exchange(path: str | os.PathLike) -> bool:
    """Whether `path` is an HDF5 file of this schema; never raises."""
    return has_schema(Path(path), SCHEMA)


def read_exchange(path: str | os.PathLike) -> Snapshot:
    """The snapshot in `path`; its gas stays in the file until it is asked for.

    Raises
    ------
    InputNotFoundError, ReaderError
        If the file is absent, truncated, foreign, of a later schema, or lacks something.
    UnitsError
        If a unit is missing or wrong.
    """
    path = Path(path)
    if not path.is_file():
        raise InputNotFoundError(f"{path}: no such file; check the path")
    with hdf5_errors(path), h5py.File(path) as file:
        check_schema(file, path, schema=SCHEMA, version=SCHEMA_VERSION)
        if "gas" not in file and "stars" not in file:
            raise ReaderError(f"{path}: neither gas nor stars; expected the groups 'gas' and 'stars'")
        try:
            facts = _facts(file, path)
            return Snapshot(**facts, stars=_stars(file, path), gas=_gas(file, path, facts))
        except SnapshotError as error:
            raise ReaderError(f"{path}: {error}") from error
        except MapError as error:
            raise type(error)(str(error) if str(path) in str(error) else f"{path}: {error}") from error


def _facts(file: h5py.File, path: Path) -> dict:
    """Everything but stars and gas."""
    number = file.attrs.get("snapshot", path.stem)
    return {
        "lower": require_unit(read_quantity(file, "lower", path, expected="pc"), u.pc, "lower"),
        "upper": require_unit(read_quantity(file, "upper", path, expected="pc"), u.pc, "upper"),
        "periodic": _periodic(file, path),
        "time": read_quantity(file, "time", path, expected="Myr") if "time" in file.attrs else np.nan * u.Myr,
        "label_kind": read_text(file, "label_kind") or None,
        "mass_per_hydrogen": float(file.attrs.get("mass_per_hydrogen", MASS_PER_HYDROGEN)),
        "simulation": _required_text(file, "simulation", path),
        "snapshot": int(number) if isinstance(number, np.integer) else read_text(file, "snapshot") or path.stem,
        "provenance": {
            "code": read_text(file, "code") or "unknown",
            "reader": f"hdf5 ({SCHEMA} {SCHEMA_VERSION})",
            **_attributes(file.get("provenance")),
            **file_hashes([path]),
        },
    }


def _periodic(file: h5py.File, path: Path) -> tuple[bool, ...]:
    if "periodic" not in file.attrs:
        raise ReaderError(f"{path}: attribute 'periodic' is missing; expected three booleans, one an axis")
    return tuple(bool(value) for value in np.broadcast_to(file.attrs["periodic"], 3))


def _required_text(file: h5py.File, name: str, path: Path) -> str:
    """The run must be named: snapshots of one run share their stars."""
    text = read_text(file, name)
    if not text:
        raise ReaderError(
            f"{path}: attribute {name!r} is missing; expected the name of the run, alike in its snapshots"
        )
    return text


def _attributes(group: h5py.Group | None) -> dict[str, str]:
    return {} if group is None else {name: read_text(group, name) for name in group.attrs}


def _stars(file: h5py.File, path: Path) -> QTable:
    """The table of stars; a number without a unit is refused by `Snapshot`."""
    if "stars" not in file:
        return Snapshot.no_stars.copy()
    if not isinstance(file["stars"], h5py.Group):
        raise ReaderError(f"{path}: 'stars' is no group; expected one with a dataset for each column")
    return read_table(file["stars"], path)


def _gas(file: h5py.File, path: Path, facts: dict) -> ExchangeGas | None:
    if "gas" not in file:
        return None
    return ExchangeGas(path, **{name: facts[name] for name in ("lower", "upper", "periodic")})
