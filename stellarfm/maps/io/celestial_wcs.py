"""Celestial WCS of a map: headers repaired or refused, scales from the local Jacobian, distortions removed."""

from __future__ import annotations

import re
import warnings
from typing import Any

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.wcs import WCS, WcsError
from astropy.wcs.utils import wcs_to_celestial_frame

from stellarfm.exceptions import MapError
from stellarfm.maps.decisions import DecisionLog

__all__ = [
    "celestial_wcs",
    "is_sky_axis",
    "local_pixel_sides",
    "regular_grid",
    "wcs_header",
]

SKY_AXES = ("RA", "DEC", "GLON", "GLAT", "ELON", "ELAT", "SLON", "SLAT")

#: Projections of the FITS standard and those that wcslib translates to them.
PROJECTIONS = frozenset(
    ["AZP", "SZP", "TAN", "STG", "SIN", "ARC", "ZPN", "ZEA", "AIR", "CYP", "CEA", "CAR", "MER", "SFL", "PAR", "MOL"]
) | frozenset(
    ["AIT", "COP", "COE", "COD", "COO", "BON", "PCO", "TSC", "CSC", "QSC", "HPX", "XPH", "TPV", "TPD", "GLS", "NCP"]
)

#: Largest side of a pixel, degrees: CDELT of 1 degree is the default of wcslib for a card that it does not find.
LARGEST_PIXEL = 0.5

#: Largest ratio of the sides of a pixel.
LARGEST_ASPECT = 20

#: Relative variation of the pixel sides over a field above which the maps are resampled.
SAME_SCALE = 0.02

#: Largest number of pixels of a resampled grid, in units of those of the map.
LARGEST_GROWTH = 16

_NUMBERS = re.compile(
    r"(CRVAL|CRPIX|CDELT|CROTA)\d+|(PC|CD)\d+_\d+|(PC|CD)\d{6}|PV\d+_\d+|LONPOLE|LATPOLE|EQUINOX|EPOCH|RESTFRQ|RESTFREQ|"
    r"(A|B|AP|BP)_(ORDER|\d+_\d+)|BMAJ|BMIN|BPA"
)
_TEXTS = re.compile(r"(CTYPE|CUNIT)\d+|RADESYS|RADECSYS")
_SYSTEMS = {"J2000": "FK5", "J2000.0": "FK5", "FK5(J2000)": "FK5", "EQJ2000": "FK5", "B1950": "FK4", "B1950.0": "FK4"}
_KNOWN_SYSTEMS = ("ICRS", "FK5", "FK4", "FK4-NO-E")
_DEGREES = ("deg", "degree", "degrees", "degs")


def is_sky_axis(ctype: object) -> bool:
    """Return True if a CTYPE is that of a celestial axis."""
    return isinstance(ctype, str) and ctype.upper().partition("-")[0].strip() in SKY_AXES


def wcs_header(header: fits.Header, *, where: str, log: DecisionLog | None = None) -> fits.Header:
    """Return a copy of a header with the cards of the WCS as numbers and text that `astropy.wcs.WCS` reads correctly.

    Commentary is dropped: CASA writes thousands of lines, which cost seconds. So is an equinox outside 1850 to 2100
    (0, say), with which astropy would correct positions for two thousand years. Numbers stored as text, cards without
    a blank after the equals sign, CTYPE and CUNIT in other spellings and common names in RADESYS are repaired.

    Raises
    ------
    MapError
        If the value of a card cannot be interpreted; the message names the card.
    """
    log = DecisionLog() if log is None else log
    clean = fits.Header()
    for card in header.cards:
        if card.keyword in ("HISTORY", "COMMENT", "") or card.image.startswith("CONTINUE"):
            continue
        keyword, value = card.keyword, _card_value(card, where)
        if isinstance(value, fits.card.Undefined):
            continue
        if _NUMBERS.fullmatch(keyword):
            value = _number(keyword, value, where, log)
        elif _TEXTS.fullmatch(keyword) and not isinstance(value, str):
            raise MapError(f"{where}: {keyword} is {value!r}; expected text: correct the header")
        clean.append(fits.Card(keyword, value), end=True)
    _repair_axes(clean, where, log)
    _repair_system(clean, where, log)
    return clean


def _card_value(card: fits.Card, where: str) -> Any:
    """Return the value of a card, also if the blank after its equals sign is missing."""
    image = card.image
    if image[8:9] == "=" and image[9:10] not in (" ", ""):
        card = fits.Card.fromstring(f"{image[:8]}= {image[9:].rstrip()}".ljust(80)[:80])
    try:
        return card.value
    except (fits.VerifyError, ValueError) as error:
        if _NUMBERS.fullmatch(card.keyword) or _TEXTS.fullmatch(card.keyword):
            text = image[10:].partition("/")[0].strip()
            if re.fullmatch(r"[+-]?\d*\.?\d+[+-]\d+", text):
                return text
            raise MapError(f"{where}: {card.keyword} {text!r} cannot be read; correct the header") from error
        return fits.card.Undefined()


def _number(keyword: str, value: Any, where: str, log: DecisionLog) -> float | int:
    """Return the number of a WCS card, which may be stored as text."""
    if isinstance(value, str):
        text = value.strip().upper().replace("D", "E").replace(",", ".")
        text = text.lstrip("JB") if keyword in ("EQUINOX", "EPOCH") else text
        text = re.sub(r"^([+-]?\d*\.?\d+)([+-]\d+)$", r"\1E\2", text)  # an exponent of Fortran without its letter
        try:
            number = float(text)
        except ValueError:
            raise MapError(f"{where}: {keyword} is the text {value!r}; expected a number: correct the header") from None
        log.add(f"{where}: {keyword}", number, "number stored as text in the header")
        value = number
    if isinstance(value, bool | np.bool_) or not np.isreal(value) or not np.isfinite(value):
        raise MapError(f"{where}: {keyword} is {value!r}; expected a finite number: correct the header")
    return value


def _repair_axes(header: fits.Header, where: str, log: DecisionLog) -> None:
    """Normalize CTYPE and CUNIT of the celestial axes, and TAN with the polynomials of SCAMP to TPV; in place."""
    for keyword in [key for key in header if key.startswith("CTYPE") and is_sky_axis(header[key])]:
        parts = [part for part in header[keyword].upper().strip().split("-") if part]
        if len(parts) < 2:
            example = f"{parts[0]:-<5}TAN"
            raise MapError(
                f"{where}: {keyword} {header[keyword]!r} names no projection; expected one such as {example!r}: "
                "correct CTYPE in the header"
            )
        if parts[1] not in PROJECTIONS:
            raise MapError(
                f"{where}: the WCS cannot be read ({keyword} {header[keyword]!r}: projection {parts[1]!r} is not in "
                "the FITS standard); resample the map to a standard projection such as TAN first"
            )
        ctype = "-".join([f"{parts[0]:-<4}", *parts[1:]])
        if ctype != header[keyword].strip():
            log.add(f"{where}: {keyword}", ctype, f"spelled {header[keyword]!r} in the header")
            header[keyword] = ctype
        unit = f"CUNIT{keyword.removeprefix('CTYPE')}"
        if str(header.get(unit, "")).strip().lower() in _DEGREES:
            header[unit] = "deg"
    sky = {key: header[key] for key in header if key.startswith("CTYPE") and is_sky_axis(header[key])}
    scamp = any(re.fullmatch(r"PV\d_([5-9]|[1-3]\d)", key) for key in header) or "PV2_1" in header
    if scamp and len(sky) == 2 and all(ctype[5:] == "TAN" for ctype in sky.values()):
        for keyword, ctype in sky.items():
            header[keyword] = f"{ctype[:5]}TPV"
        log.add(f"{where}: projection", "TPV", "TAN with polynomial coefficients PV (SCAMP)", announce=True)
    if sky and all(ctype[5:8] == "TPV" for ctype in (header[keyword] for keyword in sky)):
        _complete_polynomials(header, [keyword.removeprefix("CTYPE") for keyword in sky])
    elif "A_ORDER" in header and "B_ORDER" in header:
        for keyword, ctype in sky.items():
            if ctype[5:] == "TAN":
                header[keyword] = f"{ctype}-SIP"


def _complete_polynomials(header: fits.Header, axes: list[str]) -> None:
    """Write out the coefficients of TPV that a header omits: 1 for the linear term, else 0; in place."""
    for axis in axes:
        stated = [int(match[1]) for key in header if (match := re.fullmatch(rf"PV{axis}_(\d+)", key))]
        for number in range(max(stated, default=1) + 1):
            if number not in stated:
                header[f"PV{axis}_{number}"] = 1.0 if number == 1 else 0.0
    _matrix_of_degrees(header, axes)


def _matrix_of_degrees(header: fits.Header, axes: list[str]) -> None:
    """Replace CDELT, PC and CROTA by CD, in place: wcslib applies TPV before CDELT, as if its unit were the pixel."""
    if any(key.startswith("CD") and key[2:3].isdigit() for key in header) or any(
        f"CDELT{a}" not in header for a in axes
    ):
        return
    first, second = axes
    matrix = {(i, j): header.get(f"PC{i}_{j}", 1.0 if i == j else 0.0) for i in axes for j in axes}
    angle = np.radians(header.get(f"CROTA{second}", 0.0))
    if angle:
        ratio = header[f"CDELT{second}"] / header[f"CDELT{first}"]
        matrix = {(first, first): np.cos(angle), (first, second): -np.sin(angle) * ratio}
        matrix |= {(second, first): np.sin(angle) / ratio, (second, second): np.cos(angle)}
    scales = {axis: header[f"CDELT{axis}"] for axis in axes}
    for key in [key for key in header if re.fullmatch(r"(CDELT|CROTA)\d|PC\d_\d", key)]:
        del header[key]
    for (i, j), value in matrix.items():
        header[f"CD{i}_{j}"] = float(scales[i] * value)


def _repair_system(header: fits.Header, where: str, log: DecisionLog) -> None:
    """Remove impossible equinoxes; normalize RADESYS or raise `MapError`; in place."""
    for key in ("EQUINOX", "EPOCH"):
        equinox = header.get(key)
        if equinox is not None and not 1850 <= equinox <= 2100:
            text = f"{key} {equinox:g} is not a valid equinox"
            log.add(f"{where}: frame", "ICRS", text, announce=True)
            del header[key]
    equatorial = any(str(header.get(f"CTYPE{axis}", "")).startswith(("RA", "DEC")) for axis in range(1, 8))
    for key in ("RADESYS", "RADECSYS"):
        name = str(header.get(key, "")).strip().upper().replace(" ", "")
        if not name or name in _KNOWN_SYSTEMS:
            if name and name != header[key]:
                header[key] = name
            continue
        if not equatorial:
            log.add(f"{where}: {key}", "ignored", f"{header[key]!r} has no meaning for the axes of this map")
            del header[key]
        elif name in _SYSTEMS:
            log.add(f"{where}: {key}", _SYSTEMS[name], f"{header[key]!r} in the header", announce=True)
            header[key] = _SYSTEMS[name]
        else:
            raise MapError(
                f"{where}: {key} is {header[key]!r}, which is not a reference system; expected one of "
                f"{', '.join(_KNOWN_SYSTEMS)}: correct {key} in the header"
            )


def celestial_wcs(
    header: fits.Header,
    axes: list[int],
    *,
    where: str,
    shape: tuple[int, int] | None = None,
    hdus: fits.HDUList | None = None,
    log: DecisionLog | None = None,
) -> WCS:
    """Return the celestial WCS of two pixel axes.

    Parameters
    ----------
    header : fits.Header
        Header of the map.
    axes : list of int
        FITS numbers of the two axes on the sky.
    where : str
        File (and extension), for messages.
    shape : tuple of int, optional
        Shape (ny, nx) of the map, to check the position of its center.
    hdus : HDUList, optional
        File of the header, with the lookup tables of its distortion.
    log : DecisionLog, optional
        Receives the repairs of the header.

    Raises
    ------
    MapError
        If the header has no complete celestial WCS, or one that astropy cannot evaluate.
    """
    log = DecisionLog() if log is None else log
    clean = wcs_header(header, where=where, log=log)
    found = ", ".join(repr(clean.get(f"CTYPE{axis}", "")) for axis in axes)
    if sum(is_sky_axis(clean.get(f"CTYPE{axis}")) for axis in axes) < 2:
        raise MapError(
            f"{where}: no celestial WCS (CTYPE {found}); expected sky axes such as 'RA---TAN' and 'DEC--TAN' in the "
            "header"
        )
    if "'SL" in found:
        raise MapError(
            f"{where}: CTYPE {found}, supergalactic axes, are not supported (RADESYS does not matter here); resample "
            "the map to RA and Dec, or to Galactic coordinates, first"
        )
    _require_cards(clean, axes, where)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", fits.verify.VerifyWarning)
            wcs = WCS(clean, fobj=hdus)
        wcs = wcs if wcs.naxis == 2 else wcs.sub(axes)
        wcs.wcs.set()
        wcs_to_celestial_frame(wcs)
        if wcs.is_celestial:
            _check_scale(wcs, shape or (2, 2), where)
            return wcs
    except MapError:
        raise
    except (WcsError, ValueError, MemoryError, TypeError, KeyError, AssertionError, IndexError) as error:
        raise MapError(
            f"{where}: the WCS cannot be read ({error}); correct CTYPE, CRVAL, CRPIX, CDELT, RADESYS"
        ) from error
    raise MapError(f"{where}: no celestial WCS (CTYPE {found}); expected sky axes such as 'RA---TAN' and 'DEC--TAN'")


def _require_cards(header: fits.Header, axes: list[int], where: str) -> None:
    """Raise `MapError` unless the header states position and scale of each axis; wcslib would assume them."""
    matrix = any(re.fullmatch(r"CD\d+_\d+|CD\d{6}", key) for key in header)
    missing = [f"{name}{axis}" for axis in axes for name in ("CRVAL", "CRPIX") if f"{name}{axis}" not in header]
    if matrix:
        rows = [any(re.fullmatch(rf"CD0*{axis}_\d+|CD0*{axis}\d{{3}}", key) for key in header) for axis in axes]
        missing += [f"CD{axis}_{axis}" for axis, stated in zip(axes, rows, strict=True) if not stated]
    else:
        missing += [f"CDELT{axis}" for axis in axes if f"CDELT{axis}" not in header]
    if missing:
        raise MapError(
            f"{where}: {', '.join(missing)} missing from the WCS of the header; the FITS defaults are not the position "
            "or scale of a map: add the cards"
        )


def _check_scale(wcs: WCS, shape: tuple[int, int], where: str) -> None:
    """Raise `MapError` if the center of the map is off the sky, or its pixels are not those of a map of a cloud."""
    x, y = (shape[1] - 1) / 2, (shape[0] - 1) / 2
    sides = local_pixel_sides(wcs, x, y)
    if not np.all(np.isfinite(sides)) or not np.all(sides > 0):
        raise MapError(f"{where}: the center of the map is not on the sky; correct CRVAL, CRPIX, CDELT in the header")
    if max(sides) >= LARGEST_PIXEL or max(sides) > LARGEST_ASPECT * min(sides):
        raise MapError(
            f"{where}: pixels of {sides[0]:.4g} x {sides[1]:.4g} degrees are not those of a map of a cloud; correct "
            "CDELT (or CD, PC) in the header"
        )


def local_pixel_sides(wcs: WCS, x: Any, y: Any) -> np.ndarray:
    """Return the lengths on the sky of a step of one pixel along x and along y at pixel positions.

    Parameters
    ----------
    wcs : WCS
        Two-dimensional celestial WCS, with or without distortion.
    x, y : float or ndarray
        Pixel positions, from 0.

    Returns
    -------
    ndarray
        Degrees, shape (2, ...); NaN off the sky.
    """
    tangents = _tangents(wcs, np.asarray(x, float), np.asarray(y, float))
    return np.degrees(np.linalg.norm(tangents, axis=-1))


def local_pixel_area(wcs: WCS, x: Any, y: Any) -> np.ndarray:
    """Return the solid angle of pixels in square degrees, from the local Jacobian."""
    along_x, along_y = _tangents(wcs, np.asarray(x, float), np.asarray(y, float))
    return np.degrees(np.degrees(np.linalg.norm(np.cross(along_x, along_y), axis=-1)))


def _tangents(wcs: WCS, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the derivatives of the unit vector on the sky by x and y, radians a pixel, shape (2, ..., 3)."""
    step = 0.25

    def vector(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        sky = [np.radians(angle) for angle in wcs.all_pix2world(x, y, 0)]
        lon, lat = (sky[0], sky[1]) if wcs.wcs.lng == 0 else (sky[1], sky[0])
        return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=-1)

    with np.errstate(invalid="ignore"):
        return np.stack(
            [
                (vector(x + step, y) - vector(x - step, y)) / (2 * step),
                (vector(x, y + step) - vector(x, y - step)) / (2 * step),
            ]
        )


def regular_grid(wcs: WCS, shape: tuple[int, int], *, where: str) -> tuple[WCS, tuple[int, int], str] | None:
    """Return an undistorted grid for a map that has distortion or whose scale varies.

    Parameters
    ----------
    wcs : WCS
        WCS of the map.
    shape : tuple of int
        Its shape (ny, nx).
    where : str
        File, for messages.

    Returns
    -------
    wcs, shape, reason : WCS, tuple of int, str
        Gnomonic grid of square pixels of the smallest local side, along latitude and longitude of the map, and the
        reason for it; None if the map needs none.

    Raises
    ------
    MapError
        If the map is too large for one tangential plane.
    """
    y, x = np.meshgrid(*(np.linspace(0, side - 1, 9) for side in shape), indexing="ij")
    sides = local_pixel_sides(wcs, x, y)
    reason = _irregularity(wcs, sides, shape)
    if reason is None:
        return None
    frame = wcs_to_celestial_frame(wcs)
    center = wcs.pixel_to_world((shape[1] - 1) / 2, (shape[0] - 1) / 2)
    lon, lat = (part.to_value(u.deg) for part in (center.spherical.lon, center.spherical.lat))
    grid = WCS(naxis=2)
    names = {"fk5": ("RA", "DEC"), "icrs": ("RA", "DEC"), "fk4": ("RA", "DEC"), "galactic": ("GLON", "GLAT")}
    names.update(fk4noeterms=("RA", "DEC"))
    axes = names.get(frame.name, ("ELON", "ELAT"))
    grid.wcs.ctype = [f"{axis:-<5}TAN" for axis in axes]
    grid.wcs.crval = lon, lat
    scale = float(np.nanmin(sides[:, 4, 4]))
    grid.wcs.cdelt, grid.wcs.crpix = (-scale, scale), (1, 1)
    if wcs.wcs.radesys:
        grid.wcs.radesys = wcs.wcs.radesys
    if np.isfinite(wcs.wcs.equinox):
        grid.wcs.equinox = wcs.wcs.equinox
    grid.wcs.set()
    edge = [np.linspace(-0.5, side - 0.5, 33) for side in shape]
    border_x = np.concatenate([edge[1], edge[1], np.full(33, -0.5), np.full(33, shape[1] - 0.5)])
    border_y = np.concatenate([np.full(33, -0.5), np.full(33, shape[0] - 0.5), edge[0], edge[0]])
    with np.errstate(invalid="ignore"):
        # one frame on both sides: plain numbers, in the order of the axes of each WCS
        sky = wcs.all_pix2world(border_x, border_y, 0)
        sky = sky if wcs.wcs.lng == 0 else sky[::-1]
        to_x, to_y = grid.all_world2pix(*sky, 0)
    if not (np.isfinite(to_x).all() and np.isfinite(to_y).all()):
        raise MapError(f"{where}: {reason}, and the map is too large for one tangential plane; cut out the cloud first")
    first = np.floor([to_x.min() + 0.5, to_y.min() + 0.5])
    size = np.ceil([to_x.max() - 0.5, to_y.max() - 0.5]) - first + 1
    if size.prod() > LARGEST_GROWTH * shape[0] * shape[1] + 1e6:
        raise MapError(
            f"{where}: {reason}, and a regular grid would have {size[0]:.0f} x {size[1]:.0f} pixels; cut out the cloud "
            "or resample the map first"
        )
    grid.wcs.crpix = 1 - first[0], 1 - first[1]
    grid.wcs.set()
    return grid, (int(size[1]), int(size[0])), reason


def _irregularity(wcs: WCS, sides: np.ndarray, shape: tuple[int, int]) -> str | None:
    """Return why a map needs a regular grid, or None."""
    if wcs.has_distortion or any(ctype[5:8] in ("TPV", "TPD") for ctype in wcs.wcs.ctype) or _lin_distortion(wcs):
        return "the WCS has distortion terms"
    finite = np.isfinite(sides)
    if not finite.all():
        return "parts of the map are off the sky"
    spread = max(float(side.max() / side.min()) for side in sides)
    if spread > 1 + SAME_SCALE:
        return f"the pixel side varies by a factor {spread:.3g} over the map"
    nominal = np.degrees(np.linalg.norm(np.radians(wcs.pixel_scale_matrix), axis=0))
    local = sides[:, 4, 4]
    if np.any(np.abs(local / nominal - 1) > SAME_SCALE):
        return f"pixels of {local[0]:.4g} x {local[1]:.4g} degrees, nominally {nominal[0]:.4g} x {nominal[1]:.4g}"
    return None


def _lin_distortion(wcs: WCS) -> bool:
    """Return True for the distortions that wcslib applies itself (TPV, TPD and the like)."""
    text = wcs.wcs.to_header(relax=True)
    return any(key in str(text) for key in ("CPDIS", "CQDIS", "DP1", "DQ1", "TPV"))
