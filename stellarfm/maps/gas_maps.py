"""GasMaps: column density, velocity and velocity dispersion of one field on one celestial grid."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from astropy import units as u
from astropy.table import Table
from astropy.wcs import WCS

from stellarfm.exceptions import MapError
from stellarfm.maps.decisions import decision_table, decisions_to_json
from stellarfm.maps.io.celestial_wcs import local_pixel_area
from stellarfm.maps.io.fits_image import SMALLEST_SIDE, VERIFY
from stellarfm.maps.io.gas_maps_fits import FieldSource, read_columns, write_columns
from stellarfm.maps.io.intake import IntakeOptions
from stellarfm.maps.units import MAP_UNITS, parse_length, require_unit

__all__ = ["GasMaps"]

_ERRORS = {f"{name}_error": unit for name, unit in MAP_UNITS.items()}


@dataclass(frozen=True, eq=False, repr=False)
class GasMaps:
    """Column density, velocity and velocity dispersion of one field on the sky; missing pixels are NaN.

    Rows and columns are those of the FITS image.

    Parameters
    ----------
    column_density : Quantity
        Column density of hydrogen nuclei, shape (ny, nx), cm-2.
    velocity : Quantity
        Mean line-of-sight velocity, shape (ny, nx), km/s.
    velocity_dispersion : Quantity
        Standard deviation of the velocity along the line of sight, shape (ny, nx), km/s.
    wcs : WCS
        Two-dimensional celestial WCS.
    mask : ndarray, optional
        Boolean, shape (ny, nx): pixels to exclude. As an attribute, True where any of the three maps is missing; pixels
        that were excluded are NaN in all three.
    distance : Quantity or str, optional
        Distance of the field, positive, pc; without it there is no physical scale.
    column_density_error, velocity_error, velocity_dispersion_error : Quantity, optional
        Standard errors, of the shapes and units of the maps.
    meta : dict, optional
        ``object``, ``files``, ``beam`` (major axis, minor axis, position angle in degrees), ``distance_error`` and the
        ``decisions`` of the intake, as far as known.

    Raises
    ------
    MapError, UnitsError
        If shapes, units or WCS do not fit, a dispersion is negative, or no pixel has all three maps.

    Examples
    --------
    >>> from stellarfm.data import EXAMPLE_FIELD
    >>> from stellarfm.maps import GasMaps
    >>> maps = GasMaps.read(EXAMPLE_FIELD)
    >>> maps.shape, str(maps.column_density.unit)
    ((416, 416), '1 / cm2')
    >>> print(f"{maps.pixel_scale:.4f} at {maps.distance}")
    0.0078 pc at 140.0 pc
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
        """Check units, shapes, WCS and values; derive the mask."""
        for name, unit in (MAP_UNITS | _ERRORS).items():
            value = getattr(self, name)
            if value is not None or name in MAP_UNITS:
                value = require_unit(value, unit, name)
                infinite = np.isinf(value.value)
                self._set(name, np.where(infinite, np.nan, value) if infinite.any() else value)
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
            raise MapError(f"wcs is {self.wcs!r}; expected a two-dimensional celestial astropy WCS")

    def _apply_mask(self) -> None:
        """Blank the pixels that the caller excludes, then mask those that any map lacks."""
        missing = ~np.logical_and.reduce([np.isfinite(getattr(self, name).value) for name in MAP_UNITS])
        if self.mask is not None:
            excluded = np.asarray(self.mask, dtype=bool)
            if excluded.shape != self.shape:
                raise MapError(f"mask has shape {excluded.shape}; expected {self.shape}, that of column_density")
            if (blank := excluded & ~missing).any():
                for name in MAP_UNITS:
                    self._set(name, np.where(blank, np.nan, getattr(self, name)))
            missing = missing | excluded
        self._set("mask", missing)

    def _check_values(self) -> None:
        negative = np.sum(self.velocity_dispersion.value < 0)
        if negative:
            raise MapError(
                f"{self._name}: the velocity dispersion is negative in {negative} pixels; "
                "expected a standard deviation, with NaN for missing values"
            )
        if self.mask.all():
            counts = ", ".join(f"{name} {np.isfinite(getattr(self, name).value).sum()}" for name in MAP_UNITS)
            raise MapError(f"{self._name}: no pixel has all three maps; valid pixels: {counts} of {self.mask.size}")

    @property
    def _name(self) -> str:
        return str(self.meta.get("files") or "maps")

    def __repr__(self) -> str:
        """Return a summary in a few lines: shape, scale, missing pixels, errors, origin."""
        scale = "unknown distance"
        if self.distance is not None:
            scale = f"{self.pixel_scale.value:.3g} pc at {self.distance.value:.4g} pc"
        missing = self.mask.mean()
        errors = ", ".join(name for name in _ERRORS if getattr(self, name) is not None)
        lines = {
            "shape": f"{self.shape[0]} x {self.shape[1]} pixels, {missing:.1%} missing",
            "pixel_scale": f"{self.pixel_angle.value:.3g} arcsec, {scale}",
            "errors": errors or "none",
            "object": self.meta.get("object") or "unknown",
            "files": self.meta.get("files") or "none",
        }
        return "\n".join(["GasMaps", *(f"  {name:<12}{text}" for name, text in lines.items())])

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns, (ny, nx)."""
        return self.column_density.shape

    @property
    def pixel_angle(self) -> u.Quantity:
        """Side of a pixel at the center of the field, arcsec: the root of its solid angle, from the local Jacobian."""
        area = local_pixel_area(self.wcs, (self.shape[1] - 1) / 2, (self.shape[0] - 1) / 2)
        return (np.sqrt(area) * u.deg).to(u.arcsec)

    @property
    def pixel_scale(self) -> u.Quantity:
        """Side of a pixel at the distance of the field, pc.

        Raises
        ------
        MapError
            If the distance is not known.
        """
        if self.distance is None:
            raise MapError(f"{self._name}: the distance is not known; give it, for instance distance='140 pc'")
        return (self.pixel_angle.to_value(u.rad) * self.distance).to(u.pc)

    @classmethod
    def read(
        cls,
        source: FieldSource,
        *,
        distance: u.Quantity | str | None = None,
        column_unit: str | u.UnitBase | None = None,
        column_species: str | None = None,
        abundance: float | None = None,
        column_per_intensity: str | u.Quantity | None = None,
        velocity_unit: str | u.UnitBase | None = None,
        dispersion_unit: str | u.UnitBase | None = None,
        dispersion_is: str | None = None,
        mask_is: str | None = None,
        missing_value: float | None = None,
        verify_checksum: bool = True,
    ) -> GasMaps:
        """Read a field: one multi-extension FITS file, or three single-plane files.

        Parameters
        ----------
        source : path, HDUList or mapping
            File with the extensions COLUMN, VELOCITY, DISPERSION (and optionally ERR_COLUMN, ERR_VELOCITY,
            ERR_DISPERSION, MASK), or a mapping of the keys ``"column"``, ``"velocity"``, ``"dispersion"`` to three
            files, each also as ``"FILE[EXT]"`` or ``"FILE[EXT][PLANE]"`` (HDUs by name or number from 0, planes of a
            cube by name or number from 1); velocity and dispersion are brought onto the grid of the column density.
        distance : Quantity or str, optional
            Distance of the field, in place of DISTANCE in a header; text may hold an error, ``"140 +/- 7 pc"``.
        column_unit : str or Unit, optional
            Unit of the column density, in place of BUNIT; ``"dex(cm-2)"`` if the map holds log10. A species in it,
            ``"H2 cm-2"``, replaces those named in the header.
        column_species : str, optional
            Species that the column density counts: ``"H"`` nuclei, ``"H2"``, or another species with its `abundance`;
            by default nuclei, if the header does not name another species.
        abundance : float, optional
            N(X) / N(H2) of a species other than H and H2.
        column_per_intensity : str or Quantity, optional
            Column density per unit of a map of another quantity, ``"9.4e20 cm-2 / mag"``, ``"2e20 cm-2 / (K km/s)"``.
        velocity_unit, dispersion_unit : str or Unit, optional
            Units of velocity and dispersion, in place of BUNIT.
        dispersion_is : {"sigma", "fwhm", "variance"}, optional
            Meaning of the dispersion map; by default a standard deviation, if the header does not describe another.
        mask_is : {"bad", "good"}, optional
            Meaning of nonzero pixels of MASK; by default excluded ones.
        missing_value : float, optional
            Number that stands for a missing pixel. NaN, infinities and numbers far outside all others are found.
        verify_checksum : bool
            Refuse data that do not fit DATASUM.

        Raises
        ------
        InputNotFoundError, ReaderError
            If a file is absent, truncated or lacks the expected extensions.
        MapError, UnitsError
            If the maps, their units or their WCS cannot be used; the message contains the remedy.
        """
        options = IntakeOptions(
            distance=distance,
            column_unit=column_unit,
            column_species=column_species,
            abundance=abundance,
            column_per_intensity=column_per_intensity,
            velocity_unit=velocity_unit,
            dispersion_unit=dispersion_unit,
            dispersion_is=dispersion_is,
            mask_is=mask_is,
            missing_value=missing_value,
        )
        token = VERIFY.set(verify_checksum)
        try:
            columns = read_columns(source, options)
        finally:
            VERIFY.reset(token)
        return cls(**columns)

    def report(self) -> Table:
        """Return the decisions of the intake as a table of the columns ``what``, ``value`` and ``reason``.

        Examples
        --------
        >>> from stellarfm.data import EXAMPLE_FIELD
        >>> from stellarfm.maps import GasMaps
        >>> report = GasMaps.read(EXAMPLE_FIELD).report()
        >>> print(report[report["what"] == "distance"]["value"][0])
        140 pc
        """
        return decision_table(self.meta.get("decisions", ()))

    def provenance(self) -> dict[str, str]:
        """Return what identifies the origin of this field in the meta data of a result, as text in ASCII."""
        decisions = self.meta.get("decisions", ())
        error = self.meta.get("distance_error")
        species = [each.value for each in decisions if each.what.endswith(": species")]
        facts = {
            "object": self.meta.get("object"),
            "distance": None if self.distance is None else f"{self.distance.to_value(u.pc):.9g} pc",
            "distance_error": None if error is None else f"{error.to_value(u.pc):.9g} pc",
            "column_species": species[0] if species else None,
            "decisions": decisions_to_json(decisions) if decisions else None,
        }
        return {key: str(value).encode("ascii", "backslashreplace").decode() for key, value in facts.items() if value}

    def write(self, path: str | os.PathLike, *, overwrite: bool = False) -> None:
        """Write the multi-extension FITS form, whole or not at all; equal fields give equal files.

        Parameters
        ----------
        path : path
            FITS file.
        overwrite : bool
            Replace an existing file.

        Raises
        ------
        OutputExistsError
            If the file exists and `overwrite` is False.
        """
        write_columns(path, {each.name: getattr(self, each.name) for each in fields(self)}, overwrite=overwrite)
