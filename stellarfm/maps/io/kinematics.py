"""Velocity and dispersion maps, brought onto the grid of the column density map."""

from __future__ import annotations

import logging

import numpy as np
from astropy import units as u
from astropy.wcs import WCS
from astropy.wcs.utils import pixel_to_pixel, proj_plane_pixel_scales

from stellarfm.exceptions import MapError
from stellarfm.maps import units
from stellarfm.maps.decisions import DecisionLog
from stellarfm.maps.io.fits_image import Plane
from stellarfm.maps.io.missing_data import blank_zeros, logged_warnings

__all__ = ["interpolate", "kinematics_on_grid", "moments_on_grid", "same_grid"]

logger = logging.getLogger("stellarfm")

#: Largest plausible offset from the median velocity within one cloud, km/s; noise of an unmasked moment map exceeds it.
LARGEST_OFFSET = 100

#: Largest distance of pixel centers of equal grids, in pixels: far below a beam, above ICRS against FK5 (20 mas).
TOLERANCE = 0.1

#: Ratio of pixel sides above which finer maps are averaged over the pixels of the grid; others are interpolated.
MUCH_FINER = 1.5


def kinematics_on_grid(
    column: Plane, velocity: Plane, dispersion: Plane, *, log: DecisionLog
) -> tuple[u.Quantity, u.Quantity]:
    """Return velocity and dispersion on the grid of `column`, with the zeros of failed fits as NaN.

    Parameters
    ----------
    column, velocity, dispersion : Plane
        Maps in km/s; the grids may differ.
    log : DecisionLog
        Receives what is taken as missing, and the grids that change.

    Returns
    -------
    velocity, dispersion : Quantity
        Shape of `column`, km/s.

    Raises
    ------
    UnitsError
        If the values are not those of a cloud.
    MapError
        If a dispersion is negative.
    """
    sigma = blank_zeros(dispersion.values, where=dispersion.where)
    if negative := np.sum(sigma < 0):
        raise MapError(
            f"{dispersion.where}: {negative} velocity dispersions are negative; "
            "expected a standard deviation, with NaN for missing values"
        )
    speed = velocity.values
    if _on_one_grid(velocity, dispersion):
        # A failed fit is zero in both maps; a velocity of zero where the dispersion is positive is a velocity.
        speed = blank_zeros(speed, where=velocity.where, only=np.isnan(sigma))
    for plane, values in ((dispersion, sigma), (velocity, speed)):
        if zeros := int((np.isnan(values) & ~np.isnan(plane.values)).sum()):
            log.add(f"{plane.where}: missing", f"{zeros} pixels of exactly zero", "zero means no fit")
    units.velocity_scale(speed, sigma, where=(velocity.where, dispersion.where))
    _warn_of_noise(speed, velocity.where)
    with logged_warnings(velocity.where):
        aligned = _align(column, velocity, dispersion, speed, sigma)
    for plane in (velocity, dispersion):
        same = _on_one_grid(column, plane)
        log.add(
            f"{plane.where}: grid",
            "as the column density" if same else "brought onto that of the column density",
            "WCS",
        )
    return aligned[0] * units.VELOCITY_UNIT, aligned[1] * units.VELOCITY_UNIT


def _on_one_grid(one: Plane, other: Plane) -> bool:
    return same_grid(one.wcs, one.values.shape, other.wcs, other.values.shape)


def _warn_of_noise(speed: np.ndarray, where: str) -> None:
    """Log a warning if velocities are too far from their median to be of one cloud."""
    valid = speed[np.isfinite(speed)]
    outliers = np.sum(np.abs(valid - np.median(valid)) > LARGEST_OFFSET) if valid.size else 0
    if outliers:
        question = "is the map masked by signal to noise?"
        logger.warning("%s: %d pixels are over %d km/s off the median; %s", where, outliers, LARGEST_OFFSET, question)


def _align(
    column: Plane, velocity: Plane, dispersion: Plane, speed: np.ndarray, sigma: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return speed and dispersion on the grid of `column`: jointly if they share a grid, else each on its own."""
    shape = column.values.shape
    if _on_one_grid(velocity, dispersion):
        if _on_one_grid(column, velocity):
            return speed, sigma
        logger.info("%s, %s: brought onto the grid of %s", velocity.where, dispersion.where, column.where)
        return moments_on_grid(speed, sigma, velocity.wcs, column.wcs, shape)
    aligned = []
    for plane, values in ((velocity, speed), (dispersion, sigma)):
        if not _on_one_grid(column, plane):
            logger.info("%s: interpolated onto the grid of %s", plane.where, column.where)
            values = interpolate(values, plane.wcs, column.wcs, shape)
        aligned.append(values)
    return aligned[0], aligned[1]


def same_grid(wcs: WCS, shape: tuple[int, int], other: WCS, other_shape: tuple[int, int]) -> bool:
    """Return True if the pixel centers of two grids agree within `TOLERANCE` pixels, whatever their frames."""
    if shape != other_shape:
        return False
    y, x = np.meshgrid(*(np.linspace(0, side - 1, 5) for side in shape), indexing="ij")
    other_x, other_y = pixel_to_pixel(wcs, other, x, y)
    return bool(np.all(np.hypot(other_x - x, other_y - y) < TOLERANCE))


def interpolate(values: np.ndarray, source: WCS, target: WCS, shape: tuple[int, int]) -> np.ndarray:
    """Interpolate a map linearly onto a grid of similar pixels; NaN beyond its edge."""
    from reproject import reproject_interp

    return reproject_interp((values, source), target, shape_out=shape, return_footprint=False)


def moments_on_grid(
    velocity: np.ndarray, dispersion: np.ndarray, source: WCS, target: WCS, shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Return velocity and dispersion on another grid.

    Maps much finer than the grid are averaged over its pixels, and the spread of the velocities within a pixel is
    added to the dispersion; others are interpolated linearly. Pixels are weighted by area alone: the column density is
    not known on the grid of the kinematics. `stellarfm.maps.regrid`, where it is known, weights by column density.

    Parameters
    ----------
    velocity, dispersion : ndarray
        Maps on the grid of `source`, in one unit.
    source, target : WCS
        Celestial WCS of the maps and of the new grid.
    shape : tuple of int
        Shape (ny, nx) of the new grid.

    Returns
    -------
    velocity, dispersion : ndarray
        Maps of shape `shape`, NaN beyond the edge of the input.
    """
    from reproject import reproject_exact

    ratio = proj_plane_pixel_scales(target).mean() / proj_plane_pixel_scales(source).mean()
    if ratio <= MUCH_FINER:
        return interpolate(velocity, source, target, shape), interpolate(dispersion, source, target, shape)
    reference = np.nanmedian(velocity) if np.isfinite(velocity).any() else 0.0
    planes = np.stack([velocity - reference, (velocity - reference) ** 2 + dispersion**2])
    first, second = reproject_exact((planes, source), target, shape_out=shape, return_footprint=False)
    return first + reference, np.sqrt(np.maximum(second - first**2, 0))
