"""Regridding of a field: mass is conserved, and motion within a new pixel becomes dispersion."""

from __future__ import annotations

import logging

import numpy as np
from astropy import units as u
from astropy.wcs import WCS

from stellarfm.exceptions import MapError
from stellarfm.maps.gas_maps import GasMaps
from stellarfm.maps.io.celestial_wcs import local_pixel_sides
from stellarfm.maps.units import COLUMN_UNIT, VELOCITY_UNIT, parse_length

__all__ = ["regrid"]

logger = logging.getLogger("stellarfm")

#: Relative difference below which scales are taken as equal: 2 % of 64 pixels is about one pixel.
SAME_SCALE = 0.02

#: Fraction of the area of a new pixel that must be valid.
VALID_AREA = 0.5


#: Largest ratio of the pixels of a map to the new ones; beyond it a window shows a handful of pixels.
COARSEST = 8


def regrid(maps: GasMaps, pixel_scale: u.Quantity | str) -> GasMaps:
    """Resample a field to square pixels of `pixel_scale`, in the same projection and orientation.

    A new pixel holds the area mean of the column density N, the column-weighted mean velocity, and the dispersion
    sigma of ``sigma^2 = <N (sigma^2 + v^2)> / <N> - v_mean^2``, as observed with larger pixels. Standard errors are
    dropped: neighboring pixels share a beam.

    Parameters
    ----------
    maps : GasMaps
        Field with a distance.
    pixel_scale : Quantity or str
        Side of the new pixels, pc.

    Returns
    -------
    GasMaps
        Field of shape about ``maps.shape * maps.pixel_scale / pixel_scale``; `maps` itself if the scales differ by less
        than 2 %.

    Raises
    ------
    MapError
        If the distance is not known, the WCS is distorted, or no new pixel is valid.

    Examples
    --------
    >>> from stellarfm.data import EXAMPLE_FIELD
    >>> from stellarfm.maps import GasMaps, regrid
    >>> regrid(GasMaps.read(EXAMPLE_FIELD), "0.015625 pc").shape
    (209, 209)
    """
    target = parse_length(pixel_scale, what="pixel_scale")
    middle = [(length - 1) / 2 for length in maps.shape[::-1]]
    pixel_sides = np.radians(local_pixel_sides(maps.wcs, *middle)) * (
        maps.pixel_scale / maps.pixel_angle.to_value(u.rad)
    )
    factor_x, factor_y = (target / pixel_sides).to_value(u.one)
    if max(abs(factor_x - 1), abs(factor_y - 1)) < SAME_SCALE:
        return maps
    logger.info("regridding to %s: new pixels are %.3g x %.3g old ones", target, factor_x, factor_y)
    if 1 / min(factor_x, factor_y) > COARSEST:
        raise MapError(
            f"{maps.meta.get('files') or 'maps'}: pixels of {maps.pixel_scale:.3g} are "
            f"{1 / min(factor_x, factor_y):.3g} times the {target:.3g} of the model, expected at most "
            f"{COARSEST:g} times; use finer maps, or check the distance ({maps.distance:.4g}): distance="
        )
    if min(factor_x, factor_y) < 0.5:
        logger.warning(
            "the pixels of the map are over twice as large as the new ones; structure of %s is missing", target
        )
    column, velocity, dispersion = _moments(maps, (factor_y, factor_x))
    return GasMaps(
        column_density=column * COLUMN_UNIT,
        velocity=velocity * VELOCITY_UNIT,
        velocity_dispersion=dispersion * VELOCITY_UNIT,
        wcs=_scaled_wcs(maps.wcs, np.array([factor_x, factor_y])),
        distance=maps.distance,
        meta=dict(maps.meta),
    )


def _moments(maps: GasMaps, factors: tuple[float, float]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return area-mean column density, weighted mean velocity and total dispersion on the new pixels."""
    column, velocity = maps.column_density.value, maps.velocity.value
    usable = ~maps.mask & (np.nan_to_num(column) > 0)
    reference = np.median(velocity[usable]) if usable.any() else 0.0  # keeps v^2 near sigma^2 in the sums
    weight = np.where(usable, column, 0.0)
    relative = np.where(usable, velocity - reference, 0.0)
    second = np.where(usable, maps.velocity_dispersion.value, 0.0) ** 2 + relative**2

    with_column, usable_area = (_box_mean(valid.astype(float), factors) for valid in (np.isfinite(column), usable))
    total = _box_mean(weight, factors)
    mean_column = _ratio(_box_mean(np.nan_to_num(column), factors), with_column, with_column >= VALID_AREA)
    mean_velocity = _ratio(_box_mean(weight * relative, factors), total, usable_area >= VALID_AREA)
    mean_square = _ratio(_box_mean(weight * second, factors), total, usable_area >= VALID_AREA)
    return mean_column, mean_velocity + reference, np.sqrt(np.maximum(mean_square - mean_velocity**2, 0))


def _ratio(numerator: np.ndarray, denominator: np.ndarray, valid: np.ndarray) -> np.ndarray:
    return np.divide(numerator, denominator, out=np.full(numerator.shape, np.nan), where=valid & (denominator > 0))


def _box_mean(values: np.ndarray, factors: tuple[float, float]) -> np.ndarray:
    """Average over boxes of `factors` (rows, columns) old pixels, with fractions of pixels; zero beyond the edge."""
    for axis, factor in enumerate(factors):
        values = np.moveaxis(_box_mean_rows(np.moveaxis(values, axis, 0), factor), 0, axis)
    return values


def _box_mean_rows(values: np.ndarray, factor: float) -> np.ndarray:
    """Average along the first axis by differences of the integral, which is linear within a pixel."""
    n_old = len(values)
    n_new = int(np.ceil(n_old / factor - 1e-6))
    edges = np.minimum(np.arange(n_new + 1) * factor, n_old)
    whole = np.minimum(edges.astype(int), n_old - 1)
    integral = np.concatenate([np.zeros((1, *values.shape[1:])), np.cumsum(values, axis=0, dtype=float)])
    at_edges = integral[whole] + (edges - whole)[:, None] * values[whole]
    return np.diff(at_edges, axis=0) / factor


def _scaled_wcs(wcs: WCS, factors: np.ndarray) -> WCS:
    """Return the WCS of pixels larger by `factors` (x, y) with the same outer corner."""
    if wcs.has_distortion:
        raise MapError("the WCS has distortion terms; resample the maps onto an undistorted grid first")
    scaled = WCS(wcs.to_header())  # CD and CROTA become PC
    matrix = scaled.pixel_scale_matrix * factors
    sides = np.where(np.diag(matrix) < 0, -1, 1) * np.hypot(*matrix)
    scaled.wcs.cdelt, scaled.wcs.pc = sides, matrix / sides[:, None]
    scaled.wcs.crpix = (wcs.wcs.crpix - 0.5) / factors + 0.5
    scaled.wcs.set()
    return scaled
