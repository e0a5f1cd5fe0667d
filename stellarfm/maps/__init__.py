"""Containers of gas maps and the operations on them.

Enters: FITS images or HDF5 files, or arrays with units. Leaves: `GasMaps` (one field on the sky), `MapSet` (many
windows around stars), or scaled arrays for an encoder (`MapScaler`). Open `gas_maps` and `map_set` first; file formats
are in `io`, units in `units`.
"""

from stellarfm.maps.gas_maps import GasMaps
from stellarfm.maps.map_set import MapSet
from stellarfm.maps.observing import Observation
from stellarfm.maps.regridding import regrid
from stellarfm.maps.scaling import MapScaler
from stellarfm.maps.sources import column_peaks, normalize_sources, sky_coordinates
from stellarfm.maps.windows import tiles, windows_around

__all__ = [
    "GasMaps",
    "MapScaler",
    "MapSet",
    "Observation",
    "column_peaks",
    "normalize_sources",
    "regrid",
    "sky_coordinates",
    "tiles",
    "windows_around",
]
