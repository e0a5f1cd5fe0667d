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
    "hydrogen_column",
    "named_species",
    "parse_length",
    "require_unit",
    "velocity",
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


def _parse(text: str, original: str) -> u.UnitBase:
    """Parse one linear unit, in upper or lower case (AIPS writes units in upper case)."""
    bare = _WORDS.sub("", _SPECIES.sub("", text)).translate(str.maketrans("", "", "[]{}")).strip(" .*")
    bare = f"1{bare}" if bare.startswith("/") else bare
    for candidate in (bare, bare.lower()) if bare.isupper() else (bare,):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", u.UnitsWarning)
                unit = u.Unit(candidate)
        except (ValueError, TypeError):
            continue
        if candidate and not unit.is_equivalent(u.H):
            return unit
    raise UnitsError(f"{original!r} is not a unit; expected something like 'cm-2', 'dex(cm-2)' or 'km s-1'")


def column_density(values: np.ndarray, unit: str | u.UnitBase, *, where: str) -> u.Quantity:
    """Convert the values of a column density map to a Quantity in cm-2; ``dex`` units become linear.

    Parameters
    ----------
    values : ndarray
        Numbers as stored.
    unit : str or Unit
        Unit of `values`: equivalent to cm-2, or ``dex`` of such a unit.
    where : str
        File (and extension) for the error message.

    Raises
    ------
    UnitsError
        If the unit is not that of a column density.
    """
    cleaned = clean_unit(unit)
    linear = getattr(cleaned, "physical_unit", cleaned)
    if not linear.is_equivalent(COLUMN_UNIT):
        raise UnitsError(
            f"{where}: unit {str(unit)!r} is {_describe_unit(linear)}, not a column density; {_remedy(linear)}"
        )
    if linear is not cleaned:
        with np.errstate(over="ignore"):
            values = np.power(10.0, values)
    return u.Quantity(values, linear).to(COLUMN_UNIT)


def _describe_unit(unit: u.UnitBase) -> str:
    """Describe the quantity that a unit measures."""
    if unit.is_equivalent(u.K * u.km / u.s) or unit.is_equivalent(u.Jy * u.km / u.s):
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
    return "convert it by a factor of your choice to a map in cm-2; see column_unit= and column_species="


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


def velocity(values: np.ndarray, unit: str | u.UnitBase, *, where: str) -> u.Quantity:
    """Convert the values of a velocity or dispersion map to a Quantity in km/s; raise `UnitsError` for variances."""
    cleaned = clean_unit(unit)
    if cleaned.is_equivalent(VELOCITY_UNIT**2):
        raise UnitsError(f"{where}: unit {str(unit)!r} is a variance; expected a standard deviation in km/s")
    if not cleaned.is_equivalent(VELOCITY_UNIT):
        raise UnitsError(f"{where}: unit {str(unit)!r} is not a velocity; expected 'km s-1' or 'm s-1'")
    return u.Quantity(values, cleaned).to(VELOCITY_UNIT)


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
        length = u.Quantity(value).to(u.pc)
    except (TypeError, ValueError) as error:
        raise UnitsError(
            f"{what} {value!r} is not a length; expected a number with a unit, such as '140 pc'"
        ) from error
    if not (length.isscalar and np.isfinite(length) and length > 0):
        raise UnitsError(f"{what} {value!s}; expected one positive length, such as '140 pc'")
    return length
