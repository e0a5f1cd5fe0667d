"""Readers: files of many kinds to the containers of `stellarfm.maps`."""

from __future__ import annotations

from pathlib import Path

from stellarfm import registry
from stellarfm.exceptions import (
    BrokenPluginError,
    DuplicatePluginError,
    InputNotFoundError,
    PluginTypeError,
    ReaderError,
)

__all__ = ["reader_name"]


def reader_name(path: Path) -> str:
    """Name of the installed reader that can read `path`; readers that could not be asked are named in the error.

    Raises
    ------
    InputNotFoundError, ReaderError
        If there is no such file, or no reader for it.
    """
    if not Path(path).exists():
        raise InputNotFoundError(f"{path}: no such file; check the path")
    broken = []
    for name in registry.names("readers"):
        try:
            if registry.create("readers", name).can_read(Path(path)):
                return name
        except (BrokenPluginError, DuplicatePluginError, PluginTypeError):
            broken.append(name)
    asked = ", ".join(name for name in registry.names("readers") if name not in broken)
    silent = f"; could not be asked: {', '.join(broken)}" if broken else ""
    raise ReaderError(f"{path}: no reader knows this file (asked: {asked}{silent}); expected FITS maps or a map set")
