"""Maps of gas: one field on the sky, or many windows around stars."""

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
