"""Reader of our two HDF5 forms: snapshots to exchange, and finished map sets."""

from __future__ import annotations

from pathlib import Path

from stellarfm.contracts import SimulationReader
from stellarfm.maps import MapSet
from stellarfm.maps.io.map_set_hdf5 import is_map_set
from stellarfm.readers.hdf5.exchange import is_exchange, read_exchange
from stellarfm.simulations import Snapshot

__all__ = ["HDF5Reader"]


class HDF5Reader(SimulationReader):
    """Snapshots in the exchange form (schema ``stellarfm-snapshot``) and map sets (schema ``stellarfm-mapset``)."""

    def can_read(self, path: Path) -> bool:
        """Whether the file is HDF5 and says that it holds a snapshot to exchange or a map set."""
        return is_exchange(path) or is_map_set(path)

    def read(self, path: Path) -> Snapshot | MapSet:
        """The snapshot or the windows in `path`; raises as `read_exchange` and `MapSet.read`."""
        return read_exchange(path) if is_exchange(path) else MapSet.read(path)
