"""Units as observers write them: parsing of BUNIT, and conversions that the caller requests.

A header's ``H2 cm-2`` counts molecules; astropy alone would read henry squared. Nothing here guesses: a unit that
does not fit is an error whose message contains the remedy.
"""

from __future__ import annotations

import re
import warnings
from typing import Any

import numpy as np
from astropy import units as u

from stellarfm.exceptions import UnitsError

__all__ = [
    "COLUMN_UNIT",
    "MAP_UNITS",
    "MASS_PER_HYDROGEN",
    "VELOCITY_UNIT",
    "check_plausible",
    "clean_unit",
    "column_density",
    "column_factor",
    "hydrogen_column",
    "named_species",
    "parse_distance",
    "parse_length",
    "parse_quantity",
    "require_unit",
    "species_words",
    "velocity",
    "velocity_scale",
]

COLUMN_UNIT = u.cm**-2
VELOCITY_UNIT = u.km / u.s

#: The three maps, in channel order, and their units in memory.
MAP_UNITS = {"column_density": COLUMN_UNIT, "velocity": VELOCITY_UNIT, "velocity_dispersion": VELOCITY_UNIT}

#: Gas mass per hydrogen nucleus, in hydrogen masses (one helium in ten).
MASS_PER_HYDROGEN = 1.4

#: Range of plausible medians of a hydrogen column density, cm-2: log10 values lie below, values in m-2 above.
PLAUSIBLE_COLUMN = (1e15, 1e27)

_SPECIES = re.compile(
    r"(?<![A-Za-z0-9])(?:N[\s_]?\(?)?(H_?2|H\s?I|HI|H|NH_?3|N2H\+|13CO|C18O|CO)(?![A-Za-z0-9(])\)?|\((H_?2|HI|H)\)"
)
_WORDS = re.compile(r"\b(atoms?|molecules?|nuclei|particles?|column density)\b", re.IGNORECASE)
_LOG = re.compile(r"^\[?\s*(?:dex|log10|log)\b[\s(\[]*(.*?)[\s)\]]*$", re.IGNORECASE)


def named_species(text: str) -> str | None:
    """Return the species in a unit string: ``"H2"`` for ``"H2 cm-2"``, ``"H"`` for ``"HI cm-2"``; None without one."""
    found = _SPECIES.search(text)
    if not found:
        return None
    name = re.sub(r"[\s_]", "", found.group(1) or found.group(2))
    return "H" if name == "HI" else name


def clean_unit(text: str | u.UnitBase) -> u.UnitBase:
    """Parse a BUNIT: counted species are dropped, logarithms become ``dex``, and H is never henry.

    Parameters
    ----------
    text : str or Unit
        For instance ``"H2 cm-2"``, ``"cm^-2"``, ``"1E22 cm-2"``, ``"log10(cm-2)"``, ``"dex(cm-2)"``, ``"KM/S"``.

    Returns
    -------
    Unit
        Linear unit, or ``dex`` of it.

    Raises
    ------
    UnitsError
        If the text is empty or not a unit.

    Examples
    --------
    >>> str(clean_unit("H2 cm-2")), str(clean_unit("log10(cm-2)"))
    ('1 / cm2', 'dex(1 / cm2)')
    """
    if not isinstance(text, str):
        return u.Unit(text)
    logarithm = _LOG.match(text.strip())
    unit = _parse(logarithm.group(1) if logarithm else text, text)
    return u.dex(unit) if logarithm else unit


#: Upper-case spelling of a unit -> that of astropy (AIPS and CASA write units in upper case).
_SHOUTED = {"JY": "Jy", "MJY": "MJy", "KJY": "kJy", "BEAM": "beam", "SR": "sr", "KM": "km", "K": "K", "PIXEL": "pix"}

#: Spelling of a velocity unit without blanks and case -> unit.
_VELOCITY_SPELLINGS = re.compile(
    r"(?P<length>k?m|cm|kilomet(?:er|re)s?|met(?:er|re)s?)(?:/|per|\.|\*)?"
    r"(?:(?P<over>(?<=[/r])(?:s|sec|secs|second|seconds))|(?:s|sec)(?:\^|\*\*)?\(?\{?-1\}?\)?)"
)


def _velocity_spelling(text: str) -> u.UnitBase | None:
    """Return the unit of a common spelling of a velocity, such as km/sec, Km/s or kms-1; None for others."""
    match = _VELOCITY_SPELLINGS.fullmatch(re.sub(r"[\s\[\]]", "", text).lower())
    if not match:
        return None
    name = match["length"]
    length = u.km if name.startswith("k") else u.cm if name == "cm" else u.m
    return length / u.s


def _parse(text: str, original: str) -> u.UnitBase:
    """Parse one linear unit, in upper or lower case (AIPS writes units in upper case)."""
    if (speed := _velocity_spelling(text)) is not None:
        return speed
    bare = _WORDS.sub("", _SPECIES.sub("", text)).translate(str.maketrans("", "", "[]{}")).strip(" .*")
    bare = f"1{bare}" if bare.startswith("/") else bare
    shouted = re.sub(r"[A-Z]+", lambda word: _SHOUTED.get(word[0], word[0].lower()), bare)
    for candidate in (bare, shouted) if bare.isupper() else (bare,):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", u.UnitsWarning)
                unit = u.Unit(candidate)
        except (ValueError, TypeError):
            continue
        if candidate and not unit.is_equivalent(u.H):
            return unit
    raise UnitsError(f"{original!r} is not a unit; expected something like 'cm-2', 'dex(cm-2)' or 'km s-1'")


def species_words(text: str) -> str | None:
    """Return the species that a description names: that of `named_species`, or ``"molecules"``; None without one.

    Examples
    --------
    >>> species_words("H_2 Column Density"), species_words("molecules cm-2"), species_words("total column")
    ('H2', 'molecules', None)
    """
    if species := named_species(text):
        return species
    if re.search(r"\bmolecular hydrogen\b", text, re.IGNORECASE):
        return "H2"
    if re.search(r"\b(molecules?|particles?)\b", text, re.IGNORECASE):
        return "molecules"
    return None


def parse_quantity(text: str, what: str, example: str) -> u.Quantity:
    """Parse a number with a unit, also with ``K km/s`` or ``Jy/beam km/s`` in brackets; raises `UnitsError`."""
    plain = re.sub(r"km\s*/\s*s(ec)?\b", "km s-1", str(text))
    plain = re.sub(r"Jy\s*/\s*beam\b", "Jy beam-1", plain, flags=re.IGNORECASE)
    try:
        return u.Quantity(plain)
    except (TypeError, ValueError) as error:
        raise UnitsError(f"{what} {text!r} is not a number with a unit; expected something like {example}") from error


def column_factor(text: str | u.Quantity, unit: u.UnitBase, *, where: str) -> u.Quantity:
    """Return the column density per unit of a map, for instance ``"9.4e20 cm-2 / mag"``; raises `UnitsError`."""
    example = factor_example(unit)
    factor = parse_quantity(text, "column_per_intensity", example) if isinstance(text, str) else u.Quantity(text)
    if not (factor * unit).unit.is_equivalent(COLUMN_UNIT):
        raise UnitsError(
            f"{where}: column_per_intensity {str(text)!r} times {unit} is not a column density; expected something "
            f"like {example}"
        )
    return factor


def factor_example(unit: u.UnitBase) -> str:
    """Return an example of a factor for a unit, in quotation marks, in a spelling that `column_factor` accepts."""
    name = unit.to_string("fits").replace("km s-1", "km/s") if unit != u.mag else "mag"
    if unit == u.mag:
        return '"9.4e20 cm-2 / mag"'
    if unit.is_equivalent(u.g / u.cm**2):
        nuclei = (1 / (MASS_PER_HYDROGEN * 1.6735328e-24 * u.g)).to_value(1 / (unit * u.cm**2))
        return f'"{nuclei:.4g} cm-2 / ({name})"'
    return f'"2e20 cm-2 / ({name})"'


def column_density(
    values: np.ndarray, unit: str | u.UnitBase, *, where: str, per_unit: str | u.Quantity | None = None
) -> u.Quantity:
    """Convert the values of a column density map to a Quantity in cm-2; ``dex`` units become linear.

    Parameters
    ----------
    values : ndarray
        Numbers as stored.
    unit : str or Unit
        Unit of `values`: equivalent to cm-2, or ``dex`` of such a unit.
    where : str
        File (and extension) for the error message.
    per_unit : str or Quantity, optional
        Column density per unit of a map of another quantity, such as ``"9.4e20 cm-2 / mag"``.

    Raises
    ------
    UnitsError
        If the unit is not that of a column density, and there is no factor; or a factor is given for a column density.
    """
    cleaned = clean_unit(unit)
    linear = (
        getattr(cleaned, "physical_unit", cleaned) if isinstance(cleaned, u.function.logarithmic.DexUnit) else cleaned
    )
    is_column = linear.is_equivalent(COLUMN_UNIT)
    if not is_column and per_unit is None:
        raise UnitsError(
            f"{where}: unit {str(unit)!r} is {_describe_unit(linear)}, not a column density; {_remedy(linear)}"
        )
    if is_column and per_unit is not None:
        raise UnitsError(
            f"{where}: column_per_intensity={str(per_unit)!r} was given for a map in {linear}; leave it out"
        )
    if linear is not cleaned:
        finite = np.asarray(values)[np.isfinite(values)]
        if finite.size and np.median(finite) > LARGEST_LOGARITHM:
            raise UnitsError(
                f"{where}: the median is {np.median(finite):.3g}, not a logarithm of a column density; for linear "
                "values use column_unit='cm-2'"
            )
        with np.errstate(over="ignore"):
            values = np.power(10.0, values)
    factor = column_factor(per_unit, linear, where=where) if per_unit is not None else u.Quantity(1)
    return (u.Quantity(values, linear) * factor).to(COLUMN_UNIT)


#: Largest plausible log10 of a column density in any unit.
LARGEST_LOGARITHM = 60


def _describe_unit(unit: u.UnitBase) -> str:
    """Describe the quantity that a unit measures."""
    if unit.is_equivalent(u.K * u.km / u.s) or unit.is_equivalent(u.Jy * u.km / u.s):
        return "an integrated intensity"
    if unit.is_equivalent(u.Jy / u.beam * u.km / u.s):
        return "an integrated intensity"
    if unit == u.mag:
        return "an extinction"
    if unit.is_equivalent(u.g / u.cm**2):
        return "a surface density"
    if unit.is_equivalent(u.Jy / u.sr):
        return "a brightness"
    return "something else"


def _remedy(unit: u.UnitBase) -> str:
    """Explain how to get from a wrong unit to a column density."""
    if unit.is_equivalent(u.Jy / u.sr):
        return "if the header is wrong and the values are N(H2), use column_unit='cm-2' and column_species='H2'"
    if _describe_unit(unit) == "something else":
        return "expected a map in cm-2; see column_unit= and column_species="
    return f"give a factor that you can justify, for instance column_per_intensity={factor_example(unit)}"


def hydrogen_column(column: u.Quantity, *, species: str = "H", abundance: float | None = None) -> u.Quantity:
    """Convert the column density of a species to that of hydrogen nuclei.

    N_H is 2 N(H2), and N(H2) of a trace species X is N(X) / abundance.

    Parameters
    ----------
    column : Quantity
        Column density of `species`, equivalent to cm-2.
    species : str
        ``"H"`` (nuclei), ``"H2"``, or any other name.
    abundance : float, optional
        N(X) / N(H2) of any other species.

    Returns
    -------
    Quantity
        Column density of hydrogen nuclei, unit of `column`.

    Raises
    ------
    UnitsError
        If an abundance is missing, out of (0, 1], or given for hydrogen itself.
    """
    if species in ("H", "H2"):
        if abundance is not None:
            raise UnitsError(f"abundance={abundance} was given for {species}; it applies to other species only")
        return column * (2 if species == "H2" else 1)
    if abundance is None:
        raise UnitsError(
            f"a column density of {species} needs the abundance N({species})/N(H2), for instance abundance=1e-8"
        )
    if not 0 < abundance <= 1:
        raise UnitsError(f"abundance {abundance} of {species}; expected N({species})/N(H2) between 0 and 1")
    return column * (2 / abundance)


def check_plausible(column: u.Quantity, *, where: str) -> None:
    """Raise `UnitsError` if the median of a map is not a plausible hydrogen column density in cm-2; empty maps pass."""
    finite = column.value[np.isfinite(column.value)]
    if not finite.size:
        return
    median = float(np.median(finite))
    low, high = PLAUSIBLE_COLUMN
    if not low <= median <= high:
        raise UnitsError(
            f"{where}: the median hydrogen column density would be {median:.3g} cm-2, "
            f"expected {low:g} to {high:g}; "
            "for log10 values use column_unit='dex(cm-2)', for another species use column_species="
        )


#: Range of plausible medians of a velocity dispersion, km/s.
PLAUSIBLE_DISPERSION = (0.005, 50.0)

#: Range of plausible spreads of the velocities of one field (half of the middle 68 %), km/s.
PLAUSIBLE_SPREAD = (1e-3, 100.0)

#: Meaning of a width map -> factor to a standard deviation; a variance is its square.
WIDTHS = {"sigma": 1.0, "fwhm": 1 / (2 * np.sqrt(2 * np.log(2))), "variance": 1.0}


def velocity(values: np.ndarray, unit: str | u.UnitBase, *, where: str) -> u.Quantity:
    """Convert the values of a velocity or dispersion map to a Quantity in km/s; raise `UnitsError` for variances."""
    cleaned = _velocity_unit(unit, where)
    if cleaned.is_equivalent(VELOCITY_UNIT**2):
        raise UnitsError(
            f"{where}: unit {str(unit)!r} is a variance; expected a standard deviation in km/s; "
            "use dispersion_is='variance' for its square root"
        )
    if not cleaned.is_equivalent(VELOCITY_UNIT):
        raise UnitsError(f"{where}: unit {str(unit)!r} is not a velocity; expected 'km s-1' or 'm s-1'")
    return u.Quantity(values, cleaned).to(VELOCITY_UNIT)


def _velocity_unit(unit: str | u.UnitBase, where: str) -> u.UnitBase:
    """Return a linear unit; logarithms of velocities are refused."""
    try:
        cleaned = clean_unit(unit)
    except UnitsError as error:
        raise UnitsError(f"{where}: {error}; give velocity_unit or dispersion_unit") from error
    if isinstance(cleaned, u.function.FunctionUnitBase):
        raise UnitsError(
            f"{where}: unit {str(unit)!r} is a logarithm; expected velocities in km/s, not their logarithms"
        )
    return cleaned


def dispersion(values: np.ndarray, unit: str | u.UnitBase, kind: str, *, where: str) -> u.Quantity:
    """Convert a map of line widths to standard deviations in km/s.

    Parameters
    ----------
    values : ndarray
        Numbers as stored.
    unit : str or Unit
        Their unit: a velocity, or its square for a variance.
    kind : {"sigma", "fwhm", "variance"}
        Meaning of the widths.
    where : str
        File (and extension), for messages.
    """
    if kind != "variance":
        return velocity(values, unit, where=where) * WIDTHS[kind]
    cleaned = _velocity_unit(unit, where)
    if not cleaned.is_equivalent(VELOCITY_UNIT**2):
        raise UnitsError(
            f"{where}: unit {str(unit)!r} is not that of a variance; expected 'km2 s-2': give dispersion_unit"
        )
    with np.errstate(invalid="ignore"):
        return np.sqrt(u.Quantity(values, cleaned)).to(VELOCITY_UNIT)


def velocity_scale(speed: np.ndarray, sigma: np.ndarray, *, where: tuple[str, str]) -> None:
    """Raise `UnitsError` if velocities or dispersions in km/s are not those of a cloud; constant maps pass."""
    widths = sigma[np.isfinite(sigma) & (sigma > 0)]
    low, high = PLAUSIBLE_DISPERSION
    if widths.size and not low <= np.median(widths) <= high:
        raise UnitsError(
            f"{where[1]}: the median velocity dispersion would be {np.median(widths):.3g} km/s, expected {low:g} to "
            f"{high:g}; if the unit in the header is wrong, give dispersion_unit, for instance dispersion_unit='m/s'"
        )
    valid = speed[np.isfinite(speed)]
    if not valid.size:
        return
    lower, upper = np.percentile(valid, [16, 84])
    spread, (low, high) = (upper - lower) / 2, PLAUSIBLE_SPREAD
    if valid.max() - valid.min() > 0 and not (low <= spread <= high or spread == 0):
        raise UnitsError(
            f"{where[0]}: the velocities would spread by {spread:.3g} km/s, expected {low:g} to {high:g}; if the unit "
            "in the header is wrong, give velocity_unit, for instance velocity_unit='m/s'"
        )


def require_unit(value: Any, unit: u.UnitBase, name: str) -> u.Quantity:
    """Convert `value` to `unit`; raise `UnitsError` for numbers without a unit. `name` is for the message."""
    if not isinstance(value, u.Quantity):
        raise UnitsError(f"{name} has no unit; expected a Quantity in {unit.to_string()}")
    if not value.unit.is_equivalent(unit):
        raise UnitsError(f"{name} is in {value.unit.to_string()}; expected something like {unit.to_string()}")
    return value.to(unit, copy=False)


def parse_length(value: u.Quantity | str, *, what: str) -> u.Quantity:
    """Convert a Quantity or a string such as ``"140 pc"`` to a positive length in pc.

    Parameters
    ----------
    value : Quantity or str
        Length with a unit.
    what : str
        Name of the argument, for the message.

    Raises
    ------
    UnitsError
        If `value` has no unit, has not a unit of length, or is not positive.

    Examples
    --------
    >>> print(parse_length("0.14 kpc", what="distance"))
    140.0 pc
    """
    try:
        length = u.Quantity(_light_years(value)).to(u.pc)
    except (TypeError, ValueError) as error:
        raise UnitsError(
            f"{what} {value!r} is not a length; expected a number with a unit, such as '140 pc'"
        ) from error
    if not (length.isscalar and np.isfinite(length) and length > 0):
        raise UnitsError(f"{what} {value!s}; expected one positive length, such as '140 pc'")
    return length


def _light_years(value: Any) -> Any:
    """Replace names of units of length that astropy does not know, in text."""
    if not isinstance(value, str):
        return value
    text = re.sub(r"\b(light[\s-]?years?|ly|ltyr)\b", "lyr", value, flags=re.IGNORECASE)
    text = re.sub(r"\bkilo-?parsecs?\b|\bKPC\b", "kpc", text, flags=re.IGNORECASE)
    return re.sub(r"\bparsecs?\b|\bPC\b", "pc", text)


def parse_distance(value: u.Quantity | str, *, what: str = "distance") -> tuple[u.Quantity, u.Quantity | None]:
    """Convert a distance, with or without a standard error, to pc.

    Parameters
    ----------
    value : Quantity or str
        Distance such as ``"140 pc"``, ``"0.14 kpc"``, ``"140 +/- 7 pc"``, ``"460 light years"``.
    what : str
        Name of the argument, for the message.

    Returns
    -------
    distance, error : Quantity, Quantity or None
        In pc.

    Raises
    ------
    UnitsError
        If it is not a positive length with a unit.

    Examples
    --------
    >>> print(*parse_distance("140 +/- 7 pc"))
    140.0 pc 7.0 pc
    """
    if not isinstance(value, str):
        return parse_length(value, what=what), None
    number = r"[+-]?\d*\.?\d+(?:[eE][+-]?\d+)?"
    sign = r"\s*(?:\+\s*/?\s*-|\u00b1|\\pm)\s*"
    match = re.fullmatch(
        rf"\(?\s*({number})\s*([A-Za-z\s-]*?){sign}({number})\s*\)?\s*([A-Za-z][A-Za-z\s-]*)", value.strip()
    )
    if not match:
        return parse_length(value, what=what), None
    unit = match[4]
    distance, error = (parse_length(f"{part} {unit}", what=what) for part in (f"{match[1]}", match[3]))
    if match[2].strip():
        distance = parse_length(f"{match[1]} {match[2].strip()}", what=what)
    return distance, error
