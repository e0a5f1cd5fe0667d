"""The reference set of a mass head: features and masses of windows of known stars."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

__all__ = ["ReferenceSet"]


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
    residual, spread : ndarray
        Residual of the cross-fitted prediction and scatter among its neighbors, dex, shape (N,).
    distance : ndarray
        Distance to the nearest windows of other stars in the whitened feature space, shape (N,).
    """

    features: np.ndarray
    mass: np.ndarray
    star: np.ndarray
    simulation: np.ndarray
    residual: np.ndarray
    spread: np.ndarray
    distance: np.ndarray

    def __repr__(self) -> str:
        """Return names, types and shapes of the arrays."""
        arrays = [f"{name}: {getattr(self, name).dtype} {getattr(self, name).shape}" for name in _names()]
        return f"ReferenceSet({', '.join(arrays)})"

    @property
    def groups(self) -> np.ndarray:
        """``"simulation/star"`` of every window, the unit of splits and calibration."""
        return np.array([f"{run}/{star}" for run, star in zip(self.simulation, self.star, strict=True)])


def _names() -> list[str]:
    return [field.name for field in fields(ReferenceSet)]
