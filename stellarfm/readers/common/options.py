"""Reader options in cgs units, and the metadata common to all snapshots of an output."""

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

__all__ = ["OutputOptions", "parse_cgs"]


def parse_cgs(text: str, option: str, unit: u.UnitBase) -> float:
    """Return the number, in cgs, of a positive quantity such as ``"1 pc"``.

    Parameters
    ----------
    text : str
        Quantity as given by the user.
    option : str
        Name of the option, for messages.
    unit : Unit
        Any unit of the expected physical type.

    Returns
    -------
    float
        Value in cgs.

    Raises
    ------
    UnitsError
        If `text` is not a positive number with a unit equivalent to `unit`.
    """
    try:
        value = u.Quantity(text).to(unit).cgs.value
    except (TypeError, ValueError, u.UnitConversionError) as error:
        raise UnitsError(f"{option} {text!r}; expected a quantity such as '1 {unit}'") from error
    if not (np.ndim(value) == 0 and np.isfinite(value) and value > 0):
        raise UnitsError(f"{option} {text!r}; expected one positive quantity such as '1 {unit}'")
    return float(value)


@dataclass(frozen=True)
class OutputOptions:
    """Options of `stellarfm.readers.simulation_outputs.YTReader`, units removed.

    Attributes
    ----------
    label_kind : {"sink", "star"} or None
        Meaning of the masses, if specified.
    mass_per_hydrogen : float
        Gas mass per hydrogen nucleus, hydrogen masses.
    units : dict of str to float
        Specified code units of ``length``, ``mass``, ``velocity``, cgs.
    particle_type : str or None
        Name that yt gives to the particles that are stars.
    gamma : float
        Adiabatic index.
    sound_speed : float or None
        Isothermal speed of sound, km/s.
    periodic : bool or None
        Periodicity of all axes, if specified.
    simulation : str or None
        Name of the run, if specified.

    Examples
    --------
    >>> import numpy as np
    >>> from stellarfm.readers.common import OutputOptions
    >>> options = OutputOptions(periodic=False)
    >>> options.box(np.zeros(3), np.ones(3), periodic=(True, True, True))["periodic"]
    (False, False, False)
    """

    label_kind: str | None = None
    mass_per_hydrogen: float = MASS_PER_HYDROGEN
    units: dict[str, float] = field(default_factory=dict)
    particle_type: str | None = None
    gamma: float = 5 / 3
    sound_speed: float | None = None
    periodic: bool | None = None
    simulation: str | None = None

    def box(self, lower: np.ndarray, upper: np.ndarray, periodic: Iterable[Any]) -> dict[str, Any]:
        """Return the box of a snapshot, keyed by the argument names of `Snapshot`.

        Parameters
        ----------
        lower, upper : ndarray
            Corners, pc, shape (3,).
        periodic : iterable of bool
            Periodic axes according to the file; the option `periodic` overrides them.
        """
        axes = tuple(bool(axis) if self.periodic is None else self.periodic for axis in periodic)
        return {"lower": lower * u.pc, "upper": upper * u.pc, "periodic": axes}

    def run_identity(self, output: Path, files: Iterable[Path], *, code: str) -> dict[str, Any]:
        """Return names and provenance of an output, keyed by the argument names of `Snapshot`.

        Parameters
        ----------
        output : Path
            File or directory that is one output of the run.
        files : iterable of Path
            All its files.
        code : str
            Code that wrote it, as far as known.
        """
        written_by = {"code": code, "reader": "yt", "version": stellarfm.__version__, "output": output.name}
        return {
            "mass_per_hydrogen": self.mass_per_hydrogen,
            "simulation": self.simulation or run_name(output),
            "snapshot": snapshot_number(output),
            "provenance": {**written_by, **file_hashes(files)},
        }

    def yt_units(self) -> dict[str, tuple[float, str]]:
        """Return the units as the argument ``units_override`` of `yt.load`.

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
