"""Gas of a snapshot: cells or particles, read by region, so that it may be larger than memory."""

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
    """Box-shaped part of a snapshot, with faces along the axes.

    Attributes
    ----------
    lower, upper : ndarray
        Corners, pc, shape (3,), in box coordinates and inside the box: a region that crosses a periodic border is split
        into its parts beforehand.

    Examples
    --------
    >>> import numpy as np
    >>> from stellarfm.simulations import Region
    >>> Region(np.zeros(3), np.ones(3)).upper
    array([1., 1., 1.])
    """

    lower: np.ndarray
    upper: np.ndarray


@dataclass(frozen=True, eq=False)
class GasBlock:
    """Gas elements as plain float64 numbers in fixed units.

    Attributes
    ----------
    position : ndarray
        Centers of cells or positions of particles, pc, shape (n, 3), in box coordinates, inside the box.
    size : ndarray
        Side of a cubic cell, or support radius of the kernel of a particle, pc, shape (n,). A moving-mesh cell is a
        particle whose radius is `MESH_FACTOR` times that of a sphere of its volume.
    mass : ndarray
        Mass, solMass, shape (n,).
    velocity : ndarray
        Velocity in the frame of the box, km/s, shape (n, 3).
    thermal : ndarray, optional
        One-dimensional thermal velocity dispersion of the mean particle (the isothermal sound speed), km/s, shape (n,).

    Raises
    ------
    SnapshotError
        If shapes are inconsistent, a number is not finite, a size is not positive or a mass is negative.

    Examples
    --------
    >>> import numpy as np
    >>> from stellarfm.simulations import GasBlock
    >>> block = GasBlock(position=np.full((2, 3), 0.5), size=[0.1, 0.2], mass=[1, 2], velocity=np.zeros((2, 3)))
    >>> len(block), block[block.mass > 1].size
    (2, array([0.2]))
    """

    position: np.ndarray
    size: np.ndarray
    mass: np.ndarray
    velocity: np.ndarray
    thermal: np.ndarray | None = None

    def __post_init__(self) -> None:
        """Convert the arrays to contiguous float64 and check them."""
        for name in ("position", "size", "mass", "velocity", "thermal"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, _numbers(value, name))
        self._check_shapes()
        if np.any(self.size <= 0):
            raise SnapshotError(f"{np.sum(self.size <= 0)} of {len(self)} gas elements have no size; expected size > 0")
        if np.any(self.mass < 0):
            raise SnapshotError(
                f"{np.sum(self.mass < 0)} of {len(self)} gas elements have a negative mass; expected mass >= 0"
            )

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
        """Return the number of elements."""
        return len(self.size)

    def __getitem__(self, index: slice | np.ndarray) -> GasBlock:
        """Return the elements at a slice (as views), a boolean array or an index array."""
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
    """Gas that is read by region, so that a snapshot larger than memory can be projected.

    Attributes
    ----------
    kind : {"cells", "particles"}
        Kind of element, which decides the meaning of `GasBlock.size`.
    velocity_axes : str
        Axes along which velocities are known. Along the others blocks contain zeros and projection is refused.

    Examples
    --------
    >>> import numpy as np
    >>> from stellarfm.simulations import GasBlock, GasSource
    >>> class OneCell(GasSource):
    ...     kind = "cells"
    ...
    ...     def blocks(self, regions):
    ...         if regions:
    ...             yield GasBlock(np.full((1, 3), 0.5), [0.1], [1.0], np.zeros((1, 3)))
    >>> list(OneCell().blocks([]))
    []
    """

    kind: str
    velocity_axes: str = "xyz"

    @abstractmethod
    def blocks(self, regions: Sequence[Region]) -> Iterator[GasBlock]:
        """Yield every element that overlaps a region exactly once; elements outside may be included.

        Parameters
        ----------
        regions : sequence of Region
            Parts of the box, possibly overlapping. A particle that reaches one across a periodic border overlaps it.

        Yields
        ------
        GasBlock
            Block of at most about `BLOCK_SIZE` elements; one block is in memory at a time.
        """


@dataclass(frozen=True, eq=False)
class InMemoryGas(GasSource):
    """Gas source whose elements are all in memory.

    Parameters
    ----------
    gas : GasBlock
        All elements.
    kind : {"cells", "particles"}
        Kind of element, which decides the meaning of `GasBlock.size`.
    block_size : int
        Number of elements in a block; blocks are views.

    Raises
    ------
    SnapshotError
        If the kind is unknown.

    Examples
    --------
    >>> import numpy as np
    >>> from stellarfm.simulations import GasBlock, InMemoryGas, Region
    >>> gas = GasBlock(np.full((3, 3), 0.5), np.ones(3), np.ones(3), np.zeros((3, 3)))
    >>> source = InMemoryGas(gas, kind="particles", block_size=2)
    >>> [len(block) for block in source.blocks([Region(np.zeros(3), np.ones(3))])]
    [2, 1]
    """

    gas: GasBlock
    kind: str = "cells"
    block_size: int = BLOCK_SIZE

    def __post_init__(self) -> None:
        """Check the kind."""
        check_kind(self.kind)

    def blocks(self, regions: Sequence[Region]) -> Iterator[GasBlock]:
        """Yield all elements whatever the regions, or none if there are no regions."""
        for start in range(0, len(self.gas) if regions else 0, self.block_size):
            yield self.gas[start : start + self.block_size]


def check_kind(kind: str) -> None:
    """Raise `SnapshotError` if `kind` is not one of `GAS_KINDS`."""
    if kind not in GAS_KINDS:
        raise SnapshotError(f"gas of kind {kind!r}; expected one of {', '.join(GAS_KINDS)}")
