"""Quality flags of a mass: constants, decoder and documentation in one enumeration."""

from __future__ import annotations

from enum import IntFlag

__all__ = ["MassFlag", "decode_flags", "flag_table"]


class MassFlag(IntFlag):
    """Bits of the column ``flags`` of a table of masses; 0 means no reservation.

    Each member has a `description`.

    Examples
    --------
    >>> MassFlag.IN_REFERENCE.value
    64
    >>> bool(10 & MassFlag.OUT_OF_DISTRIBUTION)
    True
    """

    description: str

    def __new__(cls, value: int, description: str = "") -> MassFlag:
        """Return a member of this value and description."""
        member = int.__new__(cls, value)
        member._value_ = value
        member.description = description
        return member

    OUTSIDE_FIELD = 1, "The star lies outside the maps, or no pixel of its window is usable: no mass."
    LOW_COVERAGE = 2, "A smaller fraction of the window is usable than `min_coverage`."
    CENTRE_MISSING = 4, "Fewer than half of the pixels around the star (a quarter of the window's side) are usable."
    OUT_OF_DISTRIBUTION = 8, "The window is unlike the reference set: at least one of the bits UNUSUAL_* is set."
    OUTSIDE_MASS_RANGE = (
        16,
        "Fewer than five reference stars are heavier, or lighter: masses here are poorly constrained.",
    )
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
    """Return the names of the bits that are set in `value`, lowest first.

    Examples
    --------
    >>> decode_flags(10)
    ['LOW_COVERAGE', 'OUT_OF_DISTRIBUTION']
    """
    return [flag.name for flag in MassFlag if flag & int(value) and flag.name]


def flag_table() -> str:
    """Return all flags as a reStructuredText list table, for the documentation."""
    rows = [f"   * - {flag.value}\n     - {flag.name}\n     - {flag.description}" for flag in MassFlag]
    head = ".. list-table::\n   :header-rows: 1\n\n   * - bit\n     - name\n     - meaning"
    return "\n".join([head, *rows]) + "\n"
