"""Units of HDF5 snapshots of the Gadget family, from the file itself; nothing is assumed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import h5py
import numpy as np
from astropy import units as u

from stellarfm.exceptions import ReaderError
from stellarfm.readers.common.cgs import MYR

__all__ = ["DIMENSIONS", "CodeUnits", "read_number"]

#: Unit -> its attribute names in various codes, cgs.
_UNIT_NAMES = {
    "length": ("UnitLength_In_CGS", "UnitLength_in_cm"),
    "mass": ("UnitMass_In_CGS", "UnitMass_in_g"),
    "velocity": ("UnitVelocity_In_CGS", "UnitVelocity_in_cm_per_s"),
}
_GROUPS = ("Header", "Units", "Parameters")

#: Attributes of a dataset: its factor to cgs, and its powers of the expansion factor and of h (EAGLE; TNG).
_DATASET_NAMES = (
    ("CGSConversionFactor", "aexp-scale-exponent", "h-scale-exponent"),
    ("to_cgs", "a_scaling", "h_scaling"),
)


class Dimensions(NamedTuple):
    """Powers of length, mass, velocity, and of the expansion factor and the Hubble parameter in a comoving run."""

    length: int
    mass: int
    velocity: int
    expansion: float
    hubble: float


#: Gadget's comoving conventions (Springel 2005, user guide of Gadget-2, section 6).
DIMENSIONS = {
    "length": Dimensions(1, 0, 0, 1, -1),
    "mass": Dimensions(0, 1, 0, 0, -1),
    "velocity": Dimensions(0, 0, 1, 0.5, 0),
    "density": Dimensions(-3, 1, 0, -3, 2),
    "specific energy": Dimensions(0, 0, 2, 0, 0),
    "time": Dimensions(1, 0, -1, 0, 0),
    "accretion rate": Dimensions(-1, 1, 1, 0, 0),
}


def read_number(group: h5py.Group | h5py.Dataset, name: str, default: float) -> float:
    """Return a numeric attribute stored as a scalar or as an array of length one."""
    value = np.ravel(group.attrs.get(name, default))
    return float(value[0]) if value.size and value.dtype.kind in "biuf" else default


@dataclass(frozen=True)
class CodeUnits:
    """Code units of a snapshot.

    Attributes
    ----------
    base : dict of str to float
        Code units of ``length``, ``mass``, ``velocity`` in cgs, as far as known.
    comoving : bool
        True if lengths are comoving and the header's time is the expansion factor.
    expansion, hubble : float
        Expansion factor and Hubble parameter h; 1 unless comoving.
    cosmology : LambdaCDM or None
        Cosmology of a comoving run.
    """

    base: dict[str, float]
    comoving: bool
    expansion: float
    hubble: float
    cosmology: Any = None

    @classmethod
    def from_file(cls, file: h5py.File, overrides: dict[str, float]) -> CodeUnits:
        """Read the units of a file; `overrides` (cgs) replace them."""
        header = file["Header"]
        base = {name: _header_unit(file, spellings) for name, spellings in _UNIT_NAMES.items()}
        base = {name: value for name, value in {**base, **overrides}.items() if value > 0}
        if not _is_comoving(file):
            return cls(base, False, 1.0, 1.0)
        from astropy.cosmology import LambdaCDM  # takes long to import, and few files need it

        hubble = read_number(header, "HubbleParam", 1.0)
        cosmology = LambdaCDM(
            H0=100 * hubble, Om0=read_number(header, "Omega0", np.nan), Ode0=read_number(header, "OmegaLambda", np.nan)
        )
        return cls(base, True, read_number(header, "Time", 1.0), hubble, cosmology)

    def factor(self, dimensions: str, dataset: h5py.Dataset | None = None) -> float:
        """Return the factor from code units to cgs.

        Parameters
        ----------
        dimensions : str
            Key of `DIMENSIONS`.
        dataset : h5py.Dataset, optional
            Dataset whose own conversion factor, if stated, takes precedence over the units of the file.

        Raises
        ------
        ReaderError
            If neither the dataset nor the file states units.
        """
        return self._stated_factor(dataset) or self._factor_from_base(DIMENSIONS[dimensions])

    def _stated_factor(self, dataset: h5py.Dataset | None) -> float:
        """Return the factor to cgs stated by the attributes of a dataset; 0 if there is none."""
        for cgs, expansion, hubble in _DATASET_NAMES if dataset is not None else ():
            if (factor := read_number(dataset, cgs, 0.0)) > 0:
                powers = read_number(dataset, expansion, 0.0), read_number(dataset, hubble, 0.0)
                return factor * self.expansion ** powers[0] * self.hubble ** powers[1]
        return 0.0

    def _factor_from_base(self, powers: Dimensions) -> float:
        """Return the factor to cgs of some dimensions from the units of the file."""
        needed = [name for name in _UNIT_NAMES if getattr(powers, name)]
        if missing := [name for name in needed if name not in self.base]:
            options = ", ".join(f"unit_{name}" for name in missing)
            raise ReaderError(f"its header states no unit of {' and '.join(missing)}; give {options}, such as '1 kpc'")
        unit = np.prod([self.base[name] ** getattr(powers, name) for name in needed])
        return float(unit * self.expansion**powers.expansion * self.hubble**powers.hubble)

    def time(self, code: Any) -> u.Quantity:
        """Convert code times to times since the start (age of the universe in a comoving run), Myr."""
        code = np.asarray(code, dtype=float)
        if not self.comoving:
            return code * self.factor("time") / MYR * u.Myr
        return self.cosmology.age(1 / code - 1).to(u.Myr)


def _header_unit(file: h5py.File, spellings: tuple[str, ...]) -> float:
    """Return a unit from any group in which codes store it; 0 if there is none."""
    found = [read_number(file[group], name, 0.0) for group in _GROUPS if group in file for name in spellings]
    return max(found, default=0.0)


def _is_comoving(file: h5py.File) -> bool:
    """Return True if the file states that the run is comoving, or its time is the expansion factor."""
    stated = [read_number(file[group], "ComovingIntegrationOn", -1) for group in _GROUPS if group in file]
    if max(stated) >= 0:
        return max(stated) > 0
    header = file["Header"]
    expansion = 1 / (1 + read_number(header, "Redshift", -2.0))
    matter = read_number(header, "Omega0", 0.0)
    return matter > 0 and bool(np.isclose(read_number(header, "Time", 0.0), expansion, rtol=1e-4))
