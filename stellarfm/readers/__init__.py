"""Readers: files of many kinds to the containers of `stellarfm.maps` and `stellarfm.simulations`."""

from __future__ import annotations

from pathlib import Path

from stellarfm import registry
from stellarfm.exceptions import InputNotFoundError, ReaderError

__all__ = ["reader_name"]


def reader_name(path: Path) -> str:
    """Name of the first installed reader that can read `path`.

    A reader that fails when it is asked, whatever way a third party found to fail, is passed over and named if nobody
    else knows the file.

    Raises
    ------
    InputNotFoundError, ReaderError
        If there is no such file, or no reader for it.
    """
    if not Path(path).exists():
        raise InputNotFoundError(f"{path}: no such file; check the path")
    answers = {name: _asked(name, Path(path)) for name in registry.names("readers")}
    willing = [name for name, answer in answers.items() if answer]
    if willing:
        return willing[0]
    if reason := _broken_hdf5(Path(path)):
        raise ReaderError(f"{path}: begins like HDF5 but breaks off ({reason}); fetch it again")
    asked = ", ".join(name for name, answer in answers.items() if answer is False)
    broken = ", ".join(name for name, answer in answers.items() if answer is None)
    silent = f"; could not be asked: {broken}" if broken else ""
    raise ReaderError(f"{path}: no reader knows this file (asked: {asked}{silent}); expected maps, cubes or a snapshot")


def _asked(name: str, path: Path) -> bool | None:
    """Whether reader `name` knows the file; None if it cannot tell."""
    try:
        return bool(registry.create("readers", name).can_read(path))
    except Exception:
        return None


def _broken_hdf5(path: Path) -> str:
    """Why a file that begins like HDF5 is none, or nothing."""
    import h5py

    from stellarfm.readers.signatures import HDF5

    if not path.is_file():
        return ""
    with path.open("rb") as file:
        if file.read(len(HDF5)) != HDF5:
            return ""
    try:
        h5py.File(path).close()
    except (OSError, RuntimeError) as error:
        return str(error)
    return ""
