"""Reader of finished map sets in HDF5."""

from __future__ import annotations

from pathlib import Path

from stellarfm.contracts import SimulationReader
from stellarfm.maps import MapSet
from stellarfm.maps.hdf5 import is_mapset

__all__ = ["HDF5Reader"]


class HDF5Reader(SimulationReader):
    """Windows in the HDF5 form of `MapSet` (schema ``stellarfm-mapset``)."""

    def can_read(self, path: Path) -> bool:
        """Whether the file is HDF5 and says that it holds a map set."""
        return is_mapset(path)

    def read(self, path: Path) -> MapSet:
        """The windows in `path`; raises as `MapSet.read`."""
        return MapSet.read(path)
