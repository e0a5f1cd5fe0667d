"""What a user may say about a simulation output, with the units taken off, and what follows for every snapshot."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units as u

import stellarfm
from stellarfm.exceptions import ReaderError, UnitsError
from stellarfm.maps.units import MASS_PER_HYDROGEN
from stellarfm.readers.common.run_identity import file_hashes, run_name, snapshot_number

__all__ = ["Choices", "in_cgs"]


def in_cgs(text: str, option: str, unit: u.UnitBase) -> float:
    """The number, in cgs, of a quantity such as ``"1 pc"``.

    Raises
    ------
    UnitsError
        If it is not a positive number with a unit of the kind of `unit`.
    """
    try:
        value = u.Quantity(text).to(unit).cgs.value
    except (TypeError, ValueError, u.UnitConversionError) as error:
        raise UnitsError(f"{option} {text!r}; expected a quantity such as '1 {unit}'") from error
    if not (np.ndim(value) == 0 and np.isfinite(value) and value > 0):
        raise UnitsError(f"{option} {text!r}; expected one positive quantity such as '1 {unit}'")
    return float(value)


@dataclass(frozen=True)
class Choices:
    """Options of the reader; see `stellarfm.readers.simulation_outputs.YTReader`.

    Attributes
    ----------
    units : dict of str to float
        Code units of ``length``, ``mass``, ``velocity`` in cgs, as far as the user gave them.
    sound_speed : float or None
        Isothermal speed of sound, km/s.
    """

    label_kind: str | None = None
    mass_per_hydrogen: float = MASS_PER_HYDROGEN
    units: dict[str, float] = field(default_factory=dict)
    particle_type: str | None = None
    gamma: float = 5 / 3
    sound_speed: float | None = None
    periodic: bool | None = None
    simulation: str | None = None

    def periodicity(self, said: Iterable[Any]) -> tuple[bool, bool, bool]:
        """Periodic axes: as the user says, else as the file does."""
        first, second, third = (bool(axis) if self.periodic is None else self.periodic for axis in said)
        return first, second, third

    def identity(self, output: Path, files: Iterable[Path], *, code: str) -> dict[str, Any]:
        """What every snapshot of the output says of itself, by the names of `Snapshot`.

        Parameters
        ----------
        output : Path
            The file or directory that is one output of the run.
        files : iterable of Path
            All files of it.
        code : str
            Which code wrote it, as far as known.
        """
        made = {"code": code, "reader": "yt", "version": stellarfm.__version__, "output": output.name}
        return {
            "mass_per_hydrogen": self.mass_per_hydrogen,
            "simulation": self.simulation or run_name(output),
            "snapshot": snapshot_number(output),
            "provenance": {**made, **file_hashes(files)},
        }

    def yt_units(self) -> dict[str, tuple[float, str]]:
        """Units in the form that `yt.load` takes as ``units_override``.

        Raises
        ------
        ReaderError
            If only some of the three are given.
        """
        if not self.units:
            return {}
        if missing := [name for name in ("length", "mass", "velocity") if name not in self.units]:
            raise ReaderError(f"unit_{missing[0]} is missing; give all of unit_length, unit_mass, unit_velocity")
        time = self.units["length"] / self.units["velocity"]
        return {
            "length_unit": (self.units["length"], "cm"),
            "mass_unit": (self.units["mass"], "g"),
            "time_unit": (time, "s"),
            "velocity_unit": (self.units["velocity"], "cm/s"),
        }
