"""Writer of snapshots in the exchange format, block by block."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import h5py
import numpy as np
from astropy import units as u

from stellarfm.exceptions import SnapshotError
from stellarfm.hdf5 import create_hdf5
from stellarfm.maps.io.hdf5_tables import write_table
from stellarfm.output import new_file
from stellarfm.readers.common.region_selection import bounding_box
from stellarfm.readers.hdf5.gas import CHUNK_SIZE, GAS_COLUMNS
from stellarfm.readers.hdf5.reader import SCHEMA, SCHEMA_VERSION
from stellarfm.simulations import GasBlock, GasSource, InMemoryGas, Region, Snapshot

__all__ = ["write_snapshot"]

_COMPRESSION = {"compression": "gzip", "compression_opts": 1, "shuffle": True}

#: Levels of the Morton curve: 2^20 steps along each axis of the box.
_LEVELS = 20


def write_snapshot(snapshot: Snapshot, path: str | os.PathLike, *, overwrite: bool = False) -> None:
    """Write a snapshot in the exchange format, completely or not at all.

    One block of gas is in memory at a time. The elements of a block (all elements, if the gas is in memory) are sorted
    along a Morton curve, and the bounding box of each chunk of 65536 is stored, so that a region is read without the
    rest.

    Parameters
    ----------
    snapshot : Snapshot
        Snapshot with or without gas.
    path : path
        HDF5 file to write.
    overwrite : bool
        Replace an existing file.

    Raises
    ------
    OutputExistsError
        If the file exists and `overwrite` is False.
    SnapshotError
        If the run has no name, by which its snapshots are kept together.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from astropy import units as u
    >>> from stellarfm.readers.hdf5 import write_snapshot
    >>> from stellarfm.simulations import GasBlock, InMemoryGas, Snapshot
    >>> gas = GasBlock(np.full((1, 3), 0.5), np.ones(1), np.ones(1), np.zeros((1, 3)))
    >>> box = {"lower": np.zeros(3) * u.pc, "upper": np.ones(3) * u.pc, "periodic": (False, False, False)}
    >>> snapshot = Snapshot(
    ...     stars=Snapshot.no_stars.copy(), gas=InMemoryGas(gas, "cells"), **box, time=0 * u.Myr, simulation="run-1"
    ... )
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_snapshot(snapshot, Path(folder) / "snapshot.h5")
    """
    if not snapshot.simulation:
        raise SnapshotError("the simulation has no name; expected one, the same in all snapshots of a run")
    with new_file(path, overwrite=overwrite) as temporary, create_hdf5(temporary) as (file, check):
        file.attrs.update(_attributes(snapshot))
        file.create_group("provenance").attrs.update(snapshot.provenance)
        write_table(file.create_group("stars"), snapshot.stars)
        if snapshot.gas is not None:
            _write_gas(
                file.create_group("gas"), snapshot.gas, Region(snapshot.lower.value, snapshot.upper.value), check
            )


def _attributes(snapshot: Snapshot) -> dict[str, Any]:
    """Return the root attributes of the file."""
    return {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "simulation": snapshot.simulation,
        "snapshot": snapshot.snapshot,
        "code": snapshot.provenance.get("code", "unknown"),
        "time": snapshot.time.to_value(u.Myr),
        "time_unit": "Myr",
        "lower": snapshot.lower.to_value(u.pc),
        "lower_unit": "pc",
        "upper": snapshot.upper.to_value(u.pc),
        "upper_unit": "pc",
        "periodic": np.array(snapshot.periodic, dtype=bool),
        "mass_per_hydrogen": snapshot.mass_per_hydrogen,
        "label_kind": snapshot.label_kind or "",
    }


def _write_gas(group: h5py.Group, gas: GasSource, box: Region, check: Callable[[], None]) -> None:
    """Append block after block, with a `check` of the disk, then the table of chunks."""
    if isinstance(gas, InMemoryGas):
        gas = InMemoryGas(gas.gas[_morton_order(gas.gas.position, box)], gas.kind)
    group.attrs["kind"] = gas.kind
    first, boxes = [0], []
    for block in gas.blocks([box]):
        ordered = block[_morton_order(block.position, box)]
        _append(group, ordered)
        check()
        for start in range(0, len(ordered), CHUNK_SIZE):
            chunk = ordered[start : start + CHUNK_SIZE]
            boxes.append(bounding_box(chunk.position, chunk.size, kind=gas.kind))
            first.append(first[-1] + len(chunk))
    if not boxes:
        raise SnapshotError("the gas has no elements; expected some, or no gas at all (None)")
    if len({len(dataset) for dataset in group.values()}) > 1:
        raise SnapshotError("only some blocks of the gas have thermal motion; expected it in all blocks or in none")
    chunks = group.create_group("chunks")
    chunks["first"] = np.array(first)
    for name, corners in zip(("lower", "upper"), zip(*boxes, strict=True), strict=True):
        chunks[name] = np.stack(corners)
        chunks[name].attrs["unit"] = "pc"


def _append(group: h5py.Group, block: GasBlock) -> None:
    """Append the rows of a block to the datasets of the group, which are created with the first block."""
    for name in ("position", "size", "mass", "velocity", "thermal"):
        values = getattr(block, name)
        if values is None:
            continue
        if name not in group:
            row = values.shape[1:]
            layout = {"maxshape": (None, *row), "chunks": (CHUNK_SIZE, *row)}
            group.create_dataset(name, (0, *row), dtype=float, **layout, **_COMPRESSION)
            group[name].attrs["unit"] = GAS_COLUMNS[name][0].to_string()
        group[name].resize(len(group[name]) + len(values), axis=0)
        group[name][-len(values) :] = values


def _morton_order(position: np.ndarray, box: Region) -> np.ndarray:
    """Return the indices that sort positions along a Morton curve, so that neighbors in space are stored together."""
    steps = 2**_LEVELS
    cells = np.clip((position - box.lower) / (box.upper - box.lower) * steps, 0, steps - 1).astype(np.uint64)
    keys = np.zeros(len(position), dtype=np.uint64)
    for level in range(_LEVELS - 1, -1, -1):
        for axis in range(3):
            keys = (keys << np.uint64(1)) | ((cells[:, axis] >> np.uint64(level)) & np.uint64(1))
    return np.argsort(keys, kind="stable")
