"""Outputs appear whole or not at all: they are written under a temporary name beside the target and renamed."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stellarfm.exceptions import OutputExistsError

__all__ = ["check_output", "new_directory", "new_file"]


def check_output(path: str | os.PathLike, *, overwrite: bool = False) -> Path:
    """The path as `Path`, after making sure early that it may be written.

    Raises
    ------
    OutputExistsError
        If it exists and `overwrite` is False, if it would lie in a file, or if it holds the working directory.
    """
    path = Path(path)
    if path.exists() and not overwrite:
        raise OutputExistsError(f"{path} exists; choose another --output or add --overwrite")
    if not (parent := _nearest_parent(path)).is_dir():
        raise OutputExistsError(f"{path} cannot be written: {parent} is not a directory; choose another --output")
    if path.is_dir() and Path.cwd().is_relative_to(path.resolve()):
        raise OutputExistsError(f"{path} is the working directory or holds it; choose another --output")
    return path


@contextmanager
def new_file(path: str | os.PathLike, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield a path of the same name, where nothing is yet; move it to `path` on success.

    Raises
    ------
    OutputExistsError
        If `path` exists and `overwrite` is False, or if it is a directory.
    """
    path = check_output(path, overwrite=overwrite)
    if path.is_dir():
        raise OutputExistsError(f"{path} is a directory; name a file as --output")
    with _workshop(path) as workshop:
        yield workshop / path.name
        path.parent.mkdir(parents=True, exist_ok=True)
        (workshop / path.name).replace(path)


@contextmanager
def new_directory(path: str | os.PathLike, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield an empty directory; move it to `path` on success, in place of an old one.

    Raises
    ------
    OutputExistsError
        If `path` exists and `overwrite` is False, or if it is a file.
    """
    path = check_output(path, overwrite=overwrite)
    if path.is_file():
        raise OutputExistsError(f"{path} is a file; name a directory as --output")
    with _workshop(path) as workshop:
        fresh = workshop / "new"
        fresh.mkdir()
        yield fresh
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            path.replace(workshop / "old")
        fresh.replace(path)


@contextmanager
def _workshop(path: Path) -> Iterator[Path]:
    """A temporary directory on the file system of `path`: beside it, or beside the first parent that is missing."""
    with tempfile.TemporaryDirectory(dir=_nearest_parent(path), prefix=".partial-") as workshop:
        yield Path(workshop)


def _nearest_parent(path: Path) -> Path:
    """The closest parent that exists."""
    return next(parent for parent in path.absolute().parents if parent.exists())
