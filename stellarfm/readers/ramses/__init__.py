"""RAMSES outputs.

In: the directory ``output_NNNNN``, or its info file. Out: a `Snapshot` with the sinks of the output's own list and leaf
cells that yt reads by region. Start with `snapshot`; text files are read in `output`.
"""

from __future__ import annotations

from typing import Any

from stellarfm.readers.ramses.output import is_ramses

__all__ = ["is_ramses", "read_ramses"]


def __getattr__(name: str) -> Any:
    if name != "read_ramses":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from stellarfm.readers.ramses.snapshot import read_ramses  # `is_ramses` must not load the projection

    return read_ramses
