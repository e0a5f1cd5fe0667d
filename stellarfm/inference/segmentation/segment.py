"""Segments of alike gas, without any label, on the WCS of the input."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy import units as u
from astropy.table import QTable
from astropy.wcs import WCS

from stellarfm.exceptions import MapError
from stellarfm.inference.segmentation.clustering import PatchClusters
from stellarfm.inference.segmentation.patch_map import default_scale, field_patch_map, window_patch_map
from stellarfm.maps import GasMaps, MapSet

if TYPE_CHECKING:
    from stellarfm.inference.model import StellarModel

__all__ = ["Segmentation", "segment_maps"]

#: Components kept as colours.
N_COLOURS = 3


@dataclass(frozen=True, eq=False)
class Segmentation:
    """Segments of a field (ny, nx) or of N windows (N, ny, nx).

    Attributes
    ----------
    labels : ndarray
        int16: 0 no data, 1 the most diffuse segment, rising with mean column density.
    components : ndarray
        float32, shape (3, ...) of `labels`: the first three principal components; NaN where there are no data.
    confidence : ndarray
        float32: 0 on a border between segments, 1 in the middle of one; NaN without data.
    ood : ndarray
        float32: unlikeness to the patches of the reference set; above 1 farther than 99 % of them; NaN without data.
    wcs : WCS
        Of `labels`: celestial for a field; offsets in pc and the number of the window for windows.
    segments : QTable
        One row a segment: ``segment``, ``pixels``, ``area``, ``column_density``, ``velocity``,
        ``velocity_dispersion`` (means).
    meta : dict
        Provenance.
    """

    labels: np.ndarray
    components: np.ndarray
    confidence: np.ndarray
    ood: np.ndarray
    wcs: WCS
    segments: QTable
    meta: dict[str, Any] = field(default_factory=dict)

    def write(self, path: str | os.PathLike, *, overwrite: bool = False) -> Path:
        """Write the FITS form; see `stellarfm.inference.segmentation.segmentation_map.write_segmentation`."""
        from stellarfm.inference.segmentation.segmentation_map import write_segmentation

        return write_segmentation(self, path, overwrite=overwrite)


def segment_maps(
    model: StellarModel,
    maps: MapSet | GasMaps,
    *,
    segments: int = 6,
    pixel_scale: u.Quantity | None = None,
    seed: int = 0,
) -> Segmentation:
    """Cluster the patch features of a field, or of many windows together.

    A field is brought to one pixel scale and cut into tiles that overlap by half patches, so that features vary on
    half the patch size; they are interpolated to the pixels of the input.

    Parameters
    ----------
    model : StellarModel
        Gives encoder, scaler and the patches it knows.
    maps : GasMaps or MapSet
        A field with a known distance, or windows of the model's size and scale.
    segments : int
        Number of segments.
    pixel_scale : Quantity, optional
        Of the tiles of a field, pc. The model's, if not given; finer for a field smaller than two of the model's
        windows.
    seed : int
        Of the clustering.

    Raises
    ------
    MapError, ModelError
        If no patch is usable, `segments` does not fit, or the windows do not fit the model.
    """
    clusters = PatchClusters(n_segments=segments, seed=seed)
    if isinstance(maps, GasMaps):
        scale = pixel_scale if pixel_scale is not None else default_scale(model, maps)
        patches, wcs = field_patch_map(model, maps, clusters, scale), maps.wcs
    else:
        if pixel_scale is not None:
            raise MapError(f"pixel scale {pixel_scale} was given for windows, which have their own; leave it out")
        model.check_windows(maps)
        patches, wcs, scale = window_patch_map(model, maps, clusters), _offset_wcs(maps), maps.pixel_scale
    labels, confidence = clusters.assign(patches.scores)
    usable = patches.covered & ~maps.mask
    labels = np.where(usable, labels, 0).astype(np.int16)
    return Segmentation(
        labels,
        _where(usable, np.moveaxis(_three(patches.scores), -1, 0)),
        _where(usable, confidence),
        _where(usable, patches.ood),
        wcs,
        _segment_table(labels, maps, segments),
        {**model.provenance(), "segments": str(segments), "seed": str(seed), "pixel_scale": f"{scale.to(u.pc):.6g}"},
    )


def _where(usable: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Values as float32, NaN where there are no data."""
    return np.where(usable, values, np.nan).astype(np.float32)


def _three(scores: np.ndarray) -> np.ndarray:
    """The first three components; zeros stand for those that do not exist."""
    missing = max(0, N_COLOURS - scores.shape[-1])
    return np.pad(scores, [(0, 0)] * (scores.ndim - 1) + [(0, missing)])[..., :N_COLOURS]


def _offset_wcs(maps: MapSet) -> WCS:
    """Linear axes: offsets from the star in pc, and the number of the window from 1."""
    n_y, n_x = maps.column_density.shape[1:]
    wcs = WCS(naxis=3)
    wcs.wcs.ctype = ["XOFFSET", "YOFFSET", "WINDOW"]
    wcs.wcs.cunit = ["pc", "pc", ""]
    wcs.wcs.crpix = [n_x // 2 + 1, n_y // 2 + 1, 1]
    wcs.wcs.crval = [0, 0, 1]
    wcs.wcs.cdelt = [maps.pixel_scale.to_value(u.pc)] * 2 + [1]
    return wcs


def _segment_table(labels: np.ndarray, maps: MapSet | GasMaps, segments: int) -> QTable:
    """Area and mean column density, velocity and dispersion of each segment; means of empty ones are NaN."""
    count = np.bincount(labels.ravel(), minlength=segments + 1)[1:]
    table = QTable({"segment": np.arange(1, segments + 1, dtype=np.int16), "pixels": count})
    table["area"] = (count * maps.pixel_scale**2).to(u.pc**2)
    if isinstance(maps, GasMaps):
        table["solid_angle"] = (count * maps.pixel_angle**2).to(u.arcmin**2)
    for name in ("column_density", "velocity", "velocity_dispersion"):
        values = getattr(maps, name)
        total = np.bincount(labels.ravel(), np.nan_to_num(values.value.ravel()), minlength=segments + 1)[1:]
        table[name] = np.divide(total, count, out=np.full(segments, np.nan), where=count > 0) * values.unit
    return table
