"""Settings of a batch of projections."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from astropy import units as u
from astropy.table import QTable

from stellarfm import __version__
from stellarfm.exceptions import SnapshotError, UnitsError
from stellarfm.maps.units import parse_length

__all__ = ["ProjectionSettings"]


@dataclass(frozen=True, kw_only=True)
class ProjectionSettings:
    """Settings of reading snapshots, selecting stars and projecting the gas around them.

    Attributes
    ----------
    reader : str, optional
        Name of a reader; by default the one that recognizes the file.
    reader_options : mapping
        Options of the reader.
    simulation : str, optional
        Name of the run in place of that from the reader, the same for all snapshots, because they share their stars.
    label_kind : {"sink", "star"}, optional
        Required meaning of masses; passed to readers that can choose.
    minimum_mass : str, optional
        Smallest mass of a selected star, for example ``"0.08 solMass"``.
    positions : QTable, optional
        Centers of windows in place of the stars: ``x``, ``y``, ``z`` and, if known, ``star`` and other columns.
    width, depth, pixels, axes, directions, seed, snap, thermal
        Parameters of `stellarfm.simulations.project`; lengths are text.

    Raises
    ------
    UnitsError, SnapshotError
        If a length or a mass has no unit or a wrong one, or if options exclude each other.

    Examples
    --------
    >>> from stellarfm.batch import ProjectionSettings
    >>> ProjectionSettings(minimum_mass="80 jupiterMass").least_mass().unit
    Unit("solMass")
    """

    reader: str | None = None
    reader_options: Mapping[str, Any] = field(default_factory=dict)
    simulation: str | None = None
    label_kind: str | None = None
    minimum_mass: str | None = None
    positions: QTable | None = None
    width: str = "0.5 pc"
    depth: str | None = None
    pixels: int = 64
    axes: str = "xyz"
    directions: int | None = None
    seed: int = 0
    snap: bool = False
    thermal: bool = False

    def __post_init__(self) -> None:
        """Check the settings before any snapshot is read."""
        for name in ("width", "depth"):
            if getattr(self, name) is not None:
                parse_length(getattr(self, name), what=name)
        if self.label_kind not in (None, "sink", "star"):
            raise SnapshotError(f"label_kind is {self.label_kind!r}; expected 'sink' or 'star'")
        if self.minimum_mass is not None and self.positions is not None:
            raise SnapshotError("minimum_mass and positions= exclude each other; leave minimum_mass out")
        self.least_mass()

    def least_mass(self) -> u.Quantity:
        """Return the minimum mass, solMass; 0 if there is none."""
        if self.minimum_mass is None:
            return 0 * u.solMass
        try:
            mass = u.Quantity(self.minimum_mass).to(u.solMass)
        except (TypeError, ValueError) as error:
            raise UnitsError(
                f"minimum_mass is {self.minimum_mass!r}; expected a mass such as '0.08 solMass'"
            ) from error
        if not (mass.isscalar and mass >= 0):
            raise UnitsError(f"minimum_mass is {self.minimum_mass!r}; expected one mass >= 0, such as '0.08 solMass'")
        return mass

    def record(self) -> dict[str, Any]:
        """Return the settings and the version of stellarfm as values for JSON; positions as a hash."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        values["reader_options"] = {name: str(value) for name, value in sorted(self.reader_options.items())}
        if self.positions is not None:
            columns = {name: np.asarray(self.positions[name]).tolist() for name in self.positions.colnames}
            text = json.dumps(columns, default=str)
            values["positions"] = f"sha256 {hashlib.sha256(text.encode()).hexdigest()}"
        return {"stellarfm": __version__, **values}
