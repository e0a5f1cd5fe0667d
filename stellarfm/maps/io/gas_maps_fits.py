"""The FITS forms of GasMaps: one multi-extension file, or three single-plane files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from astropy import units as u
from astropy.io import fits

from stellarfm.exceptions import MapError, ReaderError, UnitsError
from stellarfm.maps import units
from stellarfm.maps.gas_maps import GasMaps
from stellarfm.maps.io.fits_image import Plane, open_fits, read_plane
from stellarfm.maps.io.kinematics import kinematics
from stellarfm.maps.io.missing_data import blank_zeros
from stellarfm.output import new_file

__all__ = ["ColumnOptions", "beam_of", "read_field", "stored_distance", "write_field"]

ROLES = {"column": "COLUMN", "velocity": "VELOCITY", "dispersion": "DISPERSION"}
_NAMES = {"COLUMN": "column_density", "VELOCITY": "velocity", "DISPERSION": "velocity_dispersion"}


class ColumnOptions(NamedTuple):
    """What the caller says of the column density map; see `GasMaps.read`."""

    unit: str | u.UnitBase | None = None
    species: str = "H"
    abundance: float | None = None


def read_field(
    source: str | os.PathLike | fits.HDUList | Mapping[str, str | os.PathLike],
    distance: u.Quantity | str | None,
    options: ColumnOptions,
) -> GasMaps:
    """Read either form; see `GasMaps.read`."""
    distance = None if distance is None else units.parse_length(distance, what="distance")
    if isinstance(source, Mapping):
        return _assemble(_three_files(source), distance=distance, options=options)
    with open_fits(source) as (hdus, name):
        planes = _extensions(hdus, name)
        distance = stored_distance(hdus[0].header) if distance is None else distance
        optional = _optional(hdus, name, options)
        meta = {"object": str(hdus[0].header.get("OBJECT", ""))}
    return _assemble(planes, distance=distance, options=options, optional=optional, meta=meta)


def stored_distance(header: fits.Header) -> u.Quantity | None:
    """DISTANCE [pc]; CASA writes 0 for unknown."""
    stored = header.get("DISTANCE")
    return stored * u.pc if isinstance(stored, float | int) and stored > 0 else None


def _three_files(paths: Mapping[str, str | os.PathLike]) -> dict[str, Plane]:
    """One plane a role from three files."""
    if set(paths) != set(ROLES):
        missing = ", ".join(sorted(set(ROLES) - set(paths))) or "none"
        raise MapError(
            f"maps given: {', '.join(sorted(paths)) or 'none'}; missing: {missing}; a field needs column density, "
            "velocity and dispersion (--column, --velocity, --dispersion)"
        )
    planes = {}
    for role, path in paths.items():
        with open_fits(path) as (hdus, name):
            planes[role] = read_plane(_first_image(hdus, ROLES[role], name), where=name)
    return planes


def _first_image(hdus: fits.HDUList, extension: str, name: str) -> fits.ImageHDU:
    """The extension of that name if there is one, else the first image."""
    images = [hdu for hdu in hdus if hdu.is_image and hdu.header["NAXIS"] > 0]
    named = [hdu for hdu in images if hdu.name == extension]
    if not images:
        raise ReaderError(f"{name}: holds no image; expected a two-dimensional map")
    return (named or images)[0]


def _extensions(hdus: fits.HDUList, name: str) -> dict[str, Plane]:
    """One plane a role from a multi-extension file."""
    found = [hdu.name for hdu in hdus]
    if not set(ROLES.values()) <= set(found):
        for hdu in hdus:
            if hdu.is_image and hdu.header["NAXIS"] > 0:
                read_plane(hdu, where=name)  # a cube is a better reason
        raise ReaderError(
            f"{name}: extensions {', '.join(found)}; expected COLUMN, VELOCITY and DISPERSION, "
            "or three files given by --column, --velocity and --dispersion"
        )
    return {role: read_plane(hdus[extension], where=f"{name}[{extension}]") for role, extension in ROLES.items()}


def _optional(hdus: fits.HDUList, name: str, options: ColumnOptions) -> dict:
    """Errors and mask of a multi-extension file, as far as they are there."""
    values = {}
    for extension, attribute in _NAMES.items():
        if f"ERR_{extension}" in hdus:
            plane = read_plane(hdus[f"ERR_{extension}"], where=f"{name}[ERR_{extension}]")
            values[f"{attribute}_error"] = _error(plane, extension, options)
    if "MASK" in hdus:
        values["mask"] = np.asarray(hdus["MASK"].data) != 0
    return values


def _error(plane: Plane, extension: str, options: ColumnOptions) -> u.Quantity:
    """A standard error in the unit of its map."""
    if extension != "COLUMN":
        return units.velocity(plane.values, plane.unit(), where=plane.where)
    column = units.column_density(plane.values, plane.unit(), where=plane.where)
    return units.hydrogen_column(column, species=options.species, abundance=options.abundance)


def _assemble(
    planes: dict[str, Plane],
    *,
    distance: u.Quantity | None,
    options: ColumnOptions,
    optional: dict | None = None,
    meta: dict | None = None,
) -> GasMaps:
    """Quantities from planes, zeros blanked, on the grid of the column density map."""
    column = _column(planes["column"], options)
    velocity, dispersion = kinematics(**planes)
    files = ", ".join(dict.fromkeys(Path(plane.where.partition("[")[0]).name for plane in planes.values()))
    return GasMaps(
        column_density=column,
        velocity=velocity,
        velocity_dispersion=dispersion,
        wcs=planes["column"].wcs,
        distance=distance,
        meta={**(meta or {}), "files": files, **beam_of(planes["column"].header)},
        **(optional or {}),
    )


def _column(plane: Plane, options: ColumnOptions) -> u.Quantity:
    """Column density of hydrogen nuclei."""
    if options.unit is None:
        _check_named_species(plane, options.species)
    unit = _column_unit(plane) if options.unit is None else options.unit
    values = blank_zeros(plane.values, where=plane.where)
    column = units.column_density(values, unit, where=plane.where)
    hydrogen = units.hydrogen_column(column, species=options.species, abundance=options.abundance)
    units.check_plausible(hydrogen, where=plane.where)
    return hydrogen


def _column_unit(plane: Plane) -> str:
    """BUNIT, or how to do without."""
    try:
        return plane.unit()
    except UnitsError as error:
        raise UnitsError(
            f"{plane.where}: BUNIT is missing; say what the values are, for instance --column-unit cm-2 "
            '(or "dex(cm-2)" for log10) and --column-species H2'
        ) from error


def _check_named_species(plane: Plane, species: str) -> None:
    """A species in BUNIT must be the one that the caller names."""
    named = units.named_species(str(plane.header.get("BUNIT", "")))
    if named not in (None, species):
        raise UnitsError(
            f"{plane.where}: BUNIT {plane.header['BUNIT']!r} counts {named}, not {species}; "
            f"say --column-species {named}"
        )


def beam_of(header: fits.Header) -> dict[str, tuple[float, float, float]]:
    """Major axis, minor axis, position angle in degrees, if the header knows them."""
    beam = tuple(header.get(key) for key in ("BMAJ", "BMIN", "BPA"))
    return {"beam": beam} if all(isinstance(value, float | int) for value in beam) and beam[0] > 0 else {}


def write_field(maps: GasMaps, path: str | os.PathLike, *, overwrite: bool = False) -> None:
    """Write the multi-extension form; see `GasMaps.write`."""
    hdus = fits.HDUList([_primary(maps)])
    for extension, attribute in _NAMES.items():
        hdus.append(_image(maps, extension, getattr(maps, attribute)))
    for extension, attribute in _NAMES.items():
        error = getattr(maps, f"{attribute}_error")
        if error is not None:
            hdus.append(_image(maps, f"ERR_{extension}", error))
    hdus.append(fits.ImageHDU(maps.mask.astype(np.uint8), header=maps.wcs.to_header(), name="MASK"))
    with new_file(path, overwrite=overwrite) as temporary:
        hdus.writeto(temporary, overwrite=True, checksum=True)


def _primary(maps: GasMaps) -> fits.PrimaryHDU:
    primary = fits.PrimaryHDU()
    if maps.meta.get("object"):
        primary.header["OBJECT"] = maps.meta["object"]
    if maps.distance is not None:
        primary.header["DISTANCE"] = (maps.distance.to_value(u.pc), "[pc]")
    return primary


def _image(maps: GasMaps, extension: str, quantity: u.Quantity) -> fits.ImageHDU:
    hdu = fits.ImageHDU(quantity.value.astype(np.float32), header=maps.wcs.to_header(), name=extension)
    hdu.header["BUNIT"] = quantity.unit.to_string("fits")
    for key, value in zip(("BMAJ", "BMIN", "BPA"), maps.meta.get("beam", ()), strict=False):
        hdu.header[key] = value
    return hdu
