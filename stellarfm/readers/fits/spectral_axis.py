"""Spectral cubes from FITS images: identification of the axes and their units, which headers often lack."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.wcs import WCS

from stellarfm.exceptions import MapError, ReaderError, UnitsError
from stellarfm.maps.io.celestial_wcs import is_sky_axis, wcs_header
from stellarfm.maps.units import VELOCITY_UNIT, clean_unit, parse_quantity, require_unit
from stellarfm.readers.fits.cubes import long_axes

if TYPE_CHECKING:
    from spectral_cube import SpectralCube

__all__ = ["channels_within", "spectral_cube"]

_VELOCITIES = ("VRAD", "VOPT", "VELO")


def channels_within(text: str, axis: u.Quantity) -> np.ndarray:
    """Return the channels whose velocities lie within given ranges.

    Parameters
    ----------
    text : str
        Ranges such as ``"0 to 2 km/s, 8 to 10 km/s"``.
    axis : Quantity
        Velocities of the channels, shape (n,).

    Returns
    -------
    ndarray
        Boolean, shape (n,).

    Raises
    ------
    UnitsError
        If a range is not one of velocities.
    """
    chosen = np.zeros(len(axis), dtype=bool)
    for part in text.split(","):
        low, _, high = part.partition(" to ")
        upper = parse_quantity(high, "line_free velocity", '"0 to 2 km/s"')
        if not upper.unit.is_equivalent(VELOCITY_UNIT):
            raise UnitsError(f'line_free {part.strip()!r}; expected velocities like "0 to 2 km/s"')
        lower = parse_quantity(f"{low} {upper.unit}", "line_free velocity", '"0 to 2 km/s"')
        chosen |= (axis >= lower) & (axis <= upper)
    return chosen


def spectral_cube(
    hdu: fits.ImageHDU, unit: u.UnitBase, *, spectral_unit: str | None, rest_frequency: str | None, where: str
) -> SpectralCube:
    """Return the cube with the spectral axis first, in km/s; spectra that contain only zeros are masked as missing.

    Parameters
    ----------
    hdu : ImageHDU
        Image with three axes longer than one pixel, in any order.
    unit : Unit
        Unit of its values.
    spectral_unit, rest_frequency : str or None
        Values that replace CUNIT of the spectral axis, and RESTFRQ.
    where : str
        File, for messages.

    Raises
    ------
    ReaderError
        If spectral-cube is not installed.
    MapError, UnitsError
        If axes or units cannot be used.
    """
    SpectralCube, wcs = _import_spectral_cube(where), _cube_wcs(hdu.header, spectral_unit, where)
    cube = SpectralCube(data=np.squeeze(hdu.data).astype(np.float32) * unit, wcs=wcs)
    observed = np.any(np.nan_to_num(cube.unmasked_data[:].value) != 0, axis=0)
    cube = cube.with_mask(np.broadcast_to(observed, cube.shape))
    if wcs.wcs.ctype[wcs.wcs.spec].startswith(_VELOCITIES):
        return cube.with_spectral_unit(VELOCITY_UNIT)
    rest = _rest_frequency(wcs, rest_frequency, where)
    return cube.with_spectral_unit(VELOCITY_UNIT, velocity_convention="radio", rest_value=rest)


def _import_spectral_cube(where: str) -> Any:
    """Return the class `SpectralCube` of the optional dependency."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from spectral_cube import SpectralCube
    except ImportError as error:
        raise ReaderError(
            f"{where}: spectral cubes need spectral-cube ({error}); python -m pip install 'stellarfm[cubes]'"
        ) from error
    return SpectralCube


def _cube_wcs(header: fits.Header, spectral_unit: str | None, where: str) -> WCS:
    """Return the WCS of two axes on the sky and a spectral axis with a unit."""
    clean = wcs_header(header, where=where)
    for key in [key for key in clean if key.startswith("CTYPE") and str(clean[key]).startswith("FELO")]:
        clean[key] = "VOPT"  # of AIPS: linear to 0.03 km/s over 100 km/s
    axis = _spectral_axis(clean, where)
    name, text = f"CUNIT{axis} of the spectral axis ({clean[f'CTYPE{axis}']})", spectral_unit
    text = text or str(clean.get(f"CUNIT{axis}", "")).strip()
    if not text:
        raise UnitsError(f"{where}: {name} is missing; give its unit, for instance spectral_unit='m/s'")
    expected = u.Hz if clean[f"CTYPE{axis}"].startswith("FREQ") else VELOCITY_UNIT
    if not clean_unit(text).is_equivalent(expected):
        raise UnitsError(f"{where}: {name} is {text!r}; expected something like {expected}: give spectral_unit")
    clean[f"CUNIT{axis}"] = clean_unit(text).to_string("fits")
    try:
        return WCS(clean).sub(long_axes(header))
    except (ValueError, MemoryError, TypeError, KeyError) as error:
        raise MapError(f"{where}: the WCS cannot be read ({error}); correct CTYPE, CUNIT, CRVAL, CDELT") from error


def _spectral_axis(header: fits.Header, where: str) -> int:
    """Return the FITS number of the spectral axis; the other two must be on the sky."""
    axes = {axis: str(header.get(f"CTYPE{axis}", "")) for axis in long_axes(header)}
    spectral = [axis for axis, ctype in axes.items() if not is_sky_axis(ctype)]
    if len(spectral) != 1 or axes[spectral[0]][:4] not in (*_VELOCITIES, "FREQ"):
        found = ", ".join(repr(ctype) for ctype in axes.values())
        raise MapError(
            f"{where}: axes {found}; expected two on the sky and one of {', '.join((*_VELOCITIES, 'FREQ'))}: "
            "correct CTYPE in the header"
        )
    return spectral[0]


def _rest_frequency(wcs: WCS, given: str | None, where: str) -> u.Quantity:
    """Return the rest frequency given by the user, or else that of the header."""
    if given is not None:
        return require_unit(parse_quantity(given, "rest_frequency", '"110.2 GHz"'), u.Hz, "rest_frequency")
    if wcs.wcs.restfrq > 0:
        return wcs.wcs.restfrq * u.Hz
    raise MapError(f'{where}: RESTFRQ is missing; give that of the line, for instance rest_frequency="110.2 GHz"')
