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
from astropy.wcs.utils import pixel_to_pixel

from stellarfm.exceptions import MapError
from stellarfm.inference.clustering import PatchClusters
from stellarfm.inference.stitching import block_mean, sample, stitch
from stellarfm.maps import GasMaps, MapSet

if TYPE_CHECKING:
    from stellarfm.inference.model import StellarModel

__all__ = ["Segmentation", "segment_maps"]

#: A patch is used if at least this fraction of its pixels is usable.
MIN_PATCH_COVERAGE = 0.5

#: Components (..., C), OOD scores (...) and coverage (...) at each pixel.
Scores = tuple[np.ndarray, np.ndarray, np.ndarray]

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
        """Write the FITS form; see `stellarfm.inference.segmentfile.write_segmentation`."""
        from stellarfm.inference.segmentfile import write_segmentation

        return write_segmentation(self, path, overwrite=overwrite)


def segment_maps(model: StellarModel, maps: MapSet | GasMaps, *, segments: int = 6, seed: int = 0) -> Segmentation:
    """Cluster the patch features of a field, or of many windows together.

    A field is brought to the model's pixel scale and cut into tiles that overlap by half patches, so that features
    vary on half the patch size; they are interpolated to the pixels of the input.

    Parameters
    ----------
    model : StellarModel
        Gives encoder, scaler and the patches it knows.
    maps : GasMaps or MapSet
        A field with a known distance, or windows of the model's size and scale.
    segments : int
        Number of segments.
    seed : int
        Of the clustering.

    Raises
    ------
    MapError, ModelError
        If no patch is usable, `segments` does not fit, or the windows do not fit the model.
    """
    clusters = PatchClusters(n_segments=segments, seed=seed)
    meta = {**model.provenance(), "segments": str(segments), "seed": str(seed)}
    if isinstance(maps, GasMaps):
        scores, ood, covered = _field_scores(model, maps, clusters)
        usable = covered & ~maps.mask
        wcs, angle, scale = maps.wcs, maps.pixel_angle, maps.pixel_scale
    else:
        scores, ood, covered = _window_scores(model, maps, clusters)
        usable = covered & ~maps.mask
        wcs, angle, scale = _offset_wcs(maps), None, maps.pixel_scale
    labels, confidence = clusters.assign(scores)
    labels = np.where(usable, labels, 0).astype(np.int16)
    colours = np.moveaxis(_three(scores), -1, 0)
    return Segmentation(
        labels,
        np.where(usable, colours, np.nan).astype(np.float32),
        np.where(usable, confidence, np.nan).astype(np.float32),
        np.where(usable, ood, np.nan).astype(np.float32),
        wcs,
        _segment_table(labels, maps, segments, angle, scale),
        meta,
    )


def _three(scores: np.ndarray) -> np.ndarray:
    """The first three components; zeros stand for those that do not exist."""
    missing = max(0, N_COLOURS - scores.shape[-1])
    return np.pad(scores, [(0, 0)] * (scores.ndim - 1) + [(0, missing)])[..., :N_COLOURS]


def _tracers(maps: MapSet | GasMaps, cell: int) -> np.ndarray:
    """Log column density, velocity and dispersion averaged over cells, shape (..., 3)."""
    column = np.where(maps.mask, np.nan, maps.column_density.value)
    planes = [column, maps.velocity.value, maps.velocity_dispersion.value]
    means = np.stack([block_mean(plane, cell) for plane in planes], axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        means[..., 0] = np.log10(means[..., 0])
    return means


def _fit(clusters: PatchClusters, features: np.ndarray, tracers: np.ndarray, valid: np.ndarray) -> None:
    """Fit on the valid cells whose tracers are all known."""
    good = valid & np.isfinite(tracers).all(axis=-1)
    if not good.any():
        raise MapError("no patch has enough usable pixels; expected all three maps on connected pieces of sky")
    clusters.fit(features[good], tracers[good])


def _field_scores(model: StellarModel, maps: GasMaps, clusters: PatchClusters) -> Scores:
    """Components, OOD scores and coverage at the pixels of a field."""
    from stellarfm.maps import regrid, tiles

    patch_size = model.encoder.module.patch_size
    cell = patch_size // 2
    grid = regrid(maps, model.pixel_scale)
    windows, corners = tiles(grid, pixels=model.pixels, stride=_stride(model.pixels, cell))
    stack, weights = _described(model, windows)
    features, weight = stitch(stack, weights, corners, patch_size=patch_size, cell=cell, shape=grid.shape)
    valid = weight > 0
    _fit(clusters, features[..., :-1], _tracers(grid, cell), valid)
    cells = np.concatenate([clusters.transform(features[..., :-1]), features[..., -1:]], axis=-1)
    y, x = _cell_positions(maps, grid, cell)
    values, covered = sample(cells, valid, y, x)
    return values[..., :-1], values[..., -1], covered


def _stride(pixels: int, cell: int) -> int:
    """Step between tiles: about a third of a tile, an odd number of cells, so that patches fall between patches."""
    return cell * max(1, (pixels // (3 * cell) - 1) | 1)


def _described(model: StellarModel, windows: MapSet) -> tuple[np.ndarray, np.ndarray]:
    """Patch features with the OOD score as the last one, and the weight of each patch: less at the edge of a tile."""
    patches = model.patches(windows)
    stack = np.concatenate([patches, model.reference.patches.score(patches)[..., None]], axis=-1)
    usable = block_mean((~windows.mask).astype(np.float32), model.encoder.module.patch_size)
    side = patches.shape[1]
    taper = np.sin(np.pi * (np.arange(side) + 0.5) / side)
    return stack, np.where(usable >= MIN_PATCH_COVERAGE, np.outer(taper, taper), 0).astype(np.float32)


def _cell_positions(maps: GasMaps, grid: GasMaps, cell: int) -> tuple[np.ndarray, np.ndarray]:
    """Where the pixels of a field lie on the grid of cells."""
    y, x = np.indices(maps.shape, dtype=np.float64)
    if grid is not maps:
        x, y = pixel_to_pixel(maps.wcs, grid.wcs, x, y)
    return (y + 0.5) / cell - 0.5, (x + 0.5) / cell - 0.5


def _window_scores(model: StellarModel, maps: MapSet, clusters: PatchClusters) -> Scores:
    """Components, OOD scores and coverage at the pixels of windows."""
    stack, weights = _described(model, maps)
    size = model.encoder.module.patch_size
    _fit(clusters, stack[..., :-1], _tracers(maps, size), weights > 0)
    cells = np.concatenate([clusters.transform(stack[..., :-1]), stack[..., -1:]], axis=-1)
    y, x = (np.indices(maps.mask.shape[1:]) + 0.5) / size - 0.5
    nothing = (np.zeros((*y.shape, cells.shape[-1]), np.float32), np.zeros(y.shape, bool))
    pairs = [
        sample(grid, weight > 0, y, x) if weight.any() else nothing for grid, weight in zip(cells, weights, strict=True)
    ]
    values, covered = (np.stack(parts) for parts in zip(*pairs, strict=True))
    return values[..., :-1], values[..., -1], covered


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


def _segment_table(
    labels: np.ndarray, maps: MapSet | GasMaps, segments: int, angle: u.Quantity | None, scale: u.Quantity
) -> QTable:
    """Area and mean column density, velocity and dispersion of each segment; means of empty ones are NaN."""
    count = np.bincount(labels.ravel(), minlength=segments + 1)[1:]
    table = QTable({"segment": np.arange(1, segments + 1, dtype=np.int16), "pixels": count})
    table["area"] = (count * scale**2).to(u.pc**2)
    if angle is not None:
        table["solid_angle"] = (count * angle**2).to(u.arcmin**2)
    for name in ("column_density", "velocity", "velocity_dispersion"):
        values = getattr(maps, name)
        total = np.bincount(labels.ravel(), np.nan_to_num(values.value.ravel()), minlength=segments + 1)[1:]
        table[name] = np.divide(total, count, out=np.full(segments, np.nan), where=count > 0) * values.unit
    return table
