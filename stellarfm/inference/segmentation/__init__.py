"""Patch features to segments of similar gas.

A field or a `MapSet` of windows enters; a `Segmentation` on the coordinates of the input leaves. Open `segment.py`
first; `patch_map.py` brings patch features to a grid of cells (`stitching.py`), `clustering.py` clusters them, and
`patch_distribution.py` scores their distance to the reference set.
"""

from stellarfm.inference.segmentation.segmentation_map import Segmentation

__all__ = ["Segmentation"]
