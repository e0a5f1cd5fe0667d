"""Moments of a spectral cube over the voxels that contain a line, with their errors."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from astropy import units as u

from stellarfm.exceptions import MapError
from stellarfm.maps.units import VELOCITY_UNIT
from stellarfm.readers.fits.line_mask import signal_mask

if TYPE_CHECKING:
    from spectral_cube import SpectralCube

__all__ = ["LineMoments", "line_moments"]

#: Smallest number of channels from which a width can be measured.
MIN_LINE_CHANNELS = 3


class LineMoments(NamedTuple):
    """Moments of a line and their standard errors, each shape (ny, nx); NaN where there is no line.

    Attributes
    ----------
    intensity : Quantity
        Integral over velocity, unit of the cube times km/s.
    velocity, dispersion : Quantity
        Mean and standard deviation, km/s.
    intensity_error, velocity_error, dispersion_error : Quantity
        Standard errors from noise that is independent between channels, without the flux outside the mask.
    """

    intensity: u.Quantity
    velocity: u.Quantity
    dispersion: u.Quantity
    intensity_error: u.Quantity
    velocity_error: u.Quantity
    dispersion_error: u.Quantity


def line_moments(cube: SpectralCube, noise: np.ndarray, *, where: str) -> LineMoments:
    """Return the moments of the voxels selected by `signal_mask`.

    Parameters
    ----------
    cube : SpectralCube
        Spectral axis in km/s.
    noise : ndarray
        Standard deviation of a voxel, unit of the cube, shape (ny, nx).
    where : str
        File, for messages.

    Raises
    ------
    MapError
        If no spectrum rises above the noise.
    """
    mask = signal_mask(cube.filled_data[:].value, noise)
    mask &= mask.sum(axis=0) >= MIN_LINE_CHANNELS
    if not mask.any():
        raise MapError(f"{where}: no line rises above the noise (median {np.nanmedian(noise):.3g} {cube.unit})")
    line = cube.with_mask(mask)
    with warnings.catch_warnings(), np.errstate(divide="ignore", invalid="ignore"):
        warnings.simplefilter("ignore")  # spectral-cube warns about memory and about pixels without a line
        intensity, velocity, dispersion = line.moment(order=0), line.moment(order=1), line.linewidth_sigma()
    values = (intensity.quantity, velocity.to(VELOCITY_UNIT).quantity, dispersion.to(VELOCITY_UNIT).quantity)
    return LineMoments(*values, *_errors(mask, noise * cube.unit, cube.spectral_axis, *values))


def _errors(
    mask: np.ndarray,
    noise: u.Quantity,
    axis: u.Quantity,
    intensity: u.Quantity,
    velocity: u.Quantity,
    dispersion: u.Quantity,
) -> tuple[u.Quantity, u.Quantity, u.Quantity]:
    """Propagate independent noise in the channels of the mask to first order."""
    shift = axis[:, None, None] - velocity
    channel = noise * np.abs(axis[1] - axis[0])
    relative = (channel / intensity).to(u.one)
    first = np.sqrt(np.sum(shift**2, axis=0, where=mask))
    second = np.sqrt(np.sum((shift**2 - dispersion**2) ** 2, axis=0, where=mask))
    number = np.where(np.isfinite(intensity), mask.sum(axis=0), np.nan)
    return channel * np.sqrt(number), relative * first, relative * second / (2 * dispersion)
