"""Components of patch features at every pixel of a field or of windows."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from astropy import units as u
from astropy.wcs.utils import pixel_to_pixel

from stellarfm.exceptions import MapError
from stellarfm.inference.segmentation.clustering import PatchClusters
from stellarfm.inference.segmentation.stitching import block_mean, sample, stitch
from stellarfm.maps import GasMaps, MapSet, regrid, tiles

if TYPE_CHECKING:
    from stellarfm.inference.model import StellarModel

__all__ = ["PatchMap", "default_scale", "field_patch_map", "window_patch_map"]

logger = logging.getLogger("stellarfm")

#: A patch is used if at least this fraction of its pixels is usable.
MIN_PATCH_COVERAGE = 0.5

#: Windows along the longer side of a field, at least: one would leave a handful of patches to cluster.
WINDOWS_ACROSS = 2


class PatchMap(NamedTuple):
    """Components (..., C), OOD scores (...) and whether a usable patch covers it (...), for each pixel."""

    scores: np.ndarray
    ood: np.ndarray
    covered: np.ndarray


def default_scale(model: StellarModel, maps: GasMaps) -> u.Quantity:
    """The pixel scale of the tiles of a field: the model's, or finer where the field is small.

    A field must hold two windows along its longer side; its own pixels are the limit.
    """
    across = max(maps.shape) * maps.pixel_scale / (WINDOWS_ACROSS * model.pixels)
    scale = min(model.pixel_scale, max(across, maps.pixel_scale)).to(u.pc)
    if scale < model.pixel_scale:
        logger.info(
            "the field is small: its tiles have pixels of %s, the model's %s",
            f"{scale:.3g}",
            f"{model.pixel_scale:.3g}",
        )
    return scale


def field_patch_map(model: StellarModel, maps: GasMaps, clusters: PatchClusters, pixel_scale: u.Quantity) -> PatchMap:
    """Fit `clusters` on a field at `pixel_scale`, and give their components at the pixels of the field itself."""
    grid = regrid(maps, pixel_scale)
    size = model.encoder.module.patch_size
    cell = size // 2 if size % 2 == 0 else size
    windows, corners = tiles(grid, pixels=model.pixels, stride=_stride(model.pixels, cell))
    stack, weights = _described(model, windows)
    features, weight = stitch(stack, weights, corners, patch_size=size, cell=cell, shape=grid.shape)
    cells = _components(clusters, features, _tracers(grid, cell), weight > 0)
    y, x = _cell_positions(maps, grid, cell)
    values, covered = sample(cells, weight > 0, y, x)
    return PatchMap(values[..., :-1], values[..., -1], covered)


def window_patch_map(model: StellarModel, maps: MapSet, clusters: PatchClusters) -> PatchMap:
    """Fit `clusters` on the patches of all windows together, and give their components at the pixels."""
    size = model.encoder.module.patch_size
    stack, weights = _described(model, maps)
    grids = _components(clusters, stack, _tracers(maps, size), weights > 0)
    y, x = (np.indices(maps.mask.shape[1:]) + 0.5) / size - 0.5
    nothing = (np.zeros((*y.shape, grids.shape[-1]), np.float32), np.zeros(y.shape, bool))
    sampled = [sample(cells, weight > 0, y, x) if weight.any() else nothing for cells, weight in zip(grids, weights)]
    values, covered = (np.stack(parts) for parts in zip(*sampled))
    return PatchMap(values[..., :-1], values[..., -1], covered)


def _stride(pixels: int, cell: int) -> int:
    """Step between tiles: about a third of a tile, an odd number of cells, so that patches fall between patches."""
    return min(pixels, cell * max(1, (pixels // (3 * cell) - 1) | 1))


def _described(model: StellarModel, windows: MapSet) -> tuple[np.ndarray, np.ndarray]:
    """Patch features with the OOD score as the last one, and the weight of each patch.

    Patches weigh less with missing pixels and at the edge of a tile, where they see less around them.
    """
    patches = model.patches(windows)
    stack = np.concatenate([patches, model.reference.patches.score(patches)[..., None]], axis=-1)
    usable = block_mean((~windows.mask).astype(np.float32), model.encoder.module.patch_size)
    side = patches.shape[1]
    taper = np.sin(np.pi * (np.arange(side) + 0.5) / side)
    weights = np.where(usable >= MIN_PATCH_COVERAGE, usable * np.outer(taper, taper), 0)
    return stack, weights.astype(np.float32)


def _tracers(maps: MapSet | GasMaps, cell: int) -> np.ndarray:
    """Log column density, velocity and dispersion averaged over cells, shape (..., 3)."""
    planes = [maps.column_density, maps.velocity, maps.velocity_dispersion]
    means = np.stack([block_mean(np.where(maps.mask, np.nan, plane.value), cell) for plane in planes], axis=-1)
    positive = np.where(means[..., 0] > 0, means[..., 0], np.nan)
    means[..., 0] = np.log10(positive)
    return means


def _components(clusters: PatchClusters, stack: np.ndarray, tracers: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Fit on the valid cells whose tracers are known; the components of all cells, then their OOD score."""
    good = valid & np.isfinite(tracers).all(axis=-1)
    if not good.any():
        raise MapError("no patch has enough usable pixels; expected all three maps on connected pieces of sky")
    clusters.fit(stack[good][:, :-1], tracers[good])
    return np.concatenate([clusters.transform(stack[..., :-1]), stack[..., -1:]], axis=-1)


def _cell_positions(maps: GasMaps, grid: GasMaps, cell: int) -> tuple[np.ndarray, np.ndarray]:
    """Where the pixels of a field lie on the grid of cells."""
    y, x = np.indices(maps.shape, dtype=np.float64)
    if grid is not maps:
        x, y = pixel_to_pixel(maps.wcs, grid.wcs, x, y)
    return (y + 0.5) / cell - 0.5, (x + 0.5) / cell - 0.5
