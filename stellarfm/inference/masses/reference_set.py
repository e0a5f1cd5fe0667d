"""The reference set of a head: features, masses and identity of windows of known stars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np
from astropy import units as u

if TYPE_CHECKING:
    from stellarfm.maps import MapSet

__all__ = ["CUBE", "DEPTH_CLASSES", "FIELD", "ReferenceSet", "depth_class"]

#: Depth classes of windows: a cube around the star, or the whole line of sight.
CUBE, FIELD = "cube", "field"
DEPTH_CLASSES = (CUBE, FIELD)


def depth_class(windows: MapSet) -> str:
    """Return ``"cube"`` for windows at most twice as deep as wide, else ``"field"``; an unknown depth is a map's."""
    width = windows.pixel_scale * windows.column_density.shape[-1]
    return CUBE if windows.depth <= 2 * width else FIELD


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

    def __getitem__(self, index: np.ndarray) -> ReferenceSet:
        """Return the windows at an index array or a boolean array."""
        return ReferenceSet(**{name: values[index] for name, values in self.to_arrays().items()})

    @property
    def groups(self) -> np.ndarray:
        """``"simulation/star"`` of every window, the unit of splits and calibration."""
        return np.array([f"{run}/{star}" for run, star in zip(self.simulation, self.star, strict=True)], dtype=str)

    @property
    def depth_classes(self) -> list[str]:
        """Depth classes that occur."""
        return sorted(set(self.depth_class.tolist()))

    def count_stars(self, *, above: float = 0.0) -> int:
        """Return the number of stars that are heavier than `above` [solMass] in at least one window."""
        return len(np.unique(self.groups[self.mass > above]))

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

    @classmethod
    def from_windows(cls, features: np.ndarray, mapsets: Sequence[MapSet]) -> ReferenceSet:
        """Return the reference set of the windows of one or several map sets, whose features (N, D) are given."""
        tables = [one.stars for one in mapsets]
        counts = [len(one) for one in mapsets]
        missing = [np.full(count, np.nan) * u.Myr for count in counts]
        times = [t["time"] if "time" in t.colnames else none for t, none in zip(tables, missing, strict=True)]
        return cls(
            features=features,
            mass=np.concatenate([t["mass"].to_value(u.solMass) for t in tables]).astype(np.float64),
            star=np.concatenate([np.asarray(t["star"]).astype(str) for t in tables]),
            simulation=np.concatenate([np.asarray(t["simulation"]).astype(str) for t in tables]),
            time=np.concatenate([u.Quantity(time, u.Myr).value for time in times]).astype(np.float64),
            depth=np.repeat([one.depth.to_value(u.pc) for one in mapsets], counts).astype(np.float64),
            depth_class=np.repeat([depth_class(one) for one in mapsets], counts),
        )
