"""The one intake of maps: unit, species, scale, missing values, grid and distance of a field, each with its reason.

What a header contradicts is refused, what it leaves open is an option, and every decision is recorded.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units as u
from astropy.io import fits

from stellarfm.exceptions import MapError, UnitsError
from stellarfm.maps import units
from stellarfm.maps.decisions import DecisionLog
from stellarfm.maps.io.celestial_wcs import local_pixel_sides, regular_grid
from stellarfm.maps.io.fits_image import Plane
from stellarfm.maps.io.kinematics import interpolate, kinematics_on_grid
from stellarfm.maps.io.missing_data import blank_sentinels, blank_zeros

__all__ = ["IntakeOptions", "beam_of", "field_columns", "header_distance"]

_BEAM = ("BMAJ", "BMIN", "BPA")
_DESCRIPTIONS = ("BTYPE", "LABEL", "QTTY", "QUANTITY", "EXTNAME", "CONTENT")
_FREE_TEXT = ("OBJECT", "TITLE", "FIELD", "DATATYPE", "LINE", "MOLECULE")
_FWHM = re.compile(r"fwhm|full[ -]?width|full_width", re.IGNORECASE)
_VARIANCE = re.compile(r"varian(ce|z)|sigma ?(\^|\*\*) ?2", re.IGNORECASE)
_LOGARITHM = re.compile(r"(?<![a-z])(log(10)?|dex)(?![a-z])", re.IGNORECASE)

#: Range of plausible distances, pc; a number outside it has another unit than the header leads to believe.
PLAUSIBLE_DISTANCE = (1.0, 2e6)

_COLUMN_UNIT_MISSING = (
    "BUNIT is missing; give the unit of the values, for instance column_unit='cm-2' (or 'dex(cm-2)' for log10), and "
    "what they count, for instance column_species='H2'"
)


@dataclass(frozen=True, kw_only=True)
class IntakeOptions:
    """Options of the intake, named as those of `stellarfm.maps.GasMaps.read`; None leaves a decision to the header."""

    distance: u.Quantity | str | None = None
    column_unit: str | u.UnitBase | None = None
    column_species: str | None = None
    abundance: float | None = None
    column_per_intensity: str | u.Quantity | None = None
    velocity_unit: str | u.UnitBase | None = None
    dispersion_unit: str | u.UnitBase | None = None
    dispersion_is: str | None = None
    mask_is: str | None = None
    missing_value: float | None = None
    log: DecisionLog = field(default_factory=DecisionLog)

    def stated(self) -> bool:
        """Return True if the caller has stated anything."""
        return any(getattr(self, each.name) is not None for each in fields(self) if each.name != "log")

    def __post_init__(self) -> None:
        """Raise `MapError` for unknown choices."""
        for name, choices in (("dispersion_is", tuple(units.WIDTHS)), ("mask_is", ("bad", "good"))):
            value = getattr(self, name)
            if value is not None and value not in choices:
                raise MapError(f"{name}={value!r}; expected one of {', '.join(choices)}")


def field_columns(
    planes: dict[str, Plane], headers: Iterable[tuple[str, fits.Header]], options: IntakeOptions
) -> dict[str, Any]:
    """Return the arguments of `GasMaps` from three planes.

    Parameters
    ----------
    planes : dict
        Maps as stored, by role; their grids may differ.
    headers : iterable
        Pairs of a file name and a header in which the distance is looked for, the most significant first.
    options : IntakeOptions
        Statements of the caller; its log receives the decisions.

    Returns
    -------
    dict
        Quantities ``column_density``, ``velocity``, ``velocity_dispersion`` on the grid of the column density map (or
        on a regular one in its place), ``wcs``, ``distance`` and ``meta``.
    """
    log = options.log
    planes = {role: _without_sentinels(role, plane, options) for role, plane in planes.items()}
    column = hydrogen_nuclei(planes["column"], options)
    target = replace(planes["column"], values=column.value)
    if (grid := regular_grid(target.wcs, target.values.shape, where=target.where)) is not None:
        wcs, shape, reason = grid
        values = interpolate(target.values, target.wcs, wcs, shape)
        text = f"TAN, {shape[1]} x {shape[0]} pixels of {abs(wcs.wcs.cdelt[0]) * 3600:.4g} arcsec"
        log.add(f"{target.where}: grid", text, reason, announce=True)
        target = replace(target, values=values, wcs=wcs)
    sides = local_pixel_sides(target.wcs, *((length - 1) / 2 for length in target.values.shape[::-1])) * 3600
    log.add("pixels", f"{sides[0]:.4g} x {sides[1]:.4g} arcsec", "local Jacobian of the WCS at the center")
    log.add(
        "frame",
        " ".join([*target.wcs.wcs.ctype, target.wcs.wcs.radesys]).strip(),
        f"header of {Path(target.where).name}",
    )
    velocity, dispersion = _kinematics(planes, target, options)
    distance, error = header_distance(headers, options)
    meta: dict[str, Any] = beam_of(planes["column"].header)
    if beam := meta.get("beam"):
        log.add(
            "beam", f"{beam[0] * 3600:.4g} x {beam[1] * 3600:.4g} arcsec", f"BMAJ, BMIN of {Path(target.where).name}"
        )
    else:
        log.add("beam", "unknown", f"no BMAJ in the header of {Path(target.where).name}")
    if error is not None:
        meta["distance_error"] = error
    return {
        "column_density": target.values * units.COLUMN_UNIT,
        "velocity": velocity,
        "velocity_dispersion": dispersion,
        "wcs": target.wcs,
        "distance": distance,
        "meta": meta,
    }


def beam_of(header: fits.Header) -> dict[str, tuple[float, float, float]]:
    """Return ``{"beam": (major axis, minor axis, position angle)}`` in degrees; empty if a header lacks them."""
    beam = tuple(header.get(key) for key in _BEAM)
    plain = all(isinstance(value, float | int) and not isinstance(value, bool) for value in beam)
    return {"beam": beam} if plain and beam[0] > 0 else {}


def _without_sentinels(role: str, plane: Plane, options: IntakeOptions) -> Plane:
    positive = (
        role == "column" and np.nanmedian(np.where(np.isfinite(plane.values), plane.values, np.nan)) > 1e10
        if (np.isfinite(plane.values).any())
        else False
    )
    values = blank_sentinels(
        plane.values, where=plane.where, log=options.log, positive=positive, missing=options.missing_value
    )
    return replace(plane, values=values)


def hydrogen_nuclei(plane: Plane, options: IntakeOptions) -> u.Quantity:
    """Return the column density of hydrogen nuclei of a map as stored, with zeros blanked."""
    unit, text = _column_unit(plane, options)
    species = _species(plane, text, options)
    values = blank_zeros(plane.values, where=plane.where)
    if zeros := int((np.isnan(values) & ~np.isnan(plane.values)).sum()):
        options.log.add(f"{plane.where}: missing", f"{zeros} pixels of exactly zero", "zero means no detection")
    column = units.column_density(values, unit, where=plane.where, per_unit=options.column_per_intensity)
    hydrogen = units.hydrogen_column(column, species=species, abundance=options.abundance)
    units.check_plausible(hydrogen, where=plane.where)
    cleaned = units.clean_unit(unit)
    scale = "log10" if cleaned.to_string().startswith("dex") else "linear"
    if scale == "linear" and _LOGARITHM.search(plane.text(*_DESCRIPTIONS)):
        raise UnitsError(
            f"{plane.where}: the header describes a logarithm ({plane.text(*_DESCRIPTIONS)}), its unit does not; for "
            "log10 values use column_unit='dex(cm-2)'"
        )
    options.log.add(f"{plane.where}: scale", scale, f"unit {text or unit}")
    if options.abundance is not None:
        options.log.add("abundance", options.abundance, "abundance=")
    if options.column_per_intensity is not None:
        options.log.add("column_per_intensity", options.column_per_intensity, "column_per_intensity=")
    return hydrogen


def _column_unit(plane: Plane, options: IntakeOptions) -> tuple[str | u.UnitBase, str]:
    """Return the unit of a column density map, and the text that states it (with a species, if it names one)."""
    stored = plane.text("BUNIT")
    if options.column_unit is not None:
        reason = f"column_unit=, in place of BUNIT {stored!r}"
        options.log.add(f"{plane.where}: unit", options.column_unit, reason)
        return options.column_unit, options.column_unit if isinstance(options.column_unit, str) else ""
    if not stored:
        raise UnitsError(f"{plane.where}: {_COLUMN_UNIT_MISSING}")
    options.log.add(f"{plane.where}: unit", stored, "BUNIT")
    return stored, stored


def _species(plane: Plane, unit_text: str, options: IntakeOptions) -> str:
    """Return the species that the map counts; raise `UnitsError` if caller and header differ, or neither decides."""
    given = options.column_species
    hint = "use column_species={0!r}; if the header is wrong, name the species in column_unit, such as 'H cm-2'"
    caller = units.species_words(unit_text) if options.column_unit is not None else None
    sources = [("column_unit", unit_text, caller)]
    if caller is None:
        stored = plane.text("BUNIT")
        sources = [("BUNIT", stored, units.species_words(stored) if _counts(stored) else None)]
        sources += [(key, plane.text(key), _described_species(plane.text(key), loose=True)) for key in _DESCRIPTIONS]
        sources += [(key, plane.text(key), _described_species(plane.text(key))) for key in _FREE_TEXT]
        for key in ("HISTORY", "COMMENT"):
            lines = [str(line) for line in plane.header.get(key, [])][:200]
            sources += [(key, line, found) for line in lines if (found := _described_species(line))]
    for name, text, named in sources:
        if named == "molecules" and (given is None or given == "H"):
            raise UnitsError(
                f"{plane.where}: {name} {text!r} counts molecules, not hydrogen nuclei; {hint.format('H2')}, or "
                "another molecule with its abundance"
            )
        if named in (None, "molecules"):
            continue
        if given is None and named == "H":
            options.log.add(f"{plane.where}: species", "H", f"{name} {text!r}")
            return "H"
        if named != given:
            raise UnitsError(f"{plane.where}: {name} {text!r} counts {named}, not {given or 'H'}; {hint.format(named)}")
    if given is None:
        reason = "no species is named: taken to count hydrogen nuclei; column_species='H2' for molecules"
        options.log.add(f"{plane.where}: species", "H", reason, announce=True)
        return "H"
    options.log.add(f"{plane.where}: species", given, "column_species=")
    return given


def _counts(unit: str) -> bool:
    """Return True unless a unit is one of another quantity, in which H is not a species."""
    try:
        cleaned = units.clean_unit(unit)
    except UnitsError:
        return False
    linear = getattr(cleaned, "physical_unit", cleaned)
    return isinstance(linear, u.UnitBase) and linear.is_equivalent(units.COLUMN_UNIT)


def _described_species(text: str, *, loose: bool = False) -> str | None:
    """Return the species in a description of a column density: N(H2), H2 column density; any mention if `loose`."""
    if not text:
        return None
    if loose or re.search(r"column|\bN\s?[_(]", text, re.IGNORECASE):
        compact = re.sub(r"\bN[_ ]?(H_?2|HI|H|NH_?3|N2H\+|13CO|C18O|CO)\b", r"N(\1)", text)
        if re.search(r"\bNH2\b", text):
            return "H2"
        return units.species_words(compact)
    return None


def _kinematics(planes: Mapping[str, Plane], target: Plane, options: IntakeOptions) -> tuple[u.Quantity, u.Quantity]:
    """Return velocity and dispersion on the grid of `target`."""
    velocity, dispersion, log = planes["velocity"], planes["dispersion"], options.log
    described = dispersion.text("BUNIT", *_DESCRIPTIONS, *_FREE_TEXT)
    described += f" {re.sub('[_.-]', ' ', dispersion.where.rpartition('/')[2])}"
    kind = options.dispersion_is
    for pattern, named in ((_FWHM, "fwhm"), (_VARIANCE, "variance")):
        if (found := pattern.search(described)) and kind != named:
            raise UnitsError(
                f"{dispersion.where}: the header or name describes a {named.upper()} ({found[0]!r}), not "
                f"{kind or 'a standard deviation'}; use dispersion_is={named!r}"
            )
    reason = (
        "dispersion_is=" if kind else "nothing names another width: taken as standard deviation; see dispersion_is="
    )
    log.add(f"{dispersion.where}: width", kind or "sigma", reason, announce=kind is None)
    unit = {
        role: _velocity_unit(plane, role, stated, log)
        for role, plane, stated in (
            ("velocity", velocity, options.velocity_unit),
            ("dispersion", dispersion, options.dispersion_unit),
        )
    }
    speed = units.velocity(velocity.values, unit["velocity"], where=velocity.where)
    sigma = units.dispersion(dispersion.values, unit["dispersion"], kind or "sigma", where=dispersion.where)
    for key in ("SPECSYS", "VELREF"):
        if key in velocity.header:
            log.add(f"{velocity.where}: velocity frame", velocity.header[key], f"{key}; any zero point serves")
    return kinematics_on_grid(
        target, replace(velocity, values=speed.value), replace(dispersion, values=sigma.value), log=log
    )


def _velocity_unit(plane: Plane, role: str, stated: str | u.UnitBase | None, log: DecisionLog) -> str | u.UnitBase:
    """Return the unit of a velocity map: that of the caller, or BUNIT."""
    stored = plane.text("BUNIT")
    if stated is not None:
        log.add(f"{plane.where}: unit", stated, f"{role}_unit=, in place of BUNIT {stored!r}")
        return stated
    if not stored:
        raise UnitsError(
            f"{plane.where}: BUNIT is missing; give the unit of the values, for instance {role}_unit='km/s'"
        )
    log.add(f"{plane.where}: unit", stored, "BUNIT")
    return stored


def header_distance(
    headers: Iterable[tuple[str, fits.Header]], options: IntakeOptions
) -> tuple[u.Quantity | None, u.Quantity | None]:
    """Return the distance and its error, those of the caller or of the headers.

    Raises
    ------
    UnitsError
        If a DISTANCE is not a length, is implausible, or differs between headers.
    """
    log = options.log
    if options.distance is not None:
        distance, error = units.parse_distance(options.distance)
        log.add("distance", f"{distance:.6g}", f"distance={options.distance!s}")
        if error is not None:
            log.add("distance error", f"{error:.4g}", f"distance={options.distance!s}; not propagated to masses")
        return distance, error
    found: list[tuple[str, u.Quantity, u.Quantity | None, str]] = []
    for name, header in headers:
        if (stored := _stored_distance(header, name)) is not None:
            found.append((name, *stored))
    if not found:
        log.add("distance", "unknown", "no DISTANCE in the headers; see distance=")
        return None, None
    name, distance, error, reason = found[0]
    for other, value, *_ in found[1:]:
        if abs(value / distance - 1) > 1e-3:
            raise UnitsError(
                f"{name}: DISTANCE is {distance:.6g}, but {value:.6g} in {other}; give the right one: "
                f"distance='{distance.value:g} pc'"
            )
    log.add("distance", f"{distance:.6g}", f"{reason} of {Path(name).name}")
    if error is not None:
        log.add("distance error", f"{error:.4g}", f"DISTANCE of {Path(name).name}; not propagated to masses")
    return distance, error


def _stored_distance(header: fits.Header, where: str) -> tuple[u.Quantity, u.Quantity | None, str] | None:
    """Return DISTANCE of a header in pc, its error and origin; None if missing or 0, which CASA writes for unknown."""
    if "DISTANCE" not in header:
        return None
    value, comment = header["DISTANCE"], header.comments["DISTANCE"]
    remedy = "give it, for instance distance='140 pc'"
    if isinstance(value, fits.card.Undefined) or value == "" or (value == 0 and not isinstance(value, bool)):
        return None
    if isinstance(value, str) and not re.fullmatch(r"\s*[+-]?[\d.]+([eE][+-]?\d+)?\s*", value):
        try:
            return *units.parse_distance(value, what=f"{where}: DISTANCE"), f"DISTANCE {value!r}"
        except UnitsError as error:
            raise UnitsError(f"{error}; {remedy}") from error
    if isinstance(value, bool) or not isinstance(value, str | float | int | np.number):
        raise UnitsError(f"{where}: DISTANCE is {value!r}; expected a number; {remedy}")
    number, unit = float(value), _comment_unit(comment)
    if unit is None:
        unit, reason = u.pc, f"DISTANCE {number:g} without a unit, taken in pc"
    else:
        reason = f"DISTANCE {number:g} [{unit}]"
    distance = (number * unit).to(u.pc)
    low, high = PLAUSIBLE_DISTANCE
    if not low <= distance.value <= high:
        raise UnitsError(
            f"{where}: DISTANCE {number:g} {comment!r} would be {distance.value:.4g} pc, not the distance of a "
            f"resolved cloud; {remedy}"
        )
    return distance, None, reason


def _comment_unit(comment: str) -> u.UnitBase | None:
    """Return the unit of length in the comment of a card, in brackets or as a word; None without one."""
    bracket = re.search(r"[\[(]([^\])]+)[\])]", comment)
    word = re.search(
        r"\b(k?pc|Mpc|kiloparsecs?|megaparsecs?|parsecs?|ly|lyr|light[ -]?years?|AU|m|cm|km)\b", comment, re.IGNORECASE
    )
    names = {"kiloparsec": "kpc", "megaparsec": "Mpc", "parsec": "pc", "mpc": "Mpc", "kpc": "kpc", "pc": "pc"}
    for text in filter(None, (bracket and bracket[1], word and word[1])):
        plain = re.sub(r"light[ -]?years?|\bly\b", "lyr", text.strip(), flags=re.IGNORECASE)
        plain = names.get(plain.lower().rstrip("s"), plain)
        try:
            unit = u.Unit(plain)
        except (ValueError, TypeError):
            continue
        if unit.is_equivalent(u.pc):
            return unit
    return None
