"""Patch features of a field or of windows on a grid of cells, and values of that grid at every pixel."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from astropy import units as u
from astropy.wcs.utils import pixel_to_pixel

from stellarfm.exceptions import MapError
from stellarfm.inference.segmentation.stitching import block_mean, sample, stitch
from stellarfm.maps import GasMaps, MapSet, regrid, tiles

if TYPE_CHECKING:
    from stellarfm.inference.encoding.embedding import Embedder
    from stellarfm.inference.segmentation.patch_distribution import PatchDistribution

__all__ = ["PatchGrid", "default_scale", "field_patch_grid", "window_patch_grid"]

logger = logging.getLogger("stellarfm")

#: A patch is used if at least this fraction of its pixels is usable.
MIN_PATCH_COVERAGE = 0.5

#: Least number of windows along the longer side of a field: a single one would leave a handful of patches to cluster.
WINDOWS_ACROSS = 2


@dataclass(frozen=True, eq=False)
class PatchGrid:
    """Patch features on one grid of cells (rows, columns), or on N of them (N, rows, columns).

    Attributes
    ----------
    features : ndarray
        Patch features, shape (..., D).
    ood : ndarray
        Distance to the reference patches, shape (...); above 1 out of distribution.
    tracers : ndarray
        Log column density, velocity and dispersion averaged over cells, shape (..., 3).
    valid : ndarray
        Boolean, shape (...): a usable patch covers the cell.
    y, x : ndarray
        Positions of the pixels of the input on a grid, in cells, any common shape.
    """

    features: np.ndarray
    ood: np.ndarray
    tracers: np.ndarray
    valid: np.ndarray
    y: np.ndarray
    x: np.ndarray

    def clusterable(self) -> np.ndarray:
        """Return a boolean array of the valid cells whose tracers are known; `MapError` if there is none."""
        found = self.valid & np.isfinite(self.tracers).all(axis=-1)
        if not found.any():
            raise MapError("no patch has enough usable pixels; expected all three maps on connected pieces of sky")
        return found

    def at_pixels(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return values of cells (..., C) interpolated to the pixels of the input, and where a patch covers these."""
        if values.ndim == 3:
            return sample(values, self.valid, self.y, self.x)
        empty = np.zeros((*self.y.shape, values.shape[-1]), np.float32), np.zeros(self.y.shape, bool)
        sampled = [
            sample(cells, valid, self.y, self.x) if valid.any() else empty
            for cells, valid in zip(values, self.valid, strict=True)
        ]
        return np.stack([pixels for pixels, _ in sampled]), np.stack([covered for _, covered in sampled])


def default_scale(embedder: Embedder, maps: GasMaps) -> u.Quantity:
    """Return the pixel scale of the tiles of a field: the model's, or a finer one where the field is small.

    A field must hold two windows along its longer side; its own pixels are the limit.
    """
    across = max(maps.shape) * maps.pixel_scale / (WINDOWS_ACROSS * embedder.pixels)
    scale = min(embedder.pixel_scale, max(across, maps.pixel_scale)).to(u.pc)
    if scale < embedder.pixel_scale:
        logger.info(
            "the field is small: its tiles have pixels of %s, the model's %s",
            f"{scale:.3g}",
            f"{embedder.pixel_scale:.3g}",
        )
    return scale


def field_patch_grid(
    embedder: Embedder, patch_distribution: PatchDistribution, maps: GasMaps, pixel_scale: u.Quantity
) -> PatchGrid:
    """Return the patch features of a field regridded to `pixel_scale`, averaged over overlapping tiles."""
    grid = regrid(maps, pixel_scale)
    size = embedder.patch_size
    cell = size // 2 if size % 2 == 0 else size
    windows, corners = tiles(grid, pixels=embedder.pixels, stride=_stride(embedder.pixels, cell))
    stack, weights = _weighted_patches(embedder, patch_distribution, windows)
    stack, weight = stitch(stack, weights, corners, patch_size=size, cell=cell, shape=grid.shape)
    y, x = np.indices(maps.shape, dtype=np.float64)
    if grid is not maps:
        x, y = pixel_to_pixel(maps.wcs, grid.wcs, x, y)
    y, x = (y + 0.5) / cell - 0.5, (x + 0.5) / cell - 0.5
    return PatchGrid(stack[..., :-1], stack[..., -1], _tracers(grid, cell), weight > 0, y, x)


def window_patch_grid(embedder: Embedder, patch_distribution: PatchDistribution, maps: MapSet) -> PatchGrid:
    """Return the patch features of windows, a grid of patches for each of them."""
    size = embedder.patch_size
    stack, weights = _weighted_patches(embedder, patch_distribution, maps)
    y, x = (np.indices(maps.mask.shape[1:]) + 0.5) / size - 0.5
    return PatchGrid(stack[..., :-1], stack[..., -1], _tracers(maps, size), weights > 0, y, x)


def _stride(pixels: int, cell: int) -> int:
    """Return the step between tiles: about a third of a tile, an odd number of cells, so that patches interleave."""
    return min(pixels, cell * max(1, (pixels // (3 * cell) - 1) | 1))


def _weighted_patches(
    embedder: Embedder, patch_distribution: PatchDistribution, windows: MapSet
) -> tuple[np.ndarray, np.ndarray]:
    """Return patch features with the OOD score as the last one, and the weight of each patch.

    Patches weigh less with missing pixels and at the edge of a tile, where they see less around them.
    """
    patches = embedder.patches(windows)
    stack = np.concatenate([patches, patch_distribution.score(patches)[..., None]], axis=-1)
    usable = block_mean((~windows.mask).astype(np.float32), embedder.patch_size)
    side = patches.shape[1]
    taper = np.sin(np.pi * (np.arange(side) + 0.5) / side)
    weights = np.where(usable >= MIN_PATCH_COVERAGE, usable * np.outer(taper, taper), 0)
    return stack, weights.astype(np.float32)


def _tracers(maps: MapSet | GasMaps, cell: int) -> np.ndarray:
    """Return log column density, velocity and dispersion averaged over cells, shape (..., 3)."""
    planes = [maps.column_density, maps.velocity, maps.velocity_dispersion]
    means = np.stack([block_mean(np.where(maps.mask, np.nan, plane.value), cell) for plane in planes], axis=-1)
    positive = np.where(means[..., 0] > 0, means[..., 0], np.nan)
    means[..., 0] = np.log10(positive)
    return means
