"""GasMaps: one field on the sky - column density, velocity, velocity dispersion on one celestial grid."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.wcs import WCS
from astropy.wcs.utils import proj_plane_pixel_scales

from stellarfm.exceptions import MapError
from stellarfm.maps.io.fits_image import SMALLEST_SIDE
from stellarfm.maps.units import MAP_UNITS, parse_length, require_unit

__all__ = ["GasMaps"]

_ERRORS = {f"{name}_error": unit for name, unit in MAP_UNITS.items()}


@dataclass(frozen=True, eq=False)
class GasMaps:
    """Three maps of one field. NaN is missing; rows and columns are those of the FITS image.

    Attributes
    ----------
    column_density : Quantity
        Hydrogen nuclei, shape (ny, nx), cm-2.
    velocity : Quantity
        Mean line-of-sight velocity, shape (ny, nx), km/s.
    velocity_dispersion : Quantity
        Standard deviation along the line of sight, shape (ny, nx), km/s.
    wcs : WCS
        Two-dimensional and celestial.
    mask : ndarray
        Boolean, shape (ny, nx): True where any of the three is missing. A pixel masked by the caller is missing in all.
    distance : Quantity, optional
        Positive, pc; without it there is no physical scale.
    column_density_error, velocity_error, velocity_dispersion_error : Quantity, optional
        Standard errors, same shapes and units.
    meta : dict
        ``object``, ``files``, and ``beam`` (major, minor, position angle in degrees) where known.

    Raises
    ------
    MapError, UnitsError
        If shapes, units or WCS do not fit, a dispersion is negative, or no pixel has all three maps.
    """

    column_density: u.Quantity
    velocity: u.Quantity
    velocity_dispersion: u.Quantity
    wcs: WCS
    mask: np.ndarray = None  # type: ignore[assignment]
    distance: u.Quantity | None = None
    column_density_error: u.Quantity | None = None
    velocity_error: u.Quantity | None = None
    velocity_dispersion_error: u.Quantity | None = None
    meta: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check everything; derive the mask."""
        for name, unit in (MAP_UNITS | _ERRORS).items():
            value = getattr(self, name)
            if value is not None or name in MAP_UNITS:
                self._set(name, _finite(require_unit(value, unit, name)))
        if self.distance is not None:
            self._set("distance", parse_length(self.distance, what="distance"))
        self._check_shapes()
        self._check_wcs()
        self._apply_mask()
        self._check_values()

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def _check_shapes(self) -> None:
        if len(self.shape) != 2 or min(self.shape) < SMALLEST_SIDE:
            raise MapError(f"maps of shape {self.shape}; expected two dimensions of at least {SMALLEST_SIDE} pixels")
        for name in (*MAP_UNITS, *_ERRORS):
            value = getattr(self, name)
            if value is not None and value.shape != self.shape:
                raise MapError(f"{name} has shape {value.shape}; expected {self.shape}, that of column_density")

    def _check_wcs(self) -> None:
        if not (isinstance(self.wcs, WCS) and self.wcs.is_celestial):
            raise MapError(f"WCS {self.wcs!r}; expected a two-dimensional celestial astropy WCS")

    def _apply_mask(self) -> None:
        """Blank what the caller masked, then mask what any map misses."""
        missing = self._missing()
        if self.mask is not None:
            given = np.asarray(self.mask, dtype=bool)
            if given.shape != self.shape:
                raise MapError(f"mask has shape {given.shape}; expected {self.shape}, that of column_density")
            self._blank(given & ~missing)
            missing = missing | given
        self._set("mask", missing)

    def _missing(self) -> np.ndarray:
        return ~np.logical_and.reduce([np.isfinite(getattr(self, name).value) for name in MAP_UNITS])

    def _blank(self, pixels: np.ndarray) -> None:
        if pixels.any():
            for name in MAP_UNITS:
                self._set(name, np.where(pixels, np.nan, getattr(self, name)))

    def _check_values(self) -> None:
        negative = np.sum(self.velocity_dispersion.value < 0)
        if negative:
            raise MapError(
                f"{self._name}: the velocity dispersion is negative in {negative} pixels; "
                "expected a standard deviation, with NaN where there is none"
            )
        if self.mask.all():
            counts = ", ".join(f"{name} {np.isfinite(getattr(self, name).value).sum()}" for name in MAP_UNITS)
            raise MapError(f"{self._name}: no pixel has all three maps; valid pixels: {counts} of {self.mask.size}")

    @property
    def _name(self) -> str:
        return str(self.meta.get("files") or "maps")

    @property
    def shape(self) -> tuple[int, int]:
        """(ny, nx)."""
        return self.column_density.shape

    @property
    def pixel_angle(self) -> u.Quantity:
        """Side of a pixel on the sky, arcsec (the geometric mean if it is not square)."""
        return (np.sqrt(np.prod(proj_plane_pixel_scales(self.wcs))) * u.deg).to(u.arcsec)

    @property
    def pixel_scale(self) -> u.Quantity:
        """Side of a pixel at the distance of the field, pc.

        Raises
        ------
        MapError
            If the distance is not known.
        """
        if self.distance is None:
            raise MapError(f"{self._name}: the distance is not known; give it, for instance --distance '140 pc'")
        return (self.pixel_angle.to_value(u.rad) * self.distance).to(u.pc)

    @classmethod
    def read(
        cls,
        source: str | os.PathLike | fits.HDUList | Mapping[str, str | os.PathLike],
        *,
        distance: u.Quantity | str | None = None,
        column_unit: str | u.UnitBase | None = None,
        column_species: str = "H",
        abundance: float | None = None,
    ) -> GasMaps:
        """Read a field: one multi-extension file, or three single-plane files.

        Parameters
        ----------
        source : path, HDUList or mapping
            A file with the extensions COLUMN, VELOCITY, DISPERSION (and ERR_*, MASK), or a mapping with the keys
            ``"column"``, ``"velocity"``, ``"dispersion"`` to three files; velocity and
            dispersion are brought onto the grid of the column density.
        distance : Quantity or str, optional
            Overrides DISTANCE [pc] of the primary header.
        column_unit : str or Unit, optional
            Overrides BUNIT of the column density; ``"dex(cm-2)"`` if the map holds log10.
        column_species : str
            What the column density counts: ``"H"`` nuclei, ``"H2"``, or another species with its `abundance`.
        abundance : float, optional
            N(X) / N(H2) of another species.

        Raises
        ------
        InputNotFoundError, ReaderError
            If a file is absent, truncated or has not the expected extensions.
        MapError, UnitsError
            If the maps, their units or their WCS cannot be used; the message says how to mend it.
        """
        from stellarfm.maps.io.gas_maps_fits import ColumnOptions, read_field

        return read_field(source, distance, ColumnOptions(column_unit, column_species, abundance))

    def write(self, path: str | os.PathLike, *, overwrite: bool = False) -> None:
        """Write the multi-extension FITS form, whole or not at all; raises `OutputExistsError` if it exists."""
        from stellarfm.maps.io.gas_maps_fits import write_field

        write_field(self, path, overwrite=overwrite)


def _finite(value: u.Quantity) -> u.Quantity:
    """Infinities are missing too."""
    return np.where(np.isinf(value.value), np.nan, value) if np.isinf(value.value).any() else value
