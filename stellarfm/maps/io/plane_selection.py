"""Which plane of which file is which map: ``FILE``, ``FILE[EXT]`` and ``FILE[EXT][PLANE]``."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from astropy.io import fits

from stellarfm.exceptions import MapError, ReaderError
from stellarfm.maps.decisions import DecisionLog
from stellarfm.maps.io.fits_image import Plane, open_fits, read_plane

__all__ = ["ROLES", "PlaneName", "check_content", "find_hdu", "parameter_planes", "read_role", "split_name"]

#: Key of the mapping that names three files -> extension of the multi-extension file.
ROLES = {"column": "COLUMN", "velocity": "VELOCITY", "dispersion": "DISPERSION"}

#: Cards that describe the values of an image.
DESCRIPTIONS = ("EXTNAME", "BTYPE", "LABEL", "QTTY", "QUANTITY", "CONTENT", "IMTYPE")

_ERROR_WORDS = re.compile(
    r"(?<![a-z])(e?rr(or)?s?|unc(ert(ainty)?)?|std(dev)?|stdev|variance|ivar|weights?|wht|wgt|quality|dq|masks?|flags?|"
    r"coverage|exposure|hits?|nhits|noise|rms|snr|s/n|residuals?|chi2|footprint)(?![a-z])",
    re.IGNORECASE,
)
_ERROR_NAMES = re.compile(
    r"(^|[_.-])(e(?=Vlsr|Sigma|sigma|Tkin|Tex|N_|v_|N[A-Z])|err(or)?s?(?=[_.-]|$)|unc(ert\w*)?(?=[_.-]|$)|"
    r"(i?var|weight|wht|rms|noise|snr)(?=[_.-]|$))"
)
_OTHER_ROLE = {
    "column": r"velocity|v_?lsr|dispersion|sigma_?v|line ?width|temperature|t_?dust|t_?kin",
    "velocity": r"dispersion|sigma|line ?width|fwhm|column density|temperature|t_?kin",
    "dispersion": r"v_?lsr|centroid|column density|temperature|t_?kin|mean velocity",
}
_PLANE_ROLES = {
    "column": r"column|log_?n|n_?h2?|n_?tot|ntot|coldens",
    "velocity": r"velocity|v_?lsr|v_?cen|centroid|vel|v",
    "dispersion": r"dispersion|sigma(_?v)?|width|fwhm|line ?width",
}


class PlaneName(NamedTuple):
    """Path of a file, extension (name or number) and plane (name or number), None if not stated."""

    path: Path
    extension: str | None
    plane: str | None


def split_name(name: str | os.PathLike) -> PlaneName:
    """Split ``FILE[EXT][PLANE]``; a file whose own name ends so is taken as it is.

    Examples
    --------
    >>> split_name("maps.fits[N_H]").extension
    'N_H'
    >>> split_name("fit.fits[0][3]").plane
    '3'
    """
    path = Path(name)
    match = re.fullmatch(r"(.+?)\[([^\[\]]*)\](?:\[([^\[\]]*)\])?", str(name))
    if path.exists() or match is None:
        return PlaneName(path, None, None)
    return PlaneName(Path(match[1]), match[2].strip(), match[3] and match[3].strip())


def _images(hdus: fits.HDUList) -> list[tuple[int, fits.ImageHDU]]:
    return [(n, hdu) for n, hdu in enumerate(hdus) if hdu.is_image and hdu.header.get("NAXIS", 0) > 0]


def _label(number: int, hdu: fits.ImageHDU) -> str:
    return hdu.name.strip() or str(number)


def find_hdu(hdus: fits.HDUList, extension: str, name: str) -> fits.ImageHDU:
    """Return the HDU of a name (in upper or lower case) or number (from 0); raise `ReaderError` without it."""
    for number, hdu in enumerate(hdus):
        if extension.upper() in (hdu.name.strip().upper(), str(number)):
            return hdu
    found = ", ".join(f"{number} {_label(number, hdu)}" for number, hdu in enumerate(hdus))
    raise ReaderError(f"{name}: no extension {extension!r}; found {found}")


def parameter_planes(header: fits.Header) -> dict[int, str]:
    """Return the names of the planes of a parameter cube (PLANEn), by number from 1; empty for other images."""
    names = {int(key[5:]): str(header[key]).strip() for key in header if re.fullmatch(r"PLANE\d+", key)}
    if names or str(header.get("CTYPE3", "")).strip().upper() not in ("FITPAR", "PARAM", "PARAMETER", "PARAMETERS"):
        return names
    return {number: f"plane {number}" for number in range(1, int(header.get("NAXIS3", 0)) + 1)}


def parameter_cube_error(hdu: fits.ImageHDU, number: int, name: str) -> MapError | None:
    """Return the error for a parameter cube without a choice of planes; None for other images."""
    names = parameter_planes(hdu.header)
    if not names or hdu.header.get("NAXIS", 0) < 3:
        return None
    example = {
        role: next((n for n, label in names.items() if re.fullmatch(pattern, label, re.IGNORECASE)), None)
        for role, pattern in _PLANE_ROLES.items()
    }
    given = ", ".join(f"{role}='{name}[{number}][{n or 'PLANE'}]'" for role, n in example.items())
    planes = ", ".join(f"{n} {label}" for n, label in names.items())
    return MapError(
        f"{name}: a parameter cube of the planes {planes}; name the plane of each map: {given}; their units are "
        "not in the header: give column_unit (for instance 'dex(cm-2)' for log10), velocity_unit and dispersion_unit"
    )


def read_role(
    role: str, name: str | os.PathLike, log: DecisionLog
) -> tuple[Plane, tuple[Path, int, int | None], fits.Header]:
    """Read the map of one role from ``FILE[EXT][PLANE]``.

    Returns
    -------
    plane : Plane
        The map.
    identity : tuple
        File, number of the HDU and of the plane: equal for equal maps.
    primary : fits.Header
        Primary header of the file.

    Raises
    ------
    ReaderError, MapError
        If the file has no such image, or several images and none is chosen, or it contains another quantity.
    """
    path, extension, plane = split_name(name)
    with open_fits(path) as (hdus, file):
        if extension is not None:
            hdu = find_hdu(hdus, extension, file)
            reason = "chosen by the caller"
        else:
            hdu, reason = _only_image(role, hdus, file)
        number = next(n for n, each in enumerate(hdus) if each is hdu)
        where = file if extension is None else f"{file}[{extension}]"
        chosen = None
        if plane is not None:
            names = parameter_planes(hdu.header)
            labels = {label.upper(): n for n, label in names.items()}
            if plane.upper() not in labels and not plane.isdigit():
                found = ", ".join(f"{n} {label}" for n, label in names.items()) or "numbers only"
                raise MapError(f"{where}: no plane {plane!r}; found {found}")
            chosen = labels.get(plane.upper()) or int(plane)
            where = f"{where}[{plane}]"
        elif error := parameter_cube_error(hdu, number, file):
            raise error
        result = read_plane(hdu, where=where, number=chosen, hdus=hdus, log=log)
        primary = hdus[0].header
    if extension is None:
        check_content(role, result, path)
    log.add(f"{role} map", f"{path.name}[{_label(number, hdu)}]" + (f"[{plane}]" if plane else ""), reason)
    return result, (path.resolve(), number, chosen), primary


def _only_image(role: str, hdus: fits.HDUList, file: str) -> tuple[fits.ImageHDU, str]:
    """Return the extension named for a role, or the only image of a file."""
    images = _images(hdus)
    if not images:
        raise ReaderError(f"{file}: holds no image; expected a two-dimensional map")
    if named := [hdu for _, hdu in images if hdu.name.strip().upper() == ROLES[role]]:
        return named[0], f"extension {ROLES[role]}"
    if len(images) > 1:
        names = [_label(number, hdu) for number, hdu in images]
        likely = [name for name in names if not _ERROR_WORDS.search(name)] or names
        raise MapError(
            f"{file}: {len(images)} images, {', '.join(names)}; name the {role} map, for instance "
            f"{role}='{file}[{likely[-1]}]'"
        )
    return images[0][1], "the only image of the file"


def check_content(role: str, plane: Plane, path: Path) -> None:
    """Raise `MapError` if name or header of an image describe an error, weight or mask, or the map of another role."""
    described = plane.text(*DESCRIPTIONS)
    remedy = f"if it is the {role} map all the same, name its extension: {role}='{path}[0]'"
    if found := _ERROR_WORDS.search(described):
        raise MapError(f"{plane.where}: the header describes {found[0]!r}, not a {role} map ({described}); {remedy}")
    if found := _ERROR_NAMES.search(path.name.partition(".")[0]):
        raise MapError(f"{plane.where}: the file name is that of a map of errors or weights ({found[0]!r}); {remedy}")
    if found := re.search(rf"(?<![a-z])({_OTHER_ROLE[role]})(?![a-z])", described, re.IGNORECASE):
        raise MapError(f"{plane.where}: the header describes {found[0]!r}, not a {role} map ({described}); {remedy}")


def require_different(identities: Mapping[str, tuple[Path, int, int | None]]) -> None:
    """Raise `MapError` if two roles were given one map."""
    roles = list(identities)
    for index, role in enumerate(roles):
        for other in roles[index + 1 :]:
            if identities[role] == identities[other]:
                raise MapError(
                    f"{identities[role][0]}: one map was given as {role} and as {other}; expected different maps: "
                    f"check {role}= and {other}="
                )
