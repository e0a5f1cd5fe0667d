"""Reader of spectral cubes: position, position, velocity; moments over the voxels that hold a line."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.wcs import WCS

from stellarfm.contracts import SimulationReader
from stellarfm.exceptions import MapError, ReaderError, UnitsError
from stellarfm.maps import GasMaps
from stellarfm.maps.fieldfile import beam_of, stored_distance
from stellarfm.maps.missing import logged_warnings
from stellarfm.maps.planes import open_fits, wcs_header
from stellarfm.maps.units import VELOCITY_UNIT, as_length, check_plausible, clean_unit, hydrogen_column
from stellarfm.readers.cubes import cube_hdu, cube_kind, is_sky_axis, long_axes
from stellarfm.readers.lines import noise_in_channels, noise_map
from stellarfm.readers.moments import Moments, line_moments

if TYPE_CHECKING:
    from spectral_cube import SpectralCube

__all__ = ["PPVReader"]

_VELOCITIES = ("VRAD", "VOPT", "VELO")


class PPVReader(SimulationReader):
    """Spectral cubes in FITS, as `GasMaps` of their moments; needs spectral-cube (``stellarfm[cubes]``).

    A voxel counts if the two-level mask of `stellarfm.readers.lines.signal_mask` holds it. The column density is the
    integrated intensity times a factor that the caller names; the velocity dispersion is a standard deviation, with
    all that broadens the line: heat, optical depth and channel width too.

    Parameters
    ----------
    column_per_intensity : str
        Column density for each unit of integrated intensity, ``"2e20 cm-2 / (K km/s)"``; there is no default.
    column_species : str
        What that column density counts: ``"H"`` nuclei, ``"H2"``, or another species with its `abundance`.
    abundance : float
        N(X) / N(H2) of another species.
    distance : str
        Overrides DISTANCE [pc] of the header.
    brightness_unit, spectral_unit : str
        Override BUNIT, and CUNIT of the spectral axis.
    rest_frequency : str
        Of the line, where the spectral axis is a frequency; overrides RESTFRQ.
    noise : str
        Standard deviation of one voxel, ``"0.1 K"``; else it is measured pixel by pixel.
    line_free : str
        Velocities without a line, ``"0 to 2 km/s, 8 to 10 km/s"``, to measure it in; else they are found.
    """

    def __init__(
        self,
        *,
        column_per_intensity: str | None = None,
        column_species: str = "H",
        abundance: float | None = None,
        distance: str | None = None,
        brightness_unit: str | None = None,
        spectral_unit: str | None = None,
        rest_frequency: str | None = None,
        noise: str | None = None,
        line_free: str | None = None,
    ) -> None:
        self.column_per_intensity = column_per_intensity
        self.column_species = column_species
        self.abundance = None if abundance is None else float(abundance)
        self.distance = distance
        self.brightness_unit = brightness_unit
        self.spectral_unit = spectral_unit
        self.rest_frequency = rest_frequency
        self.noise = noise
        self.line_free = line_free

    def can_read(self, path: Path) -> bool:
        """Whether the first image of the file is a cube with an axis on the sky."""
        return cube_kind(path) == "ppv"

    def read(self, path: Path) -> GasMaps:
        """Column density, velocity and dispersion of the line in `path`.

        Raises
        ------
        InputNotFoundError, ReaderError
            If there is no such file, it holds no cube, or spectral-cube is not installed.
        MapError, UnitsError
            If axes or units cannot be used, or nothing rises above the noise; the message says how to mend it.
        """
        with open_fits(path) as (hdus, where):
            hdu = cube_hdu(hdus)
            if hdu is None:
                raise ReaderError(
                    f"{where}: holds no cube; expected an image with two axes on the sky and a spectral one"
                )
            header = hdu.header
            unit = self._brightness(header, where)
            factor = self._factor(unit, where)
            distance = stored_distance(header) if self.distance is None else as_length(self.distance, what="distance")
            with logged_warnings(where):
                cube = self._cube(hdu, unit, where)
                moments = line_moments(cube, self._noise(cube, where), where=where)
            wcs = WCS(wcs_header(cube.wcs.celestial.to_header(), where=where))
        meta = {"object": str(header.get("OBJECT", "")), "files": Path(where).name, **beam_of(header)}
        return self._maps(moments, factor, wcs=wcs, distance=distance, meta=meta, where=where)

    def _maps(self, moments: Moments, factor: u.Quantity, *, where: str, **rest: Any) -> GasMaps:
        def column(intensity: u.Quantity) -> u.Quantity:
            trace = (intensity * factor).to(u.cm**-2)
            return hydrogen_column(trace, species=self.column_species, abundance=self.abundance)

        hydrogen = column(moments.intensity)
        check_plausible(hydrogen, where=where)
        return GasMaps(
            column_density=hydrogen,
            velocity=moments.velocity,
            velocity_dispersion=moments.dispersion,
            column_density_error=column(moments.intensity_error),
            velocity_error=moments.velocity_error,
            velocity_dispersion_error=moments.dispersion_error,
            **rest,
        )

    def _brightness(self, header: fits.Header, where: str) -> u.UnitBase:
        text = self.brightness_unit or str(header.get("BUNIT", "")).strip()
        if not text:
            raise UnitsError(f"{where}: BUNIT is missing; say what the cube holds, for instance --brightness-unit K")
        try:
            return clean_unit(re.sub(r"\(.*\)", "", text) if text.startswith("K") else text)
        except UnitsError as error:
            raise UnitsError(f"{where}: BUNIT {error}; or say --brightness-unit") from error

    def _factor(self, unit: u.UnitBase, where: str) -> u.Quantity:
        """Column density over integrated intensity; no default, because it is a choice."""
        intensity = unit * VELOCITY_UNIT
        example = f'"2e20 cm-2 / ({unit} km/s)"'
        if self.column_per_intensity is None:
            raise UnitsError(
                f"{where}: a spectral cube gives integrated intensity, no column density; name the factor between "
                f"them, for instance --column-per-intensity {example} --column-species H2"
            )
        factor = _quantity(self.column_per_intensity, "column per intensity", example)
        if not (factor * intensity).unit.is_equivalent(u.cm**-2):
            raise UnitsError(
                f"{where}: column per intensity {self.column_per_intensity!r} times {intensity} is no column density; "
                f"expected something like {example}"
            )
        return factor

    def _cube(self, hdu: fits.ImageHDU, unit: u.UnitBase, where: str) -> SpectralCube:
        """The cube with the spectral axis first, in km/s; spectra of zeros alone are missing."""
        SpectralCube, wcs = _spectral_cube(where), self._wcs(hdu.header, where)
        cube = SpectralCube(data=np.squeeze(hdu.data).astype(np.float32) * unit, wcs=wcs)
        observed = np.any(np.nan_to_num(cube.unmasked_data[:].value) != 0, axis=0)
        cube = cube.with_mask(np.broadcast_to(observed, cube.shape))
        if wcs.wcs.ctype[wcs.wcs.spec].startswith(_VELOCITIES):
            return cube.with_spectral_unit(VELOCITY_UNIT)
        return cube.with_spectral_unit(VELOCITY_UNIT, velocity_convention="radio", rest_value=self._rest(wcs, where))

    def _wcs(self, header: fits.Header, where: str) -> WCS:
        """Three axes, two of them on the sky and one spectral with a unit."""
        clean = wcs_header(header, where=where)
        axis = _spectral_axis(clean, where)
        if self.spectral_unit is not None:
            clean[f"CUNIT{axis}"] = clean_unit(self.spectral_unit).to_string("fits")
        elif not str(clean.get(f"CUNIT{axis}", "")).strip():
            raise UnitsError(
                f"{where}: CUNIT{axis} of the spectral axis ({clean[f'CTYPE{axis}']}) is missing; "
                "say what it counts, for instance --spectral-unit m/s"
            )
        try:
            return WCS(clean).sub(long_axes(header))
        except (ValueError, MemoryError, TypeError, KeyError) as error:
            raise MapError(f"{where}: the WCS cannot be read ({error}); mend CTYPE, CUNIT, CRVAL, CDELT") from error

    def _rest(self, wcs: WCS, where: str) -> u.Quantity:
        if self.rest_frequency is not None:
            return _quantity(self.rest_frequency, "rest frequency", '"110.2 GHz"')
        if wcs.wcs.restfrq > 0:
            return wcs.wcs.restfrq * u.Hz
        raise MapError(
            f'{where}: RESTFRQ is missing; name the rest frequency of the line: --rest-frequency "110.2 GHz"'
        )

    def _noise(self, cube: SpectralCube, where: str) -> np.ndarray:
        values = cube.filled_data[:].value
        if self.noise is not None:
            noise = _quantity(self.noise, "noise", f'"0.1 {cube.unit}"')
            if not (noise.unit.is_equivalent(cube.unit) and noise > 0):
                raise UnitsError(f"{where}: noise {self.noise!r}; expected a positive brightness in {cube.unit}")
            return np.full(cube.shape[1:], noise.to_value(cube.unit))
        if self.line_free is not None:
            channels = _channels(self.line_free, cube.spectral_axis)
            return noise_in_channels(values, channels, where=where)
        return noise_map(values, where=where)


def _spectral_cube(where: str) -> Any:
    """The class of the optional dependency."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from spectral_cube import SpectralCube
    except ImportError as error:
        raise ReaderError(
            f"{where}: spectral cubes need spectral-cube ({error}); python -m pip install 'stellarfm[cubes]'"
        ) from error
    return SpectralCube


def _spectral_axis(header: fits.Header, where: str) -> int:
    """FITS number of the spectral axis; the other two must be on the sky."""
    axes = {axis: str(header.get(f"CTYPE{axis}", "")) for axis in long_axes(header)}
    spectral = [axis for axis, ctype in axes.items() if not is_sky_axis(ctype)]
    if len(spectral) != 1 or axes[spectral[0]][:4] not in (*_VELOCITIES, "FREQ"):
        found = ", ".join(repr(ctype) for ctype in axes.values())
        raise MapError(
            f"{where}: axes {found}; expected two on the sky and one of {', '.join((*_VELOCITIES, 'FREQ'))}: "
            "mend CTYPE in the header"
        )
    return spectral[0]


def _quantity(text: str, what: str, example: str) -> u.Quantity:
    """A number with a unit; ``K km/s`` within brackets is understood too."""
    try:
        return u.Quantity(re.sub(r"km\s*/\s*s\b", "km s-1", text))
    except (TypeError, ValueError) as error:
        raise UnitsError(f"{what} {text!r} is no number with a unit; expected something like {example}") from error


def _channels(text: str, axis: u.Quantity) -> np.ndarray:
    """Channels within ranges like ``"0 to 2 km/s, 8 to 10 km/s"``."""
    chosen = np.zeros(len(axis), dtype=bool)
    for part in text.split(","):
        low, _, high = part.partition(" to ")
        upper = _quantity(high, "line-free velocity", '"0 to 2 km/s"')
        if not upper.unit.is_equivalent(VELOCITY_UNIT):
            raise UnitsError(f'line-free {part.strip()!r}; expected velocities like "0 to 2 km/s"')
        lower = _quantity(f"{low} {upper.unit}", "line-free velocity", '"0 to 2 km/s"')
        chosen |= (axis >= lower) & (axis <= upper)
    return chosen
