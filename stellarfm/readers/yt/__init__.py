"""Outputs of all other codes that yt reads: Enzo, FLASH, Athena++, AMReX codes, SWIFT.

In: the path that yt's manual says to load. Out: a `Snapshot` with stars in memory and cells or particles that yt reads
by region. Start with `dataset`; yt is imported when a file is opened.
"""

from __future__ import annotations

from stellarfm.readers.yt.dataset import read_dataset

__all__ = ["read_dataset"]
