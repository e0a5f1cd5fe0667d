"""The reference set of a head: features, masses and identity of windows of known stars."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np

__all__ = ["CUBE", "DEPTH_CLASSES", "FIELD", "ReferenceSet"]

#: Depth classes of windows: a cube around the star, or the whole line of sight.
CUBE, FIELD = "cube", "field"
DEPTH_CLASSES = (CUBE, FIELD)


@dataclass(frozen=True, eq=False, repr=False)
class ReferenceSet:
    """N windows of known stars.

    Attributes
    ----------
    features : ndarray
        Feature vectors, shape (N, D), float32.
    mass : ndarray
        Masses in solMass, shape (N,).
    star, simulation : ndarray
        Star and simulation of each window, text, shape (N,); star names are unique within a simulation only.
    time : ndarray
        Time of the snapshot in Myr, NaN if unknown, shape (N,).
    depth : ndarray
        Length of the line of sight in pc, NaN if unknown, shape (N,).
    depth_class : ndarray
        ``"cube"`` or ``"field"``, shape (N,).
    """

    features: np.ndarray
    mass: np.ndarray
    star: np.ndarray
    simulation: np.ndarray
    time: np.ndarray
    depth: np.ndarray
    depth_class: np.ndarray

    def __repr__(self) -> str:
        """Return names, types and shapes of the arrays."""
        arrays = [f"{name}: {values.dtype} {values.shape}" for name, values in self.to_arrays().items()]
        return f"ReferenceSet({', '.join(arrays)})"

    def __len__(self) -> int:
        """Return the number of windows."""
        return len(self.mass)

    @property
    def groups(self) -> np.ndarray:
        """``"simulation/star"`` of every window, the unit of splits and calibration."""
        return np.array([f"{run}/{star}" for run, star in zip(self.simulation, self.star, strict=True)], dtype=str)

    @property
    def depth_classes(self) -> list[str]:
        """Depth classes that occur."""
        return sorted(set(self.depth_class.tolist()))

    def depths(self) -> dict[str, float]:
        """Return the median depth of each depth class, pc; NaN if unknown."""
        return {name: float(np.median(self.depth[self.depth_class == name])) for name in self.depth_classes}

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return the columns by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> ReferenceSet:
        """Return the set with these columns."""
        return cls(**{field.name: arrays[field.name] for field in fields(cls)})
