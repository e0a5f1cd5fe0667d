"""The reference set of a model: features and masses of windows of known stars, and its FITS form."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits

from stellarfm.exceptions import ModelError
from stellarfm.inference.masses.out_of_distribution import PatchDistribution
from stellarfm.maps.io.fits_image import write_hdus

__all__ = ["ReferenceSet"]

#: Field of `ReferenceSet` -> column of the table.
COLUMNS = {name: name.upper() for name in ("features", "mass", "star", "simulation", "residual", "spread", "distance")}


@dataclass(frozen=True)
class ReferenceSet:
    """N windows of known stars, and a summary of their patches.

    Attributes
    ----------
    features : ndarray
        Shape (N, D), float32.
    mass : ndarray
        Shape (N,), solMass.
    star, simulation : ndarray
        Shape (N,), text: star numbers are unique within a simulation only.
    residual, spread : ndarray
        Shape (N,), dex: what cross-fitting got wrong, and how far its neighbours disagreed.
    distance : ndarray
        Shape (N,): distance to the nearest windows of other stars, in the whitened feature space.
    patches : PatchSummary
        What its patches look like.
    """

    features: np.ndarray
    mass: np.ndarray
    star: np.ndarray
    simulation: np.ndarray
    residual: np.ndarray
    spread: np.ndarray
    distance: np.ndarray
    patches: PatchDistribution

    @property
    def groups(self) -> np.ndarray:
        """``"simulation/star"`` of every window: the unit of everything statistical."""
        return np.array([f"{run}/{star}" for run, star in zip(self.simulation, self.star, strict=True)])

    def write(self, path: Path) -> None:
        """Write a FITS file: table REFERENCE, table PATCHES (rows are components), image PATCH_MEAN."""
        windows = fits.BinTableHDU.from_columns(
            [_column(key, getattr(self, name)) for name, key in COLUMNS.items()], name="REFERENCE"
        )
        windows.header.set("TUNIT2", "solMass", after="TFORM2")
        patches = fits.BinTableHDU.from_columns(
            [_column("COMPONENT", self.patches.components), _column("VARIANCE", self.patches.variance)], name="PATCHES"
        )
        patches.header["NOISE"] = (self.patches.noise, "mean variance beside the components")
        patches.header["FAMILIAR"] = (self.patches.threshold, "99 % quantile of the Mahalanobis distances")
        write_hdus([fits.PrimaryHDU(), windows, patches, fits.ImageHDU(self.patches.mean, name="PATCH_MEAN")], path)

    @classmethod
    def read(cls, path: Path) -> ReferenceSet:
        """Read what `write` wrote.

        Raises
        ------
        ModelError
            If something is missing.
        """
        try:
            with fits.open(path, memmap=False) as hdus:
                columns = {name: _native(hdus["REFERENCE"].data[key]) for name, key in COLUMNS.items()}
                return cls(**columns, patches=_summary(hdus["PATCHES"], hdus["PATCH_MEAN"]))
        except (OSError, KeyError, ValueError) as error:
            raise ModelError(f"{path} is no reference set ({error}); fit the model again") from error


def _summary(patches: fits.BinTableHDU, mean: fits.ImageHDU) -> PatchDistribution:
    """The patch summary in two HDUs."""
    return PatchDistribution(
        mean=_native(mean.data),
        components=_native(patches.data["COMPONENT"]),
        variance=_native(patches.data["VARIANCE"]),
        noise=float(patches.header["NOISE"]),
        threshold=float(patches.header["FAMILIAR"]),
    )


def _column(name: str, values: np.ndarray) -> fits.Column:
    """A FITS column of an array's own type; the rows of a matrix are vectors."""
    if values.dtype.kind == "U":
        return fits.Column(name, format=f"{max(1, values.dtype.itemsize // 4)}A", array=values)
    code = {"f4": "E", "f8": "D"}[values.dtype.str[1:]]
    return fits.Column(name, format=f"{values.shape[1] if values.ndim == 2 else ''}{code}", array=values)


def _native(values: np.ndarray) -> np.ndarray:
    """A plain array in the machine's byte order; text as str."""
    values = np.asarray(values)
    return values.astype(str) if values.dtype.kind in "SU" else values.astype(values.dtype.newbyteorder("="))
