"""Snapshot: the stars and the gas of a simulation at one time; what every reader of simulations returns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import numpy as np
from astropy import units as u
from astropy.table import QTable

from stellarfm.exceptions import SnapshotError
from stellarfm.maps.units import MASS_PER_HYDROGEN, in_unit

__all__ = ["GAS_KINDS", "STAR_COLUMNS", "GasBlock", "GasSource", "InMemoryGas", "Region", "Snapshot"]

GAS_KINDS = ("cells", "particles")
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


class Region(NamedTuple):
    """A box-shaped part of a snapshot, faces along the axes.

    Attributes
    ----------
    lower, upper : ndarray
        Its corners, pc, shape (3,), in box coordinates and inside the box: whoever asks has already cut a region that
        crosses a periodic border into its parts.
    """

    lower: np.ndarray
    upper: np.ndarray


@dataclass(frozen=True, eq=False)
class GasBlock:
    """Some gas elements: plain float64 numbers in fixed units.

    Attributes
    ----------
    position : ndarray
        Cell centres or particle positions, pc, shape (n, 3), box coordinates, inside the box.
    size : ndarray
        Side of a cubic cell, or the radius where the kernel of a particle reaches zero, pc, shape (n,). A cell of a
        moving mesh is a particle of twice the radius of a sphere of its volume.
    mass : ndarray
        Solar masses, shape (n,).
    velocity : ndarray
        km/s, shape (n, 3), in the frame of the box.
    thermal : ndarray, optional
        One-dimensional thermal velocity dispersion of the mean particle, km/s, shape (n,): the isothermal
        speed of sound.

    Raises
    ------
    SnapshotError
        If shapes do not fit, a number is not finite, a size is not positive or a mass is negative.
    """

    position: np.ndarray
    size: np.ndarray
    mass: np.ndarray
    velocity: np.ndarray
    thermal: np.ndarray | None = None

    def __post_init__(self) -> None:
        """Make the arrays contiguous float64 and check them."""
        for name in ("position", "size", "mass", "velocity", "thermal"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, _numbers(value, name))
        self._check_shapes()
        if np.any(self.size <= 0):
            raise SnapshotError(f"{np.sum(self.size <= 0)} of {len(self)} gas elements have no size; expected size > 0")
        if np.any(self.mass < 0):
            raise SnapshotError(f"{np.sum(self.mass < 0)} of {len(self)} gas elements have a negative mass")

    def _check_shapes(self) -> None:
        n = self.size.size
        for name, shape in {
            "position": (n, 3),
            "size": (n,),
            "mass": (n,),
            "velocity": (n, 3),
            "thermal": (n,),
        }.items():
            value = getattr(self, name)
            if value is not None and value.shape != shape:
                raise SnapshotError(f"{name} of the gas has shape {value.shape}; expected {shape}")

    def __len__(self) -> int:
        """Number of elements."""
        return len(self.size)

    def __getitem__(self, index: slice | np.ndarray) -> GasBlock:
        """The elements at a slice (a view), a boolean array or an index array."""
        thermal = None if self.thermal is None else self.thermal[index]
        return GasBlock(self.position[index], self.size[index], self.mass[index], self.velocity[index], thermal)


def _numbers(value: Any, name: str) -> np.ndarray:
    if isinstance(value, u.Quantity):
        raise SnapshotError(f"{name} of the gas has a unit ({value.unit}); a block holds plain numbers in fixed units")
    array = np.ascontiguousarray(value, dtype=np.float64)
    if not np.isfinite(array).all():
        raise SnapshotError(f"{name} of the gas is not finite in {np.sum(~np.isfinite(array))} of {array.size} numbers")
    return array


class GasSource(ABC):
    """Gas that is asked for by region, so that a snapshot larger than memory can be projected.

    Attributes
    ----------
    kind : {"cells", "particles"}
        What `GasBlock.size` means.
    velocity_axes : str
        Axes along which velocities are known; along others a block holds zeros, and nothing can be projected.
    """

    kind: str
    velocity_axes: str = "xyz"

    @abstractmethod
    def blocks(self, regions: Sequence[Region]) -> Iterator[GasBlock]:
        """Every element that overlaps any of the regions, exactly once; others may come along.

        Parameters
        ----------
        regions : sequence of Region
            They lie inside the box and may overlap. A particle that reaches one across a periodic border overlaps it.

        Yields
        ------
        GasBlock
            At most about a million elements each: one block is in memory at a time.
        """


@dataclass(frozen=True, eq=False)
class InMemoryGas(GasSource):
    """Gas that is in memory already.

    Parameters
    ----------
    gas : GasBlock
        All of it.
    kind : {"cells", "particles"}
        What `GasBlock.size` means.
    block_size : int
        Elements of a block; the blocks are views.

    Raises
    ------
    SnapshotError
        If the kind is unknown.
    """

    gas: GasBlock
    kind: str = "cells"
    block_size: int = 2**20

    def __post_init__(self) -> None:
        """Check the kind."""
        _check_kind(self.kind)

    def blocks(self, regions: Sequence[Region]) -> Iterator[GasBlock]:
        """All elements, whatever the regions; none if there are no regions."""
        for start in range(0, len(self.gas) if regions else 0, self.block_size):
            yield self.gas[start : start + self.block_size]


def _check_kind(kind: str) -> None:
    if kind not in GAS_KINDS:
        raise SnapshotError(f"gas of kind {kind!r}; expected one of {', '.join(GAS_KINDS)}")


@dataclass(frozen=True, eq=False)
class Snapshot:
    """Stars and gas of a simulation at one time.

    Attributes
    ----------
    stars : QTable
        One row a star, perhaps none: ``star`` (its number or name within the run), ``x``, ``y``, ``z`` (pc), and where
        known ``mass`` (solMass), ``vx``, ``vy``, ``vz`` (km/s), ``age`` (Myr), ``accretion_rate`` (solMass/yr). Other
        columns are kept.
    gas : GasSource or None
        None if the file holds no gas: it can be listed but not projected.
    lower, upper : Quantity
        Corners of the box, pc, shape (3,).
    periodic : tuple of bool
        Whether the box repeats itself along x, y, z.
    time : Quantity
        Since the start of the run, Myr; NaN is unknown.
    label_kind : {"sink", "star", None}
        What ``mass`` means: all that was accreted, the star alone, or nothing known.
    mass_per_hydrogen : float
        Gas mass per hydrogen nucleus, hydrogen masses.
    simulation : str
        Name of the run.
    snapshot : int or str
        Number or name of the output.
    provenance : dict
        ``code``, ``reader``, ``version``, hashes of the files: whatever says where this comes from.

    Raises
    ------
    SnapshotError, UnitsError
        If units, shapes or the table do not fit.
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
        """Check and convert everything."""
        for name, unit in {"lower": u.pc, "upper": u.pc, "time": u.Myr}.items():
            object.__setattr__(self, name, in_unit(getattr(self, name), unit, name))
        self._check_box()
        if self.gas is not None:
            _check_kind(self.gas.kind)
        if not self.mass_per_hydrogen > 0:
            raise SnapshotError(f"mass per hydrogen {self.mass_per_hydrogen}; expected hydrogen masses, like 1.4")
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
                stars[name] = in_unit(stars[name], unit, f"column {name!r} of the stars")
        if len(set(stars["star"])) < len(stars):
            raise SnapshotError("two stars have one number; expected a number or name each, unique in the snapshot")
        return stars

    @property
    def extent(self) -> u.Quantity:
        """Sides of the box, pc, shape (3,)."""
        return self.upper - self.lower
