"""What kind of simulation output a path is, by its first bytes and names: quick, and without importing yt."""

from __future__ import annotations

from pathlib import Path

import h5py

from stellarfm.readers.gadget.files import is_gadget
from stellarfm.readers.ramses.output import is_ramses

__all__ = ["HDF5", "family"]

#: How an HDF5 file begins.
HDF5 = b"\x89HDF\r\n\x1a\n"


def family(path: Path) -> str | None:
    """The family of an output: ``"ramses"``, ``"gadget"``, ``"yt"`` (some other code that yt reads), or None.

    Never raises. Files with a schema of ours are not for yt. Else None is no refusal: yt knows codes whose files cannot
    be told quickly; name the reader to try.
    """
    try:
        return _family(path)
    except (OSError, RuntimeError, ValueError, UnicodeDecodeError):
        return None


def _family(path: Path) -> str | None:
    if is_ramses(path):
        return "ramses"
    if path.is_dir():
        return "yt" if _is_plotfile(path) else None
    with path.open("rb") as file:
        start = file.read(2048)
    if start.startswith(HDF5):
        return "gadget" if is_gadget(path) else "yt" if _is_known_hdf5(path) else None
    return "yt" if _is_enzo(path, start) or start.startswith(b"# vtk DataFile") else None


def _is_plotfile(folder: Path) -> bool:
    """A plotfile of an AMReX code: a directory with a Header and levels."""
    return (folder / "Header").is_file() and (folder / "Level_0").is_dir()


def _is_enzo(path: Path, start: bytes) -> bool:
    """An Enzo parameter file: text, with its hierarchy beside it."""
    return b"InitialCycleNumber" in start and path.with_name(f"{path.name}.hierarchy").is_file()


def _is_known_hdf5(path: Path) -> bool:
    """FLASH, Athena++, SWIFT, Chombo and GAMER by what only they write."""
    with h5py.File(path) as file:
        names, attributes = set(file), set(file.attrs)
        if "schema" in attributes:
            return False
        swift = "Header" in file and file["Header"].attrs.get("Code") in (b"SWIFT", "SWIFT")
    return (
        {"bounding box", "node type", "refine level"} <= names
        or {"NumMeshBlocks", "RootGridSize"} <= attributes
        or {"Chombo_global", "level_0"} <= names
        or {"Info", "Tree", "GridData"} <= names
        or swift
    )
