"""Atomic outputs: written under a temporary name in the target's directory and renamed when complete."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stellarfm.exceptions import OutputExistsError

__all__ = ["check_output", "new_directory", "new_file"]


def check_output(path: str | os.PathLike, *, overwrite: bool = False) -> Path:
    """Return the path as `Path` after checking that it may be written.

    Parameters
    ----------
    path : path
        Path of a future file or directory.
    overwrite : bool
        Whether an existing one may be replaced.

    Raises
    ------
    OutputExistsError
        If it exists and `overwrite` is False, if it would lie in a file, or if it contains the working directory.

    Examples
    --------
    >>> check_output("masses.fits").name
    'masses.fits'
    """
    path = Path(path)
    if path.exists() and not overwrite:
        raise OutputExistsError(f"{path} exists; choose another path or pass overwrite=True")
    if not (parent := _nearest_parent(path)).is_dir():
        raise OutputExistsError(f"{path} cannot be written: {parent} is not a directory; choose another path")
    if path.is_dir() and Path.cwd().is_relative_to(path.resolve()):
        raise OutputExistsError(f"{path} is or contains the working directory; choose another path")
    return path


@contextmanager
def new_file(path: str | os.PathLike, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield an unused path of the same name; move the file to `path` on success.

    Parameters
    ----------
    path : path
        Final path of the file.
    overwrite : bool
        Whether an existing file is replaced.

    Yields
    ------
    Path
        Temporary path to write to.

    Raises
    ------
    OutputExistsError
        If `path` exists and `overwrite` is False, or if it is a directory.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     with new_file(f"{folder}/notes.txt") as path:
    ...         _ = path.write_text("complete")
    ...     Path(f"{folder}/notes.txt").read_text()
    'complete'
    """
    path = check_output(path, overwrite=overwrite)
    if path.is_dir():
        raise OutputExistsError(f"{path} is a directory; give the path of a file")
    with _temporary_directory(path) as folder:
        yield folder / path.name
        path.parent.mkdir(parents=True, exist_ok=True)
        (folder / path.name).replace(path)


@contextmanager
def new_directory(path: str | os.PathLike, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield an empty directory; move it to `path` on success, in place of an old one.

    Parameters
    ----------
    path : path
        Final path of the directory.
    overwrite : bool
        Whether an existing directory is replaced.

    Yields
    ------
    Path
        Temporary directory to fill.

    Raises
    ------
    OutputExistsError
        If `path` exists and `overwrite` is False, or if it is a file.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     with new_directory(f"{folder}/model") as path:
    ...         _ = (path / "config.json").write_text("{}")
    ...     sorted(file.name for file in Path(f"{folder}/model").iterdir())
    ['config.json']
    """
    path = check_output(path, overwrite=overwrite)
    if path.is_file():
        raise OutputExistsError(f"{path} is a file; give the path of a directory")
    with _temporary_directory(path) as folder:
        fresh = folder / "new"
        fresh.mkdir()
        yield fresh
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            path.replace(folder / "old")
        fresh.replace(path)


@contextmanager
def _temporary_directory(path: Path) -> Iterator[Path]:
    """Yield a directory on the file system of `path`: in its parent, or in the nearest parent that exists."""
    with tempfile.TemporaryDirectory(dir=_nearest_parent(path), prefix=".partial-") as folder:
        yield Path(folder)


def _nearest_parent(path: Path) -> Path:
    return next(parent for parent in path.absolute().parents if parent.exists())
