"""Gas of a snapshot: cells or particles, asked for by region, so that it may be larger than memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from astropy import units as u

from stellarfm.exceptions import SnapshotError

__all__ = ["BLOCK_SIZE", "GAS_KINDS", "MESH_FACTOR", "GasBlock", "GasSource", "InMemoryGas", "Region", "check_kind"]

GAS_KINDS = ("cells", "particles")

#: Number of gas elements in a block.
BLOCK_SIZE = 2**20

#: Kernel radius of a moving-mesh cell in units of the radius of a sphere of its volume, as in yt for Arepo.
MESH_FACTOR = 2.0


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
    block_size: int = BLOCK_SIZE

    def __post_init__(self) -> None:
        """Check the kind."""
        check_kind(self.kind)

    def blocks(self, regions: Sequence[Region]) -> Iterator[GasBlock]:
        """All elements, whatever the regions; none if there are no regions."""
        for start in range(0, len(self.gas) if regions else 0, self.block_size):
            yield self.gas[start : start + self.block_size]


def check_kind(kind: str) -> None:
    """Refuse a kind of gas that is none of `GAS_KINDS`."""
    if kind not in GAS_KINDS:
        raise SnapshotError(f"gas of kind {kind!r}; expected one of {', '.join(GAS_KINDS)}")
