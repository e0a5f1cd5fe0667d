"""Averages of patch features of overlapping tiles on one fine grid, and interpolation of that grid."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import distance_transform_edt, map_coordinates

__all__ = ["block_mean", "sample", "stitch"]


def stitch(
    patches: np.ndarray, weights: np.ndarray, corners: np.ndarray, *, patch_size: int, cell: int, shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean of all patches that cover a cell.

    Parameters
    ----------
    patches : ndarray
        Patch features of T tiles, shape (T, rows, columns, D).
    weights : ndarray
        Weights of the patches, shape (T, rows, columns); 0 for patches that are not used.
    corners : ndarray
        First row and column of each tile on the map, in pixels, shape (T, 2); rounded to whole cells.
    patch_size, cell : int
        Sides in pixels; `cell` divides `patch_size`.
    shape : tuple of int
        Shape of the map, in pixels.

    Returns
    -------
    features : ndarray
        Mean features, shape (ny / cell, nx / cell, D) rounded up, float32; 0 where nothing covers a cell.
    weight : ndarray
        Total weight, shape (ny / cell, nx / cell).
    """
    n_y, n_x = (-(-side // cell) for side in shape)
    repeat = patch_size // cell
    margin = patches.shape[1] * repeat
    total = np.zeros((n_y + 2 * margin, n_x + 2 * margin, patches.shape[-1]), dtype=np.float32)
    weight = np.zeros(total.shape[:2], dtype=np.float32)
    for tile, tile_weight, corner in zip(patches, weights, corners, strict=True):
        y, x = (round(int(start) / cell) + margin for start in corner)
        spread = _repeated(tile_weight, repeat)
        window = (slice(y, y + spread.shape[0]), slice(x, x + spread.shape[1]))
        total[window] += _repeated(tile * tile_weight[..., None], repeat)
        weight[window] += spread
    inner = (slice(margin, margin + n_y), slice(margin, margin + n_x))
    covered = np.maximum(weight[inner], np.finfo(np.float32).tiny)
    return np.where(weight[inner][..., None] > 0, total[inner] / covered[..., None], 0), weight[inner]


def _repeated(values: np.ndarray, repeat: int) -> np.ndarray:
    """Return each element `repeat` times along the first two axes."""
    return values.repeat(repeat, axis=0).repeat(repeat, axis=1)


def block_mean(values: np.ndarray, cell: int) -> np.ndarray:
    """Return the mean of the finite values in blocks of `cell` x `cell` pixels of the last two axes, or NaN."""
    padding = [(0, 0)] * (values.ndim - 2) + [(0, -side % cell) for side in values.shape[-2:]]
    padded = np.pad(values, padding, constant_values=np.nan)
    *others, n_y, n_x = padded.shape
    blocks = padded.reshape(*others, n_y // cell, cell, n_x // cell, cell)
    finite = np.isfinite(blocks)
    count = finite.sum(axis=(-3, -1))
    total = np.where(finite, blocks, 0).sum(axis=(-3, -1))
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)


def sample(grid: np.ndarray, valid: np.ndarray, y: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return values of a grid of cells at fractional positions, linearly interpolated.

    Parameters
    ----------
    grid : ndarray
        Values of cells, shape (rows, columns, C).
    valid : ndarray
        Boolean, shape (rows, columns); other cells take the value of the nearest valid one, which keeps borders sharp.
    y, x : ndarray
        Positions in cells, any common shape; 0 is the center of the first cell.

    Returns
    -------
    values : ndarray
        Interpolated values, shape of `y` plus (C,), float32.
    covered : ndarray
        Boolean, shape of `y`: the position lies in a valid cell.
    """
    nearest = distance_transform_edt(~valid, return_distances=False, return_indices=True)
    filled = grid[tuple(nearest)]
    planes = [map_coordinates(plane, [y, x], order=1, mode="nearest") for plane in np.moveaxis(filled, -1, 0)]
    row, column = np.floor(y + 0.5).astype(int), np.floor(x + 0.5).astype(int)
    inside = (row >= 0) & (row < valid.shape[0]) & (column >= 0) & (column < valid.shape[1])
    covered = inside & valid[row.clip(0, valid.shape[0] - 1), column.clip(0, valid.shape[1] - 1)]
    return np.stack(planes, axis=-1).astype(np.float32), covered
