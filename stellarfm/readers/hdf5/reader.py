"""Reader of stellarfm's HDF5 files: snapshots in the exchange format, and map sets.

The exchange format (schema ``stellarfm-snapshot``, version 1) is described in the user guide; any code can write it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from astropy import units as u
from astropy.table import QTable

from stellarfm.contracts import SimulationReader
from stellarfm.exceptions import InputNotFoundError, MapError, ReaderError, SnapshotError
from stellarfm.hdf5 import open_hdf5
from stellarfm.maps import MapSet
from stellarfm.maps.io.hdf5_tables import (
    check_schema,
    has_schema,
    hdf5_errors,
    read_number,
    read_quantity,
    read_table,
    read_text,
)
from stellarfm.maps.io.map_set_hdf5 import is_map_set
from stellarfm.maps.units import MASS_PER_HYDROGEN, require_unit
from stellarfm.readers.common.run_identity import file_hashes
from stellarfm.readers.hdf5.gas import ExchangeGas
from stellarfm.simulations import Snapshot

__all__ = ["SCHEMA", "SCHEMA_VERSION", "HDF5Reader", "is_exchange", "read_exchange"]

SCHEMA = "stellarfm-snapshot"
SCHEMA_VERSION = 1


class HDF5Reader(SimulationReader):
    """Reader of the exchange format (schema ``stellarfm-snapshot``) and of map sets (schema ``stellarfm-mapset``).

    Examples
    --------
    >>> from stellarfm.readers.hdf5 import HDF5Reader
    >>> HDF5Reader().can_read("absent.h5")
    False
    """

    def can_read(self, path: Path) -> bool:
        """Return True if the file is HDF5 and its schema is that of a snapshot or a map set."""
        return is_exchange(path) or is_map_set(path)

    def read(self, path: Path) -> Snapshot | MapSet:
        """Read the snapshot or the map set in `path`; raises as `read_exchange` and `MapSet.read`."""
        return read_exchange(path) if is_exchange(path) else MapSet.read(path)


def is_exchange(path: str | os.PathLike) -> bool:
    """Return True if `path` is an HDF5 file in the exchange format; never raises.

    Parameters
    ----------
    path : path
        File that may be absent or of another format.

    Examples
    --------
    >>> from stellarfm.readers.hdf5 import is_exchange
    >>> is_exchange("absent.h5")
    False
    """
    return has_schema(Path(path), SCHEMA)


def read_exchange(path: str | os.PathLike) -> Snapshot:
    """Read the snapshot in `path`; its gas stays in the file until it is requested.

    Parameters
    ----------
    path : path
        HDF5 file in the exchange format.

    Returns
    -------
    Snapshot
        Stars in memory, gas as an `ExchangeGas`.

    Raises
    ------
    InputNotFoundError, ReaderError
        If the file is absent, truncated, of another or a later schema, or incomplete.
    UnitsError
        If a unit is missing or wrong.

    Examples
    --------
    >>> import tempfile
    >>> import h5py
    >>> from stellarfm.readers.hdf5 import read_exchange
    >>> with tempfile.NamedTemporaryFile(suffix=".h5") as temporary:
    ...     with h5py.File(temporary.name, "w") as file:
    ...         file.attrs.update(schema="stellarfm-snapshot", schema_version=1, simulation="run-1", snapshot=7)
    ...         file.attrs.update(lower=[0, 0, 0], lower_unit="pc", upper=[4, 4, 4], upper_unit="pc", periodic=True)
    ...         stars = file.create_group("stars")
    ...         stars["star"] = [1]
    ...         for name in "xyz":
    ...             stars.create_dataset(name, data=[2.0]).attrs["unit"] = "pc"
    ...     read_exchange(temporary.name).snapshot
    7
    """
    path = Path(path)
    if not path.is_file():
        raise InputNotFoundError(f"{path}: no such file; check the path")
    with hdf5_errors(path), open_hdf5(path) as file:
        check_schema(file, path, schema=SCHEMA, version=SCHEMA_VERSION)
        if "gas" not in file and "stars" not in file:
            raise ReaderError(f"{path}: neither gas nor stars; expected the groups 'gas' and 'stars'")
        try:
            metadata = _read_metadata(file, path)
            gas = None
            if "gas" in file:
                gas = ExchangeGas(path, **{name: metadata[name] for name in ("lower", "upper", "periodic")})
            return Snapshot(**metadata, stars=_read_stars(file, path), gas=gas)
        except SnapshotError as error:
            raise ReaderError(f"{path}: {error}") from error
        except MapError as error:
            raise type(error)(str(error) if str(path) in str(error) else f"{path}: {error}") from error


def _read_metadata(file: h5py.File, path: Path) -> dict[str, Any]:
    """Read everything but stars and gas, keyed by the argument names of `Snapshot`."""
    if not (simulation := read_text(file, "simulation")):  # stars are followed from snapshot to snapshot of a run
        raise ReaderError(
            f"{path}: attribute 'simulation' is missing; expected the name of the run, the same in all its snapshots"
        )
    if "periodic" not in file.attrs:
        raise ReaderError(f"{path}: attribute 'periodic' is missing; expected three booleans, one per axis")
    number = file.attrs.get("snapshot", path.stem)
    provenance = file.get("provenance")
    return {
        "lower": require_unit(read_quantity(file, "lower", path, expected="pc"), u.pc, "lower"),
        "upper": require_unit(read_quantity(file, "upper", path, expected="pc"), u.pc, "upper"),
        "periodic": tuple(bool(value) for value in np.broadcast_to(file.attrs["periodic"], 3)),
        "time": read_quantity(file, "time", path, expected="Myr") if "time" in file.attrs else np.nan * u.Myr,
        "label_kind": read_text(file, "label_kind") or None,
        "mass_per_hydrogen": read_number(file, "mass_per_hydrogen", path, default=MASS_PER_HYDROGEN),
        "simulation": simulation,
        "snapshot": int(number) if isinstance(number, np.integer) else read_text(file, "snapshot") or path.stem,
        "provenance": {
            "code": read_text(file, "code") or "unknown",
            "reader": f"hdf5 ({SCHEMA} {SCHEMA_VERSION})",
            **({} if provenance is None else {name: read_text(provenance, name) for name in provenance.attrs}),
            **file_hashes([path]),
        },
    }


def _read_stars(file: h5py.File, path: Path) -> QTable:
    """Read the table of stars; `Snapshot` refuses numbers without a unit."""
    if "stars" not in file:
        return Snapshot.no_stars.copy()
    if not isinstance(file["stars"], h5py.Group):
        raise ReaderError(f"{path}: 'stars' is not a group; expected one with a dataset for each column")
    return read_table(file["stars"], path)
