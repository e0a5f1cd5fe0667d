"""Reader of spectral cubes (position-position-velocity): moments over the voxels that contain a line."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.wcs import WCS

from stellarfm.contracts import SimulationReader
from stellarfm.exceptions import ReaderError, UnitsError
from stellarfm.maps import GasMaps
from stellarfm.maps.decisions import DecisionLog
from stellarfm.maps.io.celestial_wcs import wcs_header
from stellarfm.maps.io.fits_image import open_fits
from stellarfm.maps.io.intake import IntakeOptions, beam_of, header_distance
from stellarfm.maps.io.missing_data import logged_warnings
from stellarfm.maps.units import (
    VELOCITY_UNIT,
    check_plausible,
    clean_unit,
    column_factor,
    hydrogen_column,
    parse_quantity,
)
from stellarfm.readers.fits.cubes import cube_hdu, cube_kind
from stellarfm.readers.fits.line_mask import noise_in_channels, noise_map
from stellarfm.readers.fits.line_moments import LineMoments, line_moments
from stellarfm.readers.fits.spectral_axis import channels_within, spectral_cube

if TYPE_CHECKING:
    from spectral_cube import SpectralCube

__all__ = ["PPVReader"]


@dataclass(kw_only=True, eq=False)
class PPVReader(SimulationReader):
    """Reader of spectral cubes in FITS as `GasMaps` of their moments; needs spectral-cube (``stellarfm[cubes]``).

    The moments are taken over the two-level mask of `stellarfm.readers.fits.line_mask.signal_mask`. The column density
    is the integrated intensity times a given factor; the velocity dispersion is a standard deviation, and includes
    thermal motion, optical depth and the channel width.

    Parameters
    ----------
    column_per_intensity : str
        Column density per integrated intensity, such as ``"2e20 cm-2 / (K km/s)"``; required.
    column_species : str
        Species of that column density: ``"H"`` (nuclei, the default), ``"H2"``, or another one with its `abundance`.
    abundance : float
        N(X) / N(H2) of a species other than H and H2.
    distance : str
        Distance that overrides DISTANCE (pc) in the header.
    brightness_unit, spectral_unit : str
        Units that override BUNIT, and CUNIT of the spectral axis.
    rest_frequency : str
        Rest frequency that overrides RESTFRQ; used if the spectral axis is a frequency.
    noise : str
        Standard deviation of one voxel, such as ``"0.1 K"``; by default measured in each pixel.
    line_free : str
        Velocities without a line in which to measure the noise, such as ``"0 to 2 km/s, 8 to 10 km/s"``; by default
        found by iterated clipping.

    Examples
    --------
    >>> from stellarfm.readers.fits import PPVReader
    >>> PPVReader(column_per_intensity="2e20 cm-2 / (K km/s)", column_species="H2").can_read("absent.fits")
    False
    """

    column_per_intensity: str | None = None
    column_species: str | None = None
    abundance: float | None = None
    distance: str | None = None
    brightness_unit: str | None = None
    spectral_unit: str | None = None
    rest_frequency: str | None = None
    noise: str | None = None
    line_free: str | None = None

    def __post_init__(self) -> None:
        """Convert an abundance given as text."""
        self.abundance = None if self.abundance is None else float(self.abundance)

    def can_read(self, path: Path) -> bool:
        """Return True if the first image of the file is a cube with an axis on the sky."""
        return cube_kind(path) == "ppv"

    def read(self, path: Path) -> GasMaps:
        """Read column density, velocity and dispersion of the line in `path`.

        Parameters
        ----------
        path : Path
            FITS file whose first image is the spectral cube.

        Raises
        ------
        InputNotFoundError, ReaderError
            If the file is absent or not a cube, or spectral-cube is not installed.
        MapError, UnitsError
            If axes or units cannot be used, or no line is above the noise; the message names the remedy.
        """
        with open_fits(path) as (hdus, where):
            hdu = cube_hdu(hdus)
            if hdu is None:
                raise ReaderError(f"{where}: not a cube; expected an image with two axes on the sky and a spectral one")
            header = hdu.header
            unit = self._brightness(header, where)
            factor = self._factor(unit, where)
            log = DecisionLog()
            log.add(f"{where}: unit", unit, "brightness_unit=" if self.brightness_unit else "BUNIT")
            log.add("column_per_intensity", self.column_per_intensity, "column_per_intensity=")
            reason = "column_species=" if self.column_species else "taken to count hydrogen nuclei; column_species="
            log.add(f"{where}: species", self.column_species or "H", reason, announce=self.column_species is None)
            options = IntakeOptions(distance=self.distance, log=log)
            headers = [(where, header), (where, hdus[0].header)]
            distance, distance_error = header_distance(headers, options)
            with logged_warnings(where):
                spectral = {"spectral_unit": self.spectral_unit, "rest_frequency": self.rest_frequency}
                cube = spectral_cube(hdu, unit, **spectral, where=where)
                moments = line_moments(cube, self._noise(cube, where), where=where)
            wcs = WCS(wcs_header(cube.wcs.celestial.to_header(), where=where))
        meta = {"object": str(header.get("OBJECT", "")), "files": Path(where).name, **beam_of(header)}
        meta |= {"decisions": tuple(log)} | ({} if distance_error is None else {"distance_error": distance_error})
        return self._maps(moments, factor, wcs=wcs, distance=distance, meta=meta, where=where)

    def _maps(self, moments: LineMoments, factor: u.Quantity, *, where: str, **rest: Any) -> GasMaps:
        """Return maps of hydrogen column density, velocity and dispersion; `rest` are arguments of `GasMaps`."""

        def column(intensity: u.Quantity) -> u.Quantity:
            trace = (intensity * factor).to(u.cm**-2)
            return hydrogen_column(trace, species=self.column_species or "H", abundance=self.abundance)

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
        """Return the unit of the cube."""
        text = self.brightness_unit or str(header.get("BUNIT", "")).strip()
        if not text:
            raise UnitsError(f"{where}: BUNIT is missing; give the unit of the cube, for instance brightness_unit='K'")
        try:
            return clean_unit(re.sub(r"\(.*\)", "", text) if text.startswith("K") else text)
        except UnitsError as error:
            raise UnitsError(f"{where}: BUNIT {error}; or give brightness_unit") from error

    def _factor(self, unit: u.UnitBase, where: str) -> u.Quantity:
        """Return the column density per integrated intensity, which depends on the line and has no default."""
        intensity = unit * VELOCITY_UNIT
        example = f'"2e20 cm-2 / ({unit.to_string("fits")} km/s)"'
        if self.column_per_intensity is None:
            raise UnitsError(
                f"{where}: a spectral cube contains integrated intensity, not column density; give the factor between "
                f"them, for instance column_per_intensity={example}, column_species='H2'"
            )
        return column_factor(self.column_per_intensity, intensity, where=where)

    def _noise(self, cube: SpectralCube, where: str) -> np.ndarray:
        """Return the noise of each pixel, given by the user or measured."""
        values = cube.filled_data[:].value
        if self.noise is not None:
            noise = parse_quantity(self.noise, "noise", f'"0.1 {cube.unit}"')
            if not (noise.unit.is_equivalent(cube.unit) and noise > 0):
                raise UnitsError(f"{where}: noise {self.noise!r}; expected a positive brightness in {cube.unit}")
            return np.full(cube.shape[1:], noise.to_value(cube.unit))
        if self.line_free is not None:
            channels = channels_within(self.line_free, cube.spectral_axis)
            return noise_in_channels(values, channels, where=where)
        return noise_map(values, where=where)
