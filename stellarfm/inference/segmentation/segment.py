"""Segments of similar gas on the WCS of the input, found without labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from astropy import units as u
from astropy.table import QTable
from astropy.wcs import WCS

from stellarfm.exceptions import MapError
from stellarfm.inference.segmentation.clustering import PatchClusters
from stellarfm.inference.segmentation.patch_map import default_scale, field_patch_grid, window_patch_grid
from stellarfm.inference.segmentation.segmentation_map import Segmentation
from stellarfm.maps import GasMaps, MapSet

if TYPE_CHECKING:
    from stellarfm.inference.encoding.embedding import Embedder
    from stellarfm.inference.segmentation.patch_distribution import PatchDistribution

__all__ = ["segment_maps"]

#: Principal components kept, for display as colors.
N_DISPLAYED = 3


def segment_maps(
    embedder: Embedder,
    patch_distribution: PatchDistribution,
    maps: MapSet | GasMaps,
    *,
    segments: int = 6,
    pixel_scale: u.Quantity | None = None,
    seed: int = 0,
) -> Segmentation:
    """Cluster the patch features of a field, or of many windows together.

    A field is regridded to one pixel scale and cut into tiles that overlap by half patches, so that features vary on
    half the patch size; they are interpolated to the pixels of the input.

    Parameters
    ----------
    embedder : Embedder
        Maps to patch features.
    patch_distribution : PatchDistribution
        Distribution of the patch features of the reference set, for the out-of-distribution score.
    maps : GasMaps or MapSet
        A field with a known distance, or windows of the model's size and scale.
    segments : int
        Number of segments.
    pixel_scale : Quantity, optional
        Pixel scale of the tiles of a field, pc; by default the model's, or finer for a field smaller than two of the
        model's windows.
    seed : int
        Seed of the clustering.

    Returns
    -------
    Segmentation
        Segments of the pixels of `maps`; ``meta`` holds the options.

    Raises
    ------
    MapError, ModelError
        If no patch is usable, `segments` does not fit, or the windows do not fit the model.
    """
    if isinstance(maps, GasMaps):
        scale = pixel_scale if pixel_scale is not None else default_scale(embedder, maps)
        grid, wcs = field_patch_grid(embedder, patch_distribution, maps, scale), maps.wcs
    else:
        if pixel_scale is not None:
            raise MapError(f"pixel_scale={pixel_scale} was given for windows, which have their own; leave it out")
        embedder.check_windows(maps)
        grid, wcs, scale = window_patch_grid(embedder, patch_distribution, maps), _offset_wcs(maps), maps.pixel_scale
    cells = grid.clusterable()
    clusters = PatchClusters(n_segments=segments, seed=seed).fit(grid.features[cells], grid.tracers[cells])
    components = clusters.transform(grid.features)
    values, covered = grid.at_pixels(np.concatenate([components, grid.ood[..., None]], axis=-1))
    components, ood = values[..., :-1], values[..., -1]
    labels, confidence = clusters.assign(components)
    usable = covered & ~maps.mask
    labels = np.where(usable, labels, 0).astype(np.int16)
    missing = [(0, 0)] * (components.ndim - 1) + [(0, max(0, N_DISPLAYED - components.shape[-1]))]
    displayed = np.moveaxis(np.pad(components, missing)[..., :N_DISPLAYED], -1, 0)
    return Segmentation(
        labels,
        _masked(displayed, usable),
        _masked(confidence, usable),
        _masked(ood, usable),
        wcs,
        _segment_table(labels, maps, segments),
        {"segments": str(segments), "seed": str(seed), "pixel_scale": f"{scale.to(u.pc):.6g}"},
    )


def _masked(values: np.ndarray, usable: np.ndarray) -> np.ndarray:
    """Return values as float32, NaN where there are no data."""
    return np.where(usable, values, np.nan).astype(np.float32)


def _offset_wcs(maps: MapSet) -> WCS:
    """Return linear axes: offsets from the star in pc, and the number of the window from 1."""
    n_y, n_x = maps.column_density.shape[1:]
    wcs = WCS(naxis=3)
    wcs.wcs.ctype = ["XOFFSET", "YOFFSET", "WINDOW"]
    wcs.wcs.cunit = ["pc", "pc", ""]
    wcs.wcs.crpix = [n_x // 2 + 1, n_y // 2 + 1, 1]
    wcs.wcs.crval = [0, 0, 1]
    wcs.wcs.cdelt = [maps.pixel_scale.to_value(u.pc)] * 2 + [1]
    return wcs


def _segment_table(labels: np.ndarray, maps: MapSet | GasMaps, segments: int) -> QTable:
    """Return area and mean column density, velocity and dispersion of each segment; means of empty ones are NaN."""
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
