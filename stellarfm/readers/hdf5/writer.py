"""Writes the exchange form of a snapshot, block by block."""

from __future__ import annotations

import os

import h5py
import numpy as np
from astropy import units as u

from stellarfm.exceptions import SnapshotError
from stellarfm.maps.io.hdf5_tables import write_table
from stellarfm.output import new_file
from stellarfm.readers.common.extents import bounds
from stellarfm.readers.hdf5.exchange import SCHEMA, SCHEMA_VERSION
from stellarfm.readers.hdf5.gas import CHUNK, GAS_COLUMNS
from stellarfm.readers.hdf5.hilbert import hilbert_keys
from stellarfm.simulations import GasBlock, GasSource, InMemoryGas, Region, Snapshot

__all__ = ["write_snapshot"]

_COMPRESSION = {"compression": "gzip", "compression_opts": 1, "shuffle": True}


def write_snapshot(snapshot: Snapshot, path: str | os.PathLike, *, overwrite: bool = False) -> None:
    """Write a snapshot in the exchange form, whole or not at all.

    One block of gas is in memory at a time. The elements of a block (all of them, if the gas is in memory) are sorted
    along the Hilbert curve, and each chunk of 65536 gets its bounding box, so that a region is read without the rest.

    Parameters
    ----------
    snapshot : Snapshot
        With or without gas.
    path : path
        HDF5 file to write.
    overwrite : bool
        Replace it if it exists.

    Raises
    ------
    OutputExistsError
        If it exists and `overwrite` is False.
    SnapshotError
        If the run has no name: stars of one run could not be kept together.
    """
    if not snapshot.simulation:
        raise SnapshotError("the simulation has no name; expected one, alike in all snapshots of a run")
    with new_file(path, overwrite=overwrite) as temporary, h5py.File(temporary, "w") as file:
        file.attrs.update(_attributes(snapshot))
        file.create_group("provenance").attrs.update(snapshot.provenance)
        write_table(file.create_group("stars"), snapshot.stars)
        if snapshot.gas is not None:
            _write_gas(file.create_group("gas"), snapshot.gas, Region(snapshot.lower.value, snapshot.upper.value))


def _attributes(snapshot: Snapshot) -> dict:
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


def _write_gas(group: h5py.Group, gas: GasSource, box: Region) -> None:
    """Append block after block; then the table of chunks."""
    group.attrs["kind"] = gas.kind
    first, boxes = [0], []
    for block in _sorted(gas, box).blocks([box]):
        ordered = block[_order(block.position, box)]
        _append(group, ordered)
        for start in range(0, len(ordered), CHUNK):
            chunk = ordered[start : start + CHUNK]
            boxes.append(bounds(chunk.position, chunk.size, kind=gas.kind))
            first.append(first[-1] + len(chunk))
    if not boxes:
        raise SnapshotError("the gas has no elements; expected some, or no gas at all (None)")
    if len({len(dataset) for dataset in group.values()}) > 1:
        raise SnapshotError("thermal motion is known in a part of the gas only; expected it in all blocks or in none")
    chunks = group.create_group("chunks")
    chunks["first"] = np.array(first)
    for name, corners in zip(("lower", "upper"), zip(*boxes, strict=True), strict=True):
        chunks[name] = np.stack(corners)
        chunks[name].attrs["unit"] = "pc"


def _append(group: h5py.Group, block: GasBlock) -> None:
    for name in ("position", "size", "mass", "velocity", "thermal"):
        values = getattr(block, name)
        if values is None:
            continue
        if name not in group:
            chunks, most = (CHUNK, *values.shape[1:]), (None, *values.shape[1:])
            empty = (0, *values.shape[1:])
            group.create_dataset(name, empty, dtype=float, maxshape=most, chunks=chunks, **_COMPRESSION)
            group[name].attrs["unit"] = GAS_COLUMNS[name][0].to_string()
        group[name].resize(len(group[name]) + len(values), axis=0)
        group[name][-len(values) :] = values


def _sorted(gas: GasSource, box: Region) -> GasSource:
    """Gas in memory as a whole along the Hilbert curve."""
    if not isinstance(gas, InMemoryGas):
        return gas
    return InMemoryGas(gas.gas[_order(gas.gas.position, box)], gas.kind)


def _order(position: np.ndarray, box: Region) -> np.ndarray:
    """Indices that sort positions along the Hilbert curve."""
    return np.argsort(hilbert_keys(position, lower=box.lower, upper=box.upper), kind="stable")
