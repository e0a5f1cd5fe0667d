"""Gas in a file in the exchange format, read piece by piece."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import h5py
import numpy as np
from astropy import units as u

from stellarfm.exceptions import ReaderError, SnapshotError, UnitsError
from stellarfm.hdf5 import open_hdf5
from stellarfm.maps.io.hdf5_tables import hdf5_errors, read_text, read_unit
from stellarfm.readers.common.region_selection import ChunkBounds, bounding_box
from stellarfm.simulations import GasBlock, GasSource, Region
from stellarfm.simulations.gas import BLOCK_SIZE

__all__ = ["CHUNK_SIZE", "GAS_COLUMNS", "ExchangeGas"]

#: Gas elements in a chunk: few compared with a window of a large run, many compared with the cost of a seek.
CHUNK_SIZE = 2**16

#: Dataset of the group gas -> (unit of a `GasBlock`, numbers per element).
GAS_COLUMNS: dict[str, tuple[u.UnitBase, int]] = {
    "position": (u.pc, 3),
    "size": (u.pc, 1),
    "mass": (u.solMass, 1),
    "density": (u.solMass / u.pc**3, 1),
    "velocity": (u.km / u.s, 3),
    "thermal": (u.km / u.s, 1),
}


class ExchangeGas(GasSource):
    """Group ``gas`` of a file in the exchange format; no file stays open, so that it can be sent to other processes.

    Parameters
    ----------
    path : Path
        HDF5 file.
    lower, upper : Quantity
        Corners of the box, shape (3,).
    periodic : tuple of bool
        Periodic axes.

    Raises
    ------
    ReaderError, UnitsError
        If a dataset is missing, or has a wrong shape or unit.
    """

    def __init__(self, path: Path, *, lower: u.Quantity, upper: u.Quantity, periodic: Sequence[bool]) -> None:
        self._path = path.resolve()
        self._lower, self._upper = lower.to_value(u.pc), upper.to_value(u.pc)
        with hdf5_errors(path), open_hdf5(path) as file:
            self.kind = _read_kind(file["gas"], path)
            wrapped = np.array(periodic) & (self.kind == "particles")  # a cell never crosses the border
            self._period = np.where(wrapped, self._upper - self._lower, 0.0)
            names = _dataset_names(file["gas"], self.kind, path)
            self._count = _count_elements(file["gas"], names, path)
            self._factors = {name: _unit_factor(file["gas"][name], name, path) for name in names}

    def __len__(self) -> int:
        """Return the number of elements."""
        return self._count

    def blocks(self, regions: Sequence[Region]) -> Iterator[GasBlock]:
        """Yield the chunks that overlap any of the regions; raises `ReaderError` on truncated files or invalid rows."""
        if not regions or not self._count:
            return
        selected = self._chunks.overlaps(regions, period=self._period)
        for start, stop in self._chunks.row_ranges(selected, max_rows=BLOCK_SIZE):
            yield self._block(start, stop)

    def _block(self, start: int, stop: int) -> GasBlock:
        """Read the rows from `start` to `stop`."""
        columns = self._read(list(self._factors), start, stop)
        if "density" in columns:
            columns["mass"] = columns.pop("density") * columns["size"] ** 3
        self._check_inside(columns["position"], start)
        try:
            return GasBlock(**columns)
        except SnapshotError as error:
            raise ReaderError(f"{self._path}: {error} (rows {start} to {stop - 1} of group 'gas')") from error

    def _read(self, names: Sequence[str], start: int, stop: int) -> dict[str, np.ndarray]:
        """Read some rows of some datasets, in the units of a `GasBlock`."""
        with hdf5_errors(self._path), open_hdf5(self._path) as file:
            return {name: file["gas"][name][start:stop].astype(float) * self._factors[name] for name in names}

    def _check_inside(self, position: np.ndarray, start: int) -> None:
        """Raise `ReaderError` if an element lies outside the box; `start` is the number of the first row."""
        slack = 1e-6 * (self._upper - self._lower)
        outside = np.any((position < self._lower - slack) | (position > self._upper + slack), axis=1)
        if outside.any():
            row = int(np.flatnonzero(outside)[0])
            raise ReaderError(
                f"{self._path}: gas element {start + row} at {position[row]} pc lies outside the box "
                f"from {self._lower} to {self._upper} pc; expected box coordinates: correct them, 'lower' or 'upper'"
            )

    @cached_property
    def _chunks(self) -> ChunkBounds:
        """Bounding boxes stored in the file, or else computed from all positions and sizes."""
        with hdf5_errors(self._path), open_hdf5(self._path) as file:
            if "chunks" in file["gas"]:
                return _stored_chunks(file["gas/chunks"], self._count, self._path)
        first = np.append(np.arange(0, self._count, CHUNK_SIZE), self._count)
        columns = (self._read(["position", "size"], start, stop) for start, stop in pairwise(first))
        boxes = [bounding_box(**rows, kind=self.kind) for rows in columns]
        return ChunkBounds(first, *(np.stack(corners) for corners in zip(*boxes, strict=True)))


def _read_kind(gas: h5py.Group, path: Path) -> str:
    """Return the kind of gas elements, ``"cells"`` or ``"particles"``."""
    kind = read_text(gas, "kind")
    if kind not in ("cells", "particles"):
        raise ReaderError(f"{path}: attribute 'kind' of the group 'gas' is {kind!r}; expected 'cells' or 'particles'")
    return kind


def _dataset_names(gas: h5py.Group, kind: str, path: Path) -> list[str]:
    """Return the datasets to read; cells may have a density instead of a mass."""
    amount = "density" if kind == "cells" and "mass" not in gas else "mass"
    needed = ["position", "size", amount, "velocity"]
    if missing := [name for name in needed if name not in gas]:
        hint = "expected position, size, velocity, and mass" + (" or density" if kind == "cells" else "")
        raise ReaderError(f"{path}: group 'gas' has no dataset {', '.join(missing)}; {hint}")
    return needed + (["thermal"] if "thermal" in gas else [])


def _count_elements(gas: h5py.Group, names: list[str], path: Path) -> int:
    """Return the number of elements after checking shape and type of all datasets."""
    count = gas["position"].shape[0] if gas["position"].ndim else 0
    for name in names:
        expected = (count, 3) if GAS_COLUMNS[name][1] == 3 else (count,)
        if gas[name].shape != expected or gas[name].dtype.kind not in "fiu":
            found = f"shape {gas[name].shape} and type {gas[name].dtype}"
            raise ReaderError(f"{path}: dataset 'gas/{name}' has {found}; expected numbers of shape {expected}")
    return count


def _unit_factor(dataset: h5py.Dataset, name: str, path: Path) -> float:
    """Return the factor from numbers in the file to those of a `GasBlock`."""
    unit, where = GAS_COLUMNS[name][0], f"{path}: dataset 'gas/{name}'"
    stored = read_unit(dataset.attrs.get("unit"), where, unit.to_string())
    if not stored.is_equivalent(unit):
        raise UnitsError(f"{where} has unit {dataset.attrs['unit']!r}; expected something like {unit.to_string()!r}")
    return stored.to(unit)


def _stored_chunks(chunks: h5py.Group, count: int, path: Path) -> ChunkBounds:
    """Read the table of chunks stored in the file; raises `ReaderError` if it does not cover all rows."""
    try:
        factors = [_unit_factor(chunks[name], "position", path) for name in ("lower", "upper")]
        first, lower, upper = chunks["first"][()], *(chunks[name][()] for name in ("lower", "upper"))
    except KeyError as error:
        raise ReaderError(
            f"{path}: group 'gas/chunks' lacks a dataset ({error}); add it or remove the group"
        ) from error
    rows = first.ndim == 1 and first[0] == 0 and first[-1] == count and np.all(np.diff(first) > 0)
    if not rows or lower.shape != (len(first) - 1, 3) or upper.shape != lower.shape:
        raise ReaderError(f"{path}: group 'gas/chunks' does not divide {count} rows; correct it, or remove the group")
    return ChunkBounds(first, lower * factors[0], upper * factors[1])
