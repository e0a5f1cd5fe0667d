"""Maps of gas: one field on the sky, or many windows around stars."""

from stellarfm.maps.mapset import MapSet
from stellarfm.maps.scaling import MapScaler

__all__ = ["MapScaler", "MapSet"]
