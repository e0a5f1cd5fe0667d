"""Readers of files: maps, cubes, snapshots of simulations, tables of sources.

Enters: a path. Leaves: a container of `stellarfm.maps` or `stellarfm.simulations`, or a table. Open `loading` first:
`read_maps` and `read_snapshot` find the reader that recognizes a file and pass it its options. Each format has a
sub-package (``fits``, ``hdf5``, ``gadget``, ``ramses``, ``yt``); readers are plugins of ``stellarfm.readers``.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stellarfm.readers.hdf5.writer import write_snapshot
    from stellarfm.readers.loading import MapsAndSources, read_maps, read_snapshot
    from stellarfm.readers.tables import read_positions, read_sources

__all__ = [
    "MapsAndSources",
    "read_maps",
    "read_positions",
    "read_snapshot",
    "read_sources",
    "write_snapshot",
]

#: Public name -> module that defines it.
_HOME = {
    "MapsAndSources": "stellarfm.readers.loading",
    "read_maps": "stellarfm.readers.loading",
    "read_positions": "stellarfm.readers.tables",
    "read_snapshot": "stellarfm.readers.loading",
    "read_sources": "stellarfm.readers.tables",
    "write_snapshot": "stellarfm.readers.hdf5.writer",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
