"""Files of HDF5 snapshots of the Gadget family: one or many, their header, and their fields in cgs units."""

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
from stellarfm.hdf5 import open_hdf5
from stellarfm.readers.gadget.units import CodeUnits, read_number

__all__ = ["GadgetFiles", "find_field", "has_field", "is_gadget"]

#: Name of a field here -> its names in the files of various codes.
_FIELDS = {
    "position": ("Coordinates",),
    "mass": ("Masses", "Mass"),
    "velocity": ("Velocities", "Velocity"),
    "density": ("Density",),
    "smoothing length": ("SmoothingLength", "KernelMaxRadius"),
    "internal energy": ("InternalEnergy",),
}


def is_gadget(path: Path) -> bool:
    """Return True if `path` is a snapshot of the Gadget family; never raises.

    SWIFT's files have the same layout but other conventions, so they are excluded.

    Parameters
    ----------
    path : Path
        File that may be absent or of another format.

    Examples
    --------
    >>> from pathlib import Path
    >>> from stellarfm.readers.gadget import is_gadget
    >>> is_gadget(Path("absent.hdf5"))
    False
    """
    try:
        with open_hdf5(path) as file:
            header = file["Header"].attrs
            return "NumPart_ThisFile" in header and header.get("Code") not in (b"SWIFT", "SWIFT")
    except (OSError, RuntimeError, KeyError, UnicodeDecodeError):
        return False


def has_field(group: h5py.Group, name: str) -> bool:
    """Return True if a field is present under any of its names."""
    return any(spelling in group for spelling in _FIELDS[name])


def find_field(group: h5py.Group, name: str) -> h5py.Dataset:
    """Return the dataset of a field by any of its names.

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
    """Files of one snapshot.

    Attributes
    ----------
    path : Path
        Path given by the user.
    paths : tuple of Path
        All files of the snapshot.
    units : CodeUnits
        Code units, common to all files.
    header : dict
        Header attributes of the file at `path`.
    """

    path: Path
    paths: tuple[Path, ...]
    units: CodeUnits
    header: dict[str, Any]

    @classmethod
    def find(cls, path: Path, overrides: dict[str, float]) -> GadgetFiles:
        """Find all files of the snapshot to which `path` belongs.

        Parameters
        ----------
        path : Path
            The snapshot, or any of its files.
        overrides : dict of str to float
            Code units that replace those of the file, cgs.

        Raises
        ------
        InputNotFoundError, ReaderError
            If the file is absent or truncated, or other files of the snapshot are missing.
        """
        if not path.is_file():
            raise InputNotFoundError(f"{path}: no such file; check the path")
        with _opened(path) as file:
            if "Header" not in file:
                raise ReaderError("no group 'Header'; expected a snapshot of the Gadget family")
            units, header = CodeUnits.from_file(file, overrides), dict(file["Header"].attrs)
            n_files = int(read_number(file["Header"], "NumFilesPerSnapshot", 1))
        return cls(path, _siblings(path, n_files), units, header)

    @property
    def box(self) -> np.ndarray:
        """Sides of the box in code units, shape (3,); zero if the header has none."""
        return np.broadcast_to(np.ravel(self.header.get("BoxSize", 0.0)).astype(float), 3)

    @property
    def time(self) -> u.Quantity:
        """Time since the start, Myr; NaN if the file does not state it."""
        return self.units.time(float(np.ravel(self.header.get("Time", np.nan))[0]))

    @property
    def code(self) -> str:
        """Code that wrote the snapshot, as far as the header states it."""
        if "GIZMO_version" in self.header:
            return f"GIZMO {np.ravel(self.header['GIZMO_version'])[0]}"
        label = np.ravel(self.header.get("RunLabel", ""))[0]
        return label.decode() if isinstance(label, bytes) else str(label) or "Gadget family"

    def header_count(self, particle_type: int) -> int:
        """Return the number of particles according to the header."""
        counts = np.ravel(self.header.get("NumPart_Total", self.header["NumPart_ThisFile"]))
        return int(counts[particle_type])

    @contextmanager
    def open(self, path: Path) -> Iterator[h5py.File]:
        """Open one of the files; errors inside the context become a `ReaderError` that names the file."""
        with _opened(path) as file:
            yield file

    def count(self, particle_type: int) -> int:
        """Return the number of particles in the datasets; headers also count particles removed after the run."""
        n = 0
        for path in self.paths:
            with self.open(path) as file:
                group = file.get(f"PartType{particle_type}")
                n += len(find_field(group, "position")) if group is not None and len(group) else 0
        return n

    def read_cgs(self, dataset: h5py.Dataset, dimensions: str, part: slice = slice(None)) -> np.ndarray:
        """Read a slice of a dataset in cgs, float64; `dimensions` is a key of `DIMENSIONS`."""
        return dataset[part].astype(np.float64) * self.units.factor(dimensions, dataset)

    def masses(self, group: h5py.Group, particle_type: int, part: slice = slice(None)) -> np.ndarray:
        """Return masses in g, from the dataset or from the header's table of equal masses."""
        table = np.ravel(self.header.get("MassTable", np.zeros(6)))
        if has_field(group, "mass") or not table[particle_type] > 0:
            return self.read_cgs(find_field(group, "mass"), "mass", part)
        n = len(find_field(group, "position")[part])
        return np.full(n, table[particle_type] * self.units.factor("mass"))


@contextmanager
def _opened(path: Path) -> Iterator[h5py.File]:
    """Open an HDF5 file; errors inside the context become a `ReaderError` that names the file."""
    try:
        with open_hdf5(path) as file:
            yield file
    except StellarFMError as error:
        raise type(error)(str(error) if str(path) in str(error) else f"{path}: {error}") from error
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        cause = " ".join(str(error).split())[:160]
        raise ReaderError(f"{path}: not an HDF5 file, or a truncated one ({cause}); fetch it again") from error


def _siblings(path: Path, n_files: int) -> tuple[Path, ...]:
    """Return all files ``NAME.0.hdf5``, ``NAME.1.hdf5``, ... of a snapshot in parts."""
    if n_files <= 1:
        return (path,)
    numbered = re.fullmatch(r"(.*)\.(\d+)(\.\w+)", path.name)
    if numbered is None:
        raise ReaderError(f"{path}: one of {n_files} files by its header; expected a name like snapshot_010.0.hdf5")
    names = [path.with_name(f"{numbered[1]}.{i}{numbered[3]}") for i in range(n_files)]
    if missing := [name.name for name in names if not name.is_file()]:
        raise ReaderError(f"{path}: {len(missing)} of {n_files} files are missing, first {missing[0]}; fetch them")
    return tuple(names)
