"""Snapshot: stars and gas of a simulation at one time, the result of every reader of simulations."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from astropy import units as u
from astropy.table import QTable

from stellarfm.exceptions import SnapshotError
from stellarfm.maps.units import MASS_PER_HYDROGEN, require_unit
from stellarfm.simulations.gas import GasSource, check_kind

__all__ = ["STAR_COLUMNS", "Snapshot"]

logger = logging.getLogger("stellarfm")

LABEL_KINDS = ("sink", "star", None)

#: Column of `Snapshot.stars` -> its unit.
STAR_COLUMNS: dict[str, u.UnitBase | None] = {
    "star": None,
    "mass": u.solMass,
    **dict.fromkeys("xyz", u.pc),
    **dict.fromkeys(("vx", "vy", "vz"), u.km / u.s),
    "age": u.Myr,
    "accretion_rate": u.solMass / u.yr,
}
_NEEDED = ("star", "x", "y", "z")


@dataclass(frozen=True, eq=False)
class Snapshot:
    """Stars and gas of a simulation at one time.

    Attributes
    ----------
    stars : QTable
        Table of the stars, one row each, possibly empty: ``star`` (number or name within the run), ``x``, ``y``, ``z``
        (pc), and where known ``mass`` (solMass), ``vx``, ``vy``, ``vz`` (km/s), ``age`` (Myr), ``accretion_rate``
        (solMass/yr). Other columns are kept.
    gas : GasSource or None
        Gas; None if the file contains none, so that the snapshot can be listed but not projected.
    lower, upper : Quantity
        Corners of the box, pc, shape (3,).
    periodic : tuple of bool
        Periodicity of the box along x, y, z.
    time : Quantity
        Time since the start of the run, Myr; NaN if unknown.
    label_kind : {"sink", "star", None}
        Meaning of ``mass``: all accreted mass, the star alone, or unknown.
    mass_per_hydrogen : float
        Gas mass per hydrogen nucleus, in hydrogen masses.
    simulation : str
        Name of the run.
    snapshot : int or str
        Number or name of the output.
    provenance : dict
        Origin of the data: ``code``, ``reader``, ``version``, hashes of the files.

    Raises
    ------
    SnapshotError, UnitsError
        If units, shapes or the table of stars are invalid.

    Examples
    --------
    >>> from astropy import units as u
    >>> from astropy.table import QTable
    >>> from stellarfm import Snapshot
    >>> stars = QTable({"star": [1], "x": [0.5] * u.pc, "y": [0.5] * u.pc, "z": [0.5] * u.pc})
    >>> snapshot = Snapshot(stars=stars, gas=None, lower=[0, 0, 0] * u.pc, upper=[1, 1, 1] * u.pc)
    >>> snapshot.extent
    <Quantity [1., 1., 1.] pc>
    """

    stars: QTable
    gas: GasSource | None
    lower: u.Quantity
    upper: u.Quantity
    periodic: tuple[bool, bool, bool] = (False, False, False)
    time: u.Quantity = np.nan * u.Myr
    label_kind: str | None = None
    mass_per_hydrogen: float = MASS_PER_HYDROGEN
    simulation: str = ""
    snapshot: int | str = ""
    provenance: dict[str, str] = field(default_factory=dict)

    no_stars: ClassVar[QTable] = QTable(
        {name: np.empty(0, int) if unit is None else np.empty(0) * unit for name, unit in STAR_COLUMNS.items()}
    )

    def __post_init__(self) -> None:
        """Check all fields and convert quantities to the documented units."""
        for name, unit in {"lower": u.pc, "upper": u.pc, "time": u.Myr}.items():
            object.__setattr__(self, name, require_unit(getattr(self, name), unit, name))
        self._check_box()
        if self.gas is not None:
            check_kind(self.gas.kind)
        if not self.mass_per_hydrogen > 0:
            raise SnapshotError(
                f"mass_per_hydrogen is {self.mass_per_hydrogen}; expected hydrogen masses > 0, for example 1.4"
            )
        object.__setattr__(self, "stars", self._checked_stars())

    def _check_box(self) -> None:
        for name in ("lower", "upper"):
            if getattr(self, name).shape != (3,):
                raise SnapshotError(f"{name} corner of the box has shape {getattr(self, name).shape}; expected (3,)")
        if not np.all(self.upper > self.lower):
            raise SnapshotError(f"box from {self.lower} to {self.upper}; expected upper > lower along each axis")
        if len(self.periodic) != 3:
            raise SnapshotError(f"periodic {self.periodic!r}; expected one boolean each for x, y and z")

    def _checked_stars(self) -> QTable:
        if self.label_kind not in LABEL_KINDS:
            raise SnapshotError(f"label kind {self.label_kind!r}; expected 'sink', 'star' or None")
        stars = QTable(self.stars, copy=False)
        needed = (*_NEEDED, "mass") if self.label_kind else _NEEDED
        if missing := [name for name in needed if name not in stars.colnames]:
            raise SnapshotError(f"the table of stars has no column {', '.join(missing)}; expected {', '.join(needed)}")
        for name, unit in STAR_COLUMNS.items():
            if unit is not None and name in stars.colnames:
                stars[name] = require_unit(stars[name], unit, f"column {name!r} of the stars")
        if repeated := len(stars) - len(set(stars["star"])):
            logger.warning(
                "%s, snapshot %s: %d of %d stars have the number of another one; all stars of one number are treated "
                "as one star when stars are split or counted",
                self.simulation or "unnamed simulation",
                self.snapshot,
                repeated,
                len(stars),
            )
        return stars

    @property
    def extent(self) -> u.Quantity:
        """Sides of the box, pc, shape (3,)."""
        return self.upper - self.lower
