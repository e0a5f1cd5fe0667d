"""Maps on one grid: when two grids are the same, and how to bring one map onto another's."""

from __future__ import annotations

import numpy as np
from astropy.wcs import WCS
from astropy.wcs.utils import pixel_to_pixel, proj_plane_pixel_scales

__all__ = ["interpolated", "moments_on_grid", "same_grid"]

#: Pixel centres may differ by this many pixels: far below a beam, above what ICRS against FK5 does (20 mas).
TOLERANCE = 0.1

#: Maps finer than the grid by more than this factor are averaged, others interpolated.
MUCH_FINER = 1.5


def same_grid(wcs: WCS, shape: tuple[int, int], other: WCS, other_shape: tuple[int, int]) -> bool:
    """Whether the pixel centres of two grids agree within `TOLERANCE` pixels, whatever their frames."""
    if shape != other_shape:
        return False
    y, x = np.meshgrid(*(np.linspace(0, side - 1, 5) for side in shape), indexing="ij")
    other_x, other_y = pixel_to_pixel(wcs, other, x, y)
    return bool(np.all(np.hypot(other_x - x, other_y - y) < TOLERANCE))


def interpolated(values: np.ndarray, source: WCS, target: WCS, shape: tuple[int, int]) -> np.ndarray:
    """A map on another grid of similar pixels, linearly interpolated; NaN beyond its edge."""
    from reproject import reproject_interp

    return reproject_interp((values, source), target, shape_out=shape, return_footprint=False)


def moments_on_grid(
    velocity: np.ndarray, dispersion: np.ndarray, source: WCS, target: WCS, shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Velocity and dispersion on another grid.

    Maps much finer than the grid are averaged over its pixels, and the spread of the velocities within a pixel is
    added to the dispersion; others are interpolated linearly.

    Parameters
    ----------
    velocity, dispersion : ndarray
        On the grid of `source`, one unit.
    source, target : WCS
        Both celestial.
    shape : tuple of int
        (ny, nx) of the target.
    """
    from reproject import reproject_exact

    ratio = proj_plane_pixel_scales(target).mean() / proj_plane_pixel_scales(source).mean()
    if ratio <= MUCH_FINER:
        return interpolated(velocity, source, target, shape), interpolated(dispersion, source, target, shape)
    centre = np.nanmedian(velocity) if np.isfinite(velocity).any() else 0.0
    planes = np.stack([velocity - centre, (velocity - centre) ** 2 + dispersion**2])
    first, second = reproject_exact((planes, source), target, shape_out=shape, return_footprint=False)
    return first + centre, np.sqrt(np.maximum(second - first**2, 0))
