"""Velocity and dispersion of a field from two maps, on the grid of its column density."""

from __future__ import annotations

import logging

import numpy as np
from astropy import units as u

from stellarfm.exceptions import MapError
from stellarfm.maps import units
from stellarfm.maps.io.fits_image import Plane
from stellarfm.maps.io.grids import interpolated, moments_on_grid, same_grid
from stellarfm.maps.io.missing_data import blank_zeros, logged_warnings

__all__ = ["kinematics"]

logger = logging.getLogger("stellarfm")

#: Gas of one cloud does not stray this far (km/s) from the median velocity; noise of an unmasked moment map does.
WILD_VELOCITY = 100


def kinematics(column: Plane, velocity: Plane, dispersion: Plane) -> tuple[u.Quantity, u.Quantity]:
    """Velocity and dispersion on the grid of `column`, zeros of failed fits blanked.

    Parameters
    ----------
    column, velocity, dispersion : Plane
        Maps as stored; the grids may differ.

    Returns
    -------
    velocity, dispersion : Quantity
        Shape of `column`, km/s.

    Raises
    ------
    UnitsError
        If a unit is missing or no velocity.
    MapError
        If a dispersion is negative.
    """
    sigma = blank_zeros(_numbers(dispersion), where=dispersion.where)
    _check_not_negative(sigma, dispersion.where)
    speed = _numbers(velocity)
    if _agree(velocity, dispersion):
        # A failed fit is zero in both maps; a velocity of zero beside a real dispersion is a velocity.
        speed = blank_zeros(speed, where=velocity.where, only=np.isnan(sigma))
    _warn_of_noise(speed, velocity.where)
    with logged_warnings(velocity.where):
        speed, sigma = _on_grid(column, velocity, dispersion, speed, sigma)
    return speed * units.VELOCITY_UNIT, sigma * units.VELOCITY_UNIT


def _numbers(plane: Plane) -> np.ndarray:
    """Values in km/s."""
    return units.velocity(plane.values, plane.unit(), where=plane.where).value


def _agree(one: Plane, other: Plane) -> bool:
    return same_grid(one.wcs, one.values.shape, other.wcs, other.values.shape)


def _on_grid(
    column: Plane, velocity: Plane, dispersion: Plane, speed: np.ndarray, sigma: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Speed and dispersion on the grid of `column`: together where they share a grid, else each on its own."""
    shape = column.values.shape
    if not _agree(velocity, dispersion):
        return _alone(column, velocity, speed), _alone(column, dispersion, sigma)
    if _agree(column, velocity):
        return speed, sigma
    logger.info("%s, %s: brought onto the grid of %s", velocity.where, dispersion.where, column.where)
    return moments_on_grid(speed, sigma, velocity.wcs, column.wcs, shape)


def _alone(column: Plane, plane: Plane, values: np.ndarray) -> np.ndarray:
    if _agree(column, plane):
        return values
    logger.info("%s: interpolated onto the grid of %s", plane.where, column.where)
    return interpolated(values, plane.wcs, column.wcs, column.values.shape)


def _check_not_negative(sigma: np.ndarray, where: str) -> None:
    negative = np.sum(sigma < 0)
    if negative:
        raise MapError(
            f"{where}: {negative} velocity dispersions are negative; "
            "expected a standard deviation, with NaN where there is none"
        )


def _warn_of_noise(speed: np.ndarray, where: str) -> None:
    valid = speed[np.isfinite(speed)]
    wild = np.sum(np.abs(valid - np.median(valid)) > WILD_VELOCITY) if valid.size else 0
    if wild:
        question = "is the map masked by signal to noise?"
        logger.warning("%s: %d pixels are over %d km/s off the median; %s", where, wild, WILD_VELOCITY, question)
