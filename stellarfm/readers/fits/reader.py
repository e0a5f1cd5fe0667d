"""Reader of FITS: finished maps of a field; cubes are handed to the readers that take options for them."""

from __future__ import annotations

from pathlib import Path

from stellarfm.contracts import SimulationReader
from stellarfm.maps import GasMaps
from stellarfm.readers.fits.cubes import begins_like_fits, cube_kind
from stellarfm.readers.fits.ppp import PPPReader
from stellarfm.readers.fits.ppv import PPVReader
from stellarfm.simulations import Snapshot

__all__ = ["FITSReader"]


class FITSReader(SimulationReader):
    """Fields in the multi-extension FITS form of `GasMaps`; cubes as far as their headers say everything.

    A cube of a simulation is read as by `PPPReader`, a spectral cube as by `PPVReader`, without their own options:
    name ``fits-ppp`` or ``fits-ppv`` to give some.

    Parameters
    ----------
    distance, column_unit, column_species, abundance
        As in `GasMaps.read`.
    """

    def __init__(
        self,
        *,
        distance: str | None = None,
        column_unit: str | None = None,
        column_species: str = "H",
        abundance: float | None = None,
    ) -> None:
        self.distance = distance
        self.column_unit = column_unit
        self.column_species = column_species
        self.abundance = abundance

    def can_read(self, path: Path) -> bool:
        """Whether the file begins like FITS, gzipped or not, and its first image is no cube."""
        return begins_like_fits(path) and cube_kind(path) is None

    def read(self, path: Path) -> GasMaps | Snapshot:
        """The field in `path`, or the snapshot of a cube; raises as `GasMaps.read` and the readers of cubes."""
        kind = cube_kind(path)
        if kind == "ppp":
            return PPPReader().read(path)
        if kind == "ppv":
            ppv = PPVReader(distance=self.distance, column_species=self.column_species, abundance=self.abundance)
            return ppv.read(path)
        return GasMaps.read(
            path,
            distance=self.distance,
            column_unit=self.column_unit,
            column_species=self.column_species,
            abundance=self.abundance,
        )
