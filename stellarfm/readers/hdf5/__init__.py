"""Files in stellarfm's own HDF5 formats: snapshots in the exchange format, and map sets.

In: an HDF5 file whose attribute ``schema`` is ``stellarfm-snapshot`` or ``stellarfm-mapset``. Out: a `Snapshot` or a
`MapSet`; `write_snapshot` goes the other way. Start with `reader`.
"""

from __future__ import annotations

from stellarfm.readers.hdf5.reader import HDF5Reader, is_exchange, read_exchange
from stellarfm.readers.hdf5.writer import write_snapshot

__all__ = ["HDF5Reader", "is_exchange", "read_exchange", "write_snapshot"]
