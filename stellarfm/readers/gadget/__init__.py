"""HDF5 snapshots of the Gadget family: GIZMO/STARFORGE, AREPO, Gadget, EAGLE.

In: a snapshot file, or any file of a snapshot in parts. Out: a `Snapshot` with stars in memory and gas particles that
are read by region. Start with `snapshot`; units and cosmology are established in `units`.
"""

from __future__ import annotations

from typing import Any

from stellarfm.readers.gadget.files import is_gadget

__all__ = ["is_gadget", "read_gadget"]


def __getattr__(name: str) -> Any:
    if name != "read_gadget":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from stellarfm.readers.gadget.snapshot import read_gadget  # `is_gadget` must not load the projection

    return read_gadget
