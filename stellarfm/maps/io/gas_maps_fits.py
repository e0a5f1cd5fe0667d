"""Fields in FITS: one multi-extension file, or three single-plane files, to and from the columns of `GasMaps`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.wcs import WCS

from stellarfm.exceptions import MapError, ReaderError, UnitsError
from stellarfm.maps import units
from stellarfm.maps.io.fits_image import Plane, open_fits, read_plane, write_hdus
from stellarfm.maps.io.kinematics import kinematics_on_grid
from stellarfm.maps.io.missing_data import blank_zeros
from stellarfm.output import new_file

__all__ = ["FieldSource", "beam_of", "read_columns", "stored_distance", "write_columns"]

#: Key of the mapping that names three files -> extension of the multi-extension file.
ROLES = {"column": "COLUMN", "velocity": "VELOCITY", "dispersion": "DISPERSION"}
_NAMES = {"COLUMN": "column_density", "VELOCITY": "velocity", "DISPERSION": "velocity_dispersion"}
_BEAM = ("BMAJ", "BMIN", "BPA")

FieldSource: TypeAlias = str | os.PathLike | fits.HDUList | Mapping[str, str | os.PathLike]


class _ColumnOptions(NamedTuple):
    """Unit and species of the column density map; see `GasMaps.read`."""

    unit: str | u.UnitBase | None
    species: str
    abundance: float | None

    def hydrogen(self, column: u.Quantity) -> u.Quantity:
        return units.hydrogen_column(column, species=self.species, abundance=self.abundance)


def read_columns(
    source: FieldSource,
    *,
    distance: u.Quantity | str | None = None,
    column_unit: str | u.UnitBase | None = None,
    column_species: str = "H",
    abundance: float | None = None,
) -> dict[str, Any]:
    """Return the arguments of `GasMaps` from either form of a field; parameters and errors are those of `GasMaps.read`.

    Returns
    -------
    dict
        Quantities ``column_density``, ``velocity``, ``velocity_dispersion`` of shape (ny, nx), ``wcs``, ``distance``,
        ``meta``; if stored, ``mask`` and the three ``..._error``.
    """
    options = _ColumnOptions(column_unit, column_species, abundance)
    distance = None if distance is None else units.parse_length(distance, what="distance")
    if isinstance(source, Mapping):
        return {**_from_planes(_three_planes(source), options), "distance": distance}
    with open_fits(source) as (hdus, name):
        planes = _extension_planes(hdus, name)
        optional = _optional_columns(hdus, name, options)
        primary = hdus[0].header
    columns = _from_planes(planes, options)
    columns["meta"] = {"object": str(primary.get("OBJECT", "")), **columns["meta"]}
    return {**columns, **optional, "distance": stored_distance(primary) if distance is None else distance}


def stored_distance(header: fits.Header) -> u.Quantity | None:
    """Return DISTANCE [pc] of a header; None if it is missing, or 0, which CASA writes for unknown."""
    stored = header.get("DISTANCE")
    return stored * u.pc if isinstance(stored, float | int) and stored > 0 else None


def beam_of(header: fits.Header) -> dict[str, tuple[float, float, float]]:
    """Return ``{"beam": (major axis, minor axis, position angle)}`` in degrees; empty if a header lacks them."""
    beam = tuple(header.get(key) for key in _BEAM)
    return {"beam": beam} if all(isinstance(value, float | int) for value in beam) and beam[0] > 0 else {}


def _three_planes(paths: Mapping[str, str | os.PathLike]) -> dict[str, Plane]:
    """Return one plane per role from three files."""
    if set(paths) != set(ROLES):
        missing = ", ".join(sorted(set(ROLES) - set(paths))) or "none"
        raise MapError(
            f"maps given: {', '.join(sorted(paths)) or 'none'}; missing: {missing}; "
            "a field needs column density, velocity and dispersion: column=, velocity=, dispersion="
        )
    planes = {}
    for role, path in paths.items():
        with open_fits(path) as (hdus, name):
            images = [hdu for hdu in hdus if hdu.is_image and hdu.header["NAXIS"] > 0]
            named = [hdu for hdu in images if hdu.name == ROLES[role]]
            if not images:
                raise ReaderError(f"{name}: holds no image; expected a two-dimensional map")
            planes[role] = read_plane((named or images)[0], where=name)
    return planes


def _extension_planes(hdus: fits.HDUList, name: str) -> dict[str, Plane]:
    """Return one plane per role from a multi-extension file."""
    found = [hdu.name for hdu in hdus]
    if not set(ROLES.values()) <= set(found):
        for hdu in hdus:
            if hdu.is_image and hdu.header["NAXIS"] > 0:
                read_plane(hdu, where=name)  # for a cube, "this is a cube" is the better reason
        raise ReaderError(
            f"{name}: extensions {', '.join(found)}; expected COLUMN, VELOCITY and DISPERSION in one file, "
            "or three files: column=, velocity= and dispersion="
        )
    return {role: read_plane(hdus[extension], where=f"{name}[{extension}]") for role, extension in ROLES.items()}


def _optional_columns(hdus: fits.HDUList, name: str, options: _ColumnOptions) -> dict[str, Any]:
    """Return the standard errors and the mask of a multi-extension file, as far as they are stored."""
    columns: dict[str, Any] = {}
    for extension, attribute in _NAMES.items():
        if f"ERR_{extension}" in hdus:
            plane = read_plane(hdus[f"ERR_{extension}"], where=f"{name}[ERR_{extension}]")
            convert = units.column_density if extension == "COLUMN" else units.velocity
            error = convert(plane.values, plane.unit(), where=plane.where)
            columns[f"{attribute}_error"] = options.hydrogen(error) if extension == "COLUMN" else error
    if "MASK" in hdus:
        columns["mask"] = np.asarray(hdus["MASK"].data) != 0
    return columns


def _from_planes(planes: dict[str, Plane], options: _ColumnOptions) -> dict[str, Any]:
    """Return Quantities on the grid of the column density map, with zeros blanked, its WCS, file names and beam."""
    column = _hydrogen_column(planes["column"], options)
    velocity, dispersion = kinematics_on_grid(**planes)
    files = ", ".join(dict.fromkeys(Path(plane.where.partition("[")[0]).name for plane in planes.values()))
    return {
        "column_density": column,
        "velocity": velocity,
        "velocity_dispersion": dispersion,
        "wcs": planes["column"].wcs,
        "meta": {"files": files, **beam_of(planes["column"].header)},
    }


def _hydrogen_column(plane: Plane, options: _ColumnOptions) -> u.Quantity:
    """Return the column density of hydrogen nuclei; the unit of the caller, if any, replaces BUNIT."""
    unit = _stored_unit(plane, options.species) if options.unit is None else options.unit
    values = blank_zeros(plane.values, where=plane.where)
    hydrogen = options.hydrogen(units.column_density(values, unit, where=plane.where))
    units.check_plausible(hydrogen, where=plane.where)
    return hydrogen


def _stored_unit(plane: Plane, species: str) -> str:
    """Return BUNIT of a column density map; raise `UnitsError` if it is missing or names another species."""
    text = str(plane.header.get("BUNIT", "")).strip()
    if not text:
        raise UnitsError(
            f"{plane.where}: BUNIT is missing; give the unit of the values, for instance column_unit='cm-2' "
            "(or 'dex(cm-2)' for log10), and what they count, for instance column_species='H2'"
        )
    if (named := units.named_species(text)) not in (None, species):
        raise UnitsError(f"{plane.where}: BUNIT {text!r} counts {named}, not {species}; use column_species={named!r}")
    return text


def write_columns(path: str | os.PathLike, columns: Mapping[str, Any], *, overwrite: bool = False) -> None:
    """Write the multi-extension form, whole or not at all.

    Parameters
    ----------
    path : path
        FITS file.
    columns : mapping
        Attributes of `GasMaps`, by name.
    overwrite : bool
        Replace an existing file; otherwise it is an `OutputExistsError`.
    """
    wcs, meta, distance = columns["wcs"], columns["meta"], columns["distance"]
    primary = fits.PrimaryHDU()
    if meta.get("object"):
        primary.header["OBJECT"] = meta["object"]
    if distance is not None:
        primary.header["DISTANCE"] = (distance.to_value(u.pc), "[pc]")
    images = {extension: columns[name] for extension, name in _NAMES.items()}
    images |= {f"ERR_{extension}": columns[f"{name}_error"] for extension, name in _NAMES.items()}
    hdus = [_image(name, value, wcs, meta.get("beam", ())) for name, value in images.items() if value is not None]
    mask = fits.ImageHDU(columns["mask"].astype(np.uint8), header=wcs.to_header(), name="MASK")
    with new_file(path, overwrite=overwrite) as temporary:
        write_hdus([primary, *hdus, mask], temporary)


def _image(name: str, quantity: u.Quantity, wcs: WCS, beam: tuple[float, ...]) -> fits.ImageHDU:
    hdu = fits.ImageHDU(quantity.value.astype(np.float32), header=wcs.to_header(), name=name)
    hdu.header["BUNIT"] = quantity.unit.to_string("fits")
    hdu.header.update(zip(_BEAM, beam, strict=False))
    return hdu
