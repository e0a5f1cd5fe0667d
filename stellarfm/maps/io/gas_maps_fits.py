"""Fields in FITS: one multi-extension file, or three single-plane files, to and from the columns of `GasMaps`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.wcs import WCS
from astropy.wcs.utils import pixel_to_pixel

from stellarfm.exceptions import MapError, ReaderError
from stellarfm.maps import units
from stellarfm.maps.decisions import Decision, decisions_from_json, decisions_to_json
from stellarfm.maps.io.fits_image import Plane, open_fits, read_plane, write_hdus
from stellarfm.maps.io.intake import IntakeOptions, field_columns
from stellarfm.maps.io.kinematics import same_grid
from stellarfm.maps.io.plane_selection import ROLES, parameter_cube_error, read_role, require_different
from stellarfm.output import new_file

__all__ = ["FieldSource", "read_columns", "write_columns"]

_NAMES = {"COLUMN": "column_density", "VELOCITY": "velocity", "DISPERSION": "velocity_dispersion"}
_BEAM = ("BMAJ", "BMIN", "BPA")

FieldSource: TypeAlias = str | os.PathLike | fits.HDUList | Mapping[str, str | os.PathLike]


def read_columns(source: FieldSource, options: IntakeOptions) -> dict[str, Any]:
    """Return the arguments of `GasMaps` from either form of a field; options and errors are those of `GasMaps.read`.

    Returns
    -------
    dict
        Quantities ``column_density``, ``velocity``, ``velocity_dispersion`` of shape (ny, nx), ``wcs``, ``distance``,
        ``meta`` with the decisions; if stored, ``mask`` and the three ``..._error``.
    """
    stored: list[Decision] = []
    if isinstance(source, Mapping):
        columns = _from_three(source, options)
    else:
        with open_fits(source) as (hdus, name):
            columns = _from_extensions(hdus, name, options)
            text = hdus[0].header.get("DECISION")
            stored = decisions_from_json(text) if isinstance(text, str) and text.startswith("[[") else []
    columns["meta"]["decisions"] = (*stored, *options.log)
    if origin := (*stored, *(options.log if isinstance(source, Mapping) or options.stated() else ())):
        columns["meta"]["origin"] = origin  # what `write_columns` stores: reading a field again adds nothing
    return columns


def _from_three(paths: Mapping[str, str | os.PathLike], options: IntakeOptions) -> dict[str, Any]:
    """Return the columns of three files, or of planes of fewer."""
    if set(paths) != set(ROLES):
        missing = ", ".join(sorted(set(ROLES) - set(paths))) or "none"
        raise MapError(
            f"maps given: {', '.join(sorted(paths)) or 'none'}; missing: {missing}; "
            "a field needs column density, velocity and dispersion: column=, velocity=, dispersion="
        )
    planes, identities, headers = {}, {}, []
    for role in ROLES:
        planes[role], identities[role], primary = read_role(role, paths[role], options.log)
        headers += [(planes[role].where, planes[role].header), (planes[role].where, primary)]
    require_different(identities)
    columns = field_columns(planes, headers, options)
    names = dict.fromkeys(identity[0].name for identity in identities.values())
    return columns | {"meta": {"files": ", ".join(names), **columns["meta"]}}


def _from_extensions(hdus: fits.HDUList, name: str, options: IntakeOptions) -> dict[str, Any]:
    """Return the columns of a multi-extension file."""
    found = {hdu.name.strip().upper(): hdu for hdu in reversed(list(hdus))}
    if not set(ROLES.values()) <= set(found):
        for number, hdu in enumerate(hdus):
            if hdu.is_image and hdu.header["NAXIS"] > 0:
                if error := parameter_cube_error(hdu, number, name):
                    raise error
                read_plane(hdu, where=name)  # for a cube, "this is a cube" is the better reason
        raise ReaderError(
            f"{name}: extensions {', '.join(hdu.name for hdu in hdus)}; expected COLUMN, VELOCITY and DISPERSION in "
            "one file, or three files: column=, velocity= and dispersion="
        )
    planes = {}
    for role, extension in ROLES.items():
        where = f"{name}[{extension}]"
        planes[role] = read_plane(found[extension], where=where, hdus=hdus, log=options.log)
        options.log.add(f"{role} map", f"{Path(name).name}[{extension}]", f"extension {extension}")
    primary = hdus[0].header
    headers = [(name, primary), *((plane.where, plane.header) for plane in planes.values())]
    columns = field_columns(planes, headers, options)
    meta = {"object": str(primary.get("OBJECT", "")), "files": Path(name).name, **columns["meta"]}
    columns |= {"meta": meta, **_optional_columns(hdus, found, name, planes["column"], columns, options)}
    return columns


def _optional_columns(
    hdus: fits.HDUList,
    found: Mapping[str, Any],
    name: str,
    column: Plane,
    columns: Mapping[str, Any],
    options: IntakeOptions,
) -> dict[str, Any]:
    """Return the standard errors and the mask of a multi-extension file, as far as they are stored."""
    optional: dict[str, Any] = {}
    shape = columns["column_density"].shape
    same = same_grid(column.wcs, column.values.shape, columns["wcs"], shape)
    for extension, attribute in _NAMES.items():
        if f"ERR_{extension}" not in found or not same:
            continue
        plane = read_plane(found[f"ERR_{extension}"], where=f"{name}[ERR_{extension}]", hdus=hdus)
        unit = plane.text("BUNIT") or (columns[attribute].unit if extension != "COLUMN" else options.column_unit)
        if extension == "COLUMN":
            error = units.column_density(plane.values, unit or "", where=plane.where)
            species = next(each.value for each in options.log if each.what.endswith(": species"))
            optional[f"{attribute}_error"] = units.hydrogen_column(error, species=species, abundance=options.abundance)
        else:
            optional[f"{attribute}_error"] = units.velocity(plane.values, unit, where=plane.where)
    if "MASK" in found:
        excluded = _excluded(found["MASK"], name, columns, options, same=same, shape=column.values.shape)
        if not same:
            excluded = _nearest(excluded, column.wcs, columns["wcs"], shape)
        optional["mask"] = excluded
    return optional


def _excluded(
    hdu: fits.ImageHDU, name: str, columns: Mapping[str, Any], options: IntakeOptions, *, same: bool, shape: tuple
) -> np.ndarray:
    """Return True for the pixels that MASK excludes; raise `MapError` if it seems to mark the good ones."""
    if hdu.data is None or np.squeeze(hdu.data).shape != shape:
        found = None if hdu.data is None else np.squeeze(hdu.data).shape
        raise MapError(f"{name}[MASK]: mask of shape {found}; expected {shape}, that of COLUMN")
    marked = np.nan_to_num(np.squeeze(hdu.data)) != 0
    good = options.mask_is == "good"
    if options.mask_is is None and same:
        valid = np.logical_and.reduce([np.isfinite(columns[key].value) for key in _NAMES.values()])
        if valid.any() and ((marked[valid].mean() > 0.5 and (~marked).mean() < 0.5) or marked[valid].all()):
            raise MapError(
                f"{name}[MASK]: nonzero in {marked[valid].mean():.0%} of the {valid.sum()} pixels with data; nonzero "
                "means excluded here: if it marks good pixels use mask_is='good', else confirm it by mask_is='bad'"
            )
    reason = f"mask_is={options.mask_is!r}" if options.mask_is else "nonzero means excluded"
    excluded = ~marked if good else marked
    options.log.add(f"{name}[MASK]", f"{excluded.sum()} pixels excluded", reason)
    return excluded


def _nearest(values: np.ndarray, source: WCS, target: WCS, shape: tuple[int, int]) -> np.ndarray:
    """Return a boolean map on another grid, by the nearest pixel; True beyond the edge."""
    y, x = np.indices(shape)
    from_x, from_y = (np.round(each) for each in pixel_to_pixel(target, source, x, y))
    inside = (from_x >= 0) & (from_x < values.shape[1]) & (from_y >= 0) & (from_y < values.shape[0])
    row, column = (np.where(inside, each, 0).astype(int) for each in (from_y, from_x))
    return np.where(inside, values[row, column], True)


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
    if meta.get("origin"):
        primary.header["DECISION"] = decisions_to_json(meta["origin"])
    images = {extension: columns[name] for extension, name in _NAMES.items()}
    images |= {f"ERR_{extension}": columns[f"{name}_error"] for extension, name in _NAMES.items()}
    hdus = [_image(name, value, wcs, meta.get("beam", ())) for name, value in images.items() if value is not None]
    mask = fits.ImageHDU(columns["mask"].astype(np.uint8), header=_header(wcs, columns["mask"].shape), name="MASK")
    with new_file(path, overwrite=overwrite) as temporary:
        write_hdus([primary, *hdus, mask], temporary)


def _header(wcs: WCS, shape: tuple[int, int]) -> fits.Header:
    """Return the header of a WCS; raise `MapError` if it does not give the same positions again."""
    header = wcs.to_header(relax=True)
    if wcs.has_distortion and not same_grid(WCS(header), shape, wcs, shape):
        raise MapError("the WCS has distortion terms that FITS headers cannot hold; read the maps by GasMaps.read")
    return header


def _image(name: str, quantity: u.Quantity, wcs: WCS, beam: tuple[float, ...]) -> fits.ImageHDU:
    hdu = fits.ImageHDU(quantity.value.astype(np.float32), header=_header(wcs, quantity.shape), name=name)
    hdu.header["BUNIT"] = quantity.unit.to_string("fits")
    hdu.header.update(zip(_BEAM, beam, strict=False))
    return hdu
