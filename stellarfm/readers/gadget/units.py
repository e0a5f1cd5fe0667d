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

#: Cosmological parameter -> its attribute names in various codes.
_COSMOLOGY_NAMES = {
    "Hubble parameter h": ("HubbleParam", "h"),
    "matter density": ("Omega0", "Omega_Matter", "Omega_m"),
    "dark energy density": ("OmegaLambda", "Omega_Lambda", "Omega_lambda"),
}
_COMOVING_NAMES = ("ComovingIntegrationOn", "Cosmological run")
_EXPANSION_NAMES = ("Time", "ExpansionFactor")

#: Groups in which codes store units and cosmology; Gadget-4 and AREPO use Parameters, EAGLE Units and RuntimePars.
_GROUPS = ("Header", "Units", "Parameters", "RuntimePars", "Cosmology")

#: Values of one quantity in several places must agree to this relative accuracy: solar masses of codes differ by 3e-4.
_TOLERANCE = 1e-3

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
    """Return a numeric attribute stored as a scalar, an array of length one, or text."""
    value = np.ravel(group.attrs.get(name, default))
    try:
        return float(value[0])
    except (IndexError, ValueError):
        return default


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
        Cosmology of a comoving run; None if the file does not state its densities.
    """

    base: dict[str, float]
    comoving: bool
    expansion: float
    hubble: float
    cosmology: Any = None

    @classmethod
    def from_file(cls, file: h5py.File, overrides: dict[str, float]) -> CodeUnits:
        """Read the units of a file; `overrides` (cgs) replace them.

        Raises
        ------
        ReaderError
            If the file states different values of one quantity, or a comoving run states no Hubble parameter.
        """
        base = dict(overrides)
        for unit, names in _UNIT_NAMES.items():
            if unit not in overrides:
                base[unit] = _stated(file, names, f"unit of {unit}", remedy=f"give unit_{unit}")
        base = {unit: value for unit, value in base.items() if value > 0}
        if not _is_comoving(file):
            return cls(base, False, 1.0, 1.0)
        hubble, matter, dark_energy = (_stated(file, names, what) for what, names in _COSMOLOGY_NAMES.items())
        if not hubble > 0:
            raise ReaderError(
                f"a comoving run without a Hubble parameter; expected HubbleParam in one of {', '.join(_GROUPS)}"
            )
        cosmology = None
        if matter > 0 and dark_energy >= 0:
            from astropy.cosmology import LambdaCDM  # takes long to import, and few files need it

            cosmology = LambdaCDM(H0=100 * hubble, Om0=matter, Ode0=dark_energy)
        return cls(base, True, _expansion_factor(file), hubble, cosmology)

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
        """Convert code times to times since the start (age of the universe in a comoving run), Myr; NaN is unknown."""
        code = np.asarray(code, dtype=float)
        if not self.comoving:
            return code * self.factor("time") / MYR * u.Myr
        if self.cosmology is None:
            return np.full(code.shape, np.nan) * u.Myr
        return self.cosmology.age(1 / code - 1).to(u.Myr)


def _stated(file: h5py.File, names: tuple[str, ...], what: str, *, remedy: str = "correct the file") -> float:
    """Return a number from any group in which codes store it; NaN if there is none.

    Zeros are ignored where another place states a number: codes write them for parameters that they do not use.

    Raises
    ------
    ReaderError
        If the file states different numbers.
    """
    places = [(group, name) for group in _GROUPS if group in file for name in names if name in file[group].attrs]
    found = {f"{group}/{name}": read_number(file[group], name, 0.0) for group, name in places}
    found = {place: value for place, value in found.items() if value != 0} or found
    if not found:
        return np.nan
    values = np.array(list(found.values()))
    if not np.allclose(values, values[0], rtol=_TOLERANCE, atol=0):
        listed = ", ".join(f"{value:g} ({place})" for place, value in found.items())
        raise ReaderError(f"the file states different values of the {what}: {listed}; {remedy}")
    return float(values[0])


def _is_comoving(file: h5py.File) -> bool:
    """Return True if the file states that the run is comoving, or its time is the expansion factor."""
    groups = [file[group] for group in _GROUPS if group in file]
    stated = [read_number(group, name, 0.0) for group in groups for name in _COMOVING_NAMES if name in group.attrs]
    if stated:
        if min(stated) != max(stated):
            raise ReaderError(f"the file states different values of {_COMOVING_NAMES[0]}: {stated}; correct the file")
        return max(stated) > 0
    header = file["Header"]
    expansion = 1 / (1 + read_number(header, "Redshift", -2.0))
    matter = _stated(file, _COSMOLOGY_NAMES["matter density"], "matter density")
    return matter > 0 and bool(np.isclose(read_number(header, "Time", 0.0), expansion, rtol=1e-4))


def _expansion_factor(file: h5py.File) -> float:
    """Return the expansion factor of a comoving run, which must agree with its redshift."""
    expansion = _stated(file, _EXPANSION_NAMES, "expansion factor")
    redshift = read_number(file["Header"], "Redshift", np.nan)
    if not expansion > 0:
        raise ReaderError("a comoving run without an expansion factor; expected the attribute Time in Header")
    if not np.isnan(redshift) and not np.isclose(expansion, 1 / (1 + redshift), rtol=_TOLERANCE):
        raise ReaderError(f"expansion factor {expansion:g} (Time) and redshift {redshift:g} disagree; correct the file")
    return expansion
