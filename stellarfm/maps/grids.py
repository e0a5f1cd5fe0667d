"""Maps on one grid: when two grids are the same, and how to bring one map onto another's."""

from __future__ import annotations

import logging

import numpy as np
from astropy.wcs import WCS
from astropy.wcs.utils import pixel_to_pixel, proj_plane_pixel_scales

from stellarfm.exceptions import MapError

__all__ = ["kinematics_on_grid", "same_grid"]

logger = logging.getLogger("stellarfm")

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


def kinematics_on_grid(
    velocity: np.ndarray, dispersion: np.ndarray, source: WCS, target: WCS, shape: tuple[int, int], *, where: str
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
    where : str
        For messages.
    """
    from reproject import reproject_exact, reproject_interp

    ratio = proj_plane_pixel_scales(target).mean() / proj_plane_pixel_scales(source).mean()
    logger.info("%s: brought onto the grid of the column density map (pixels %.3g times as large)", where, ratio)
    average = ratio > MUCH_FINER
    project = reproject_exact if average else reproject_interp
    planes = np.stack([velocity, velocity**2 + dispersion**2 if average else dispersion])
    (first, second), footprint = project((planes, source), target, shape_out=shape)
    if not np.any(footprint > 0):
        raise MapError(f"{where}: does not overlap the column density map; expected maps of the same piece of sky")
    return (first, np.sqrt(np.maximum(second - first**2, 0))) if average else (first, second)
