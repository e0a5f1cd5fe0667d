"""Quality flags of a mass: one enumeration is the constants, the decoder and the documentation."""

from __future__ import annotations

from enum import IntFlag

__all__ = ["MassFlag", "decode_flags", "flag_table"]


class MassFlag(IntFlag):
    """Bits of the column ``flags`` of a table of masses; 0 is a mass without reservation.

    Each member carries its `description`; `flag_table` prints them all.
    """

    description: str

    def __new__(cls, value: int, description: str = "") -> MassFlag:
        """A member of `value` that knows its description."""
        member = int.__new__(cls, value)
        member._value_ = value
        member.description = description
        return member

    OUTSIDE_FIELD = 1, "The star lies outside the maps, or no pixel of its window is usable: no mass."
    LOW_COVERAGE = 2, "Fewer pixels of the window are usable than the least coverage asked for."
    CENTRE_MISSING = 4, "Fewer than half of the pixels around the star (a quarter of the window's side) are usable."
    OUT_OF_DISTRIBUTION = 8, "The window is farther from the reference set than 99 % of the reference stars are."
    OUTSIDE_MASS_RANGE = 16, "Fewer than five reference stars are heavier, or lighter: little is known here."
    UNBOUNDED_INTERVAL = 32, "Too few reference stars for one of the levels; that interval is (0, infinity)."
    IN_REFERENCE = 64, "This star of this simulation is in the reference set: the estimate is not independent."
    TOO_FEW_PIXELS = 128, "Fewer than a tenth of the pixels of the window are usable: no mass."
    UNUSUAL_LEVEL = 256, "The column density is unlike that of reference windows of similar kinematics and profiles."
    UNUSUAL_SCALE = (
        512,
        "Structure at one pixel is unlike that of the reference set: another beam, pixel size or noise.",
    )
    UNUSUAL_STRUCTURE = 1024, "Gradients and curvatures of the maps are unlike those of the reference set."
    UNUSUAL_KINEMATICS = 2048, "Velocity dispersion or velocity scatter are unlike those of similar reference windows."


def decode_flags(value: int) -> list[str]:
    """Names of the bits that are set in `value`, lowest first.

    Examples
    --------
    >>> decode_flags(10)
    ['LOW_COVERAGE', 'OUT_OF_DISTRIBUTION']
    """
    return [flag.name for flag in MassFlag if flag & int(value) and flag.name]


def flag_table() -> str:
    """All flags as a reStructuredText list table, for the documentation."""
    rows = [f"   * - {flag.value}\n     - {flag.name}\n     - {flag.description}" for flag in MassFlag]
    head = ".. list-table::\n   :header-rows: 1\n\n   * - bit\n     - name\n     - meaning"
    return "\n".join([head, *rows]) + "\n"
