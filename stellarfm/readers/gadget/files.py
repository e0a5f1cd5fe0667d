"""HDF5 snapshots of the Gadget family - GIZMO, Arepo, Gadget, EAGLE - in one file or many."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from astropy import units as u

from stellarfm.exceptions import InputNotFoundError, ReaderError, StellarFMError
from stellarfm.readers.gadget.units import CodeUnits, attribute

__all__ = ["GadgetFiles", "field", "has_field", "is_gadget"]

#: What we call a field -> what codes call it.
_FIELDS = {
    "position": ("Coordinates",),
    "mass": ("Masses", "Mass"),
    "velocity": ("Velocities", "Velocity"),
    "density": ("Density",),
    "smoothing length": ("SmoothingLength", "KernelMaxRadius"),
    "internal energy": ("InternalEnergy",),
}


def is_gadget(path: Path) -> bool:
    """Whether `path` is such a file; never raises. SWIFT's files look alike, but their conventions differ."""
    try:
        with h5py.File(path) as file:
            return "NumPart_ThisFile" in file["Header"].attrs and file["Header"].attrs.get("Code") not in (
                b"SWIFT",
                "SWIFT",
            )
    except (OSError, RuntimeError, KeyError, UnicodeDecodeError):
        return False


def has_field(group: h5py.Group, name: str) -> bool:
    """Whether a field is there, by any of its names."""
    return any(spelling in group for spelling in _FIELDS[name])


def field(group: h5py.Group, name: str) -> h5py.Dataset:
    """The dataset of a field, by any of its names.

    Raises
    ------
    ReaderError
        If it is absent.
    """
    for spelling in _FIELDS[name]:
        if spelling in group:
            return group[spelling]
    raise ReaderError(f"{group.name} has no {name}; expected {' or '.join(_FIELDS[name])}")


@dataclass(frozen=True)
class GadgetFiles:
    """A snapshot.

    Attributes
    ----------
    path : Path
        As the user named it.
    paths : tuple of Path
        All its files.
    units : CodeUnits
        Of all of them.
    header : dict
        Attributes of the first file's header.
    """

    path: Path
    paths: tuple[Path, ...]
    units: CodeUnits
    header: dict[str, Any]

    @classmethod
    def find(cls, path: Path, overrides: dict[str, float]) -> GadgetFiles:
        """The snapshot that `path` is, or is one file of.

        Raises
        ------
        InputNotFoundError, ReaderError
            If it is absent, cut short, or some of its files are missing.
        """
        if not path.is_file():
            raise InputNotFoundError(f"{path}: no such file; check the path")
        with _opened(path) as file:
            if "Header" not in file:
                raise ReaderError("no group Header; not a snapshot of the Gadget family")
            units, header = CodeUnits.of(file, overrides), dict(file["Header"].attrs)
            n_files = int(attribute(file["Header"], "NumFilesPerSnapshot", 1))
        return cls(path, _siblings(path, n_files), units, header)

    @property
    def box(self) -> np.ndarray:
        """Sides of the box in code units, shape (3,); zero if unknown."""
        return np.broadcast_to(np.ravel(self.header.get("BoxSize", 0.0)).astype(float), 3)

    @property
    def time(self) -> u.Quantity:
        """Time since the start, Myr; NaN if the header has none."""
        return self.units.time(float(np.ravel(self.header.get("Time", np.nan))[0]))

    @property
    def code(self) -> str:
        """Which code wrote it, as far as the header says."""
        if "GIZMO_version" in self.header:
            return f"GIZMO {np.ravel(self.header['GIZMO_version'])[0]}"
        label = np.ravel(self.header.get("RunLabel", ""))[0]
        return label.decode() if isinstance(label, bytes) else str(label) or "Gadget family"

    def counted(self, particle_type: int) -> int:
        """Number of particles that the header counts."""
        counts = np.ravel(self.header.get("NumPart_Total", self.header["NumPart_ThisFile"]))
        return int(counts[particle_type])

    @contextmanager
    def open(self, path: Path) -> Iterator[h5py.File]:
        """One of the files; what goes wrong inside becomes a `ReaderError` that names it."""
        with _opened(path) as file:
            yield file

    def count(self, particle_type: int) -> int:
        """Number of particles that are really there; headers still count what was removed."""
        n = 0
        for path in self.paths:
            with self.open(path) as file:
                group = file.get(f"PartType{particle_type}")
                n += len(field(group, "position")) if group is not None and len(group) else 0
        return n

    def in_cgs(self, dataset: h5py.Dataset, dimensions: str, part: slice = slice(None)) -> np.ndarray:
        """Numbers of a dataset in cgs, float64; `dimensions` as in `DIMENSIONS`."""
        return dataset[part].astype(np.float64) * self.units.factor(dimensions, dataset)

    def masses(self, group: h5py.Group, particle_type: int, part: slice = slice(None)) -> np.ndarray:
        """Masses in g, from the dataset or the header's table of equal masses."""
        table = np.ravel(self.header.get("MassTable", np.zeros(6)))
        if has_field(group, "mass") or not table[particle_type] > 0:
            return self.in_cgs(field(group, "mass"), "mass", part)
        n = len(field(group, "position")[part])
        return np.full(n, table[particle_type] * self.units.factor("mass"))


@contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    try:
        with h5py.File(path) as file:
            yield file
    except StellarFMError as error:
        raise type(error)(str(error) if str(path) in str(error) else f"{path}: {error}") from error
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        cause = " ".join(str(error).split())[:160]
        raise ReaderError(f"{path}: not an HDF5 file, or a truncated one ({cause}); fetch it again") from error


def _siblings(path: Path, n_files: int) -> tuple[Path, ...]:
    """All files ``NAME.0.hdf5`` ... of a snapshot in parts."""
    if n_files <= 1:
        return (path,)
    numbered = re.fullmatch(r"(.*)\.(\d+)(\.\w+)", path.name)
    if numbered is None:
        raise ReaderError(f"{path}: one of {n_files} files by its header; expected a name like snapshot_010.0.hdf5")
    names = [path.with_name(f"{numbered[1]}.{i}{numbered[3]}") for i in range(n_files)]
    if missing := [name.name for name in names if not name.is_file()]:
        raise ReaderError(f"{path}: {len(missing)} of {n_files} files are missing, first {missing[0]}; fetch them")
    return tuple(names)
