"""Reader of FITS files: finished maps of a field; cubes are passed to the readers that have options for them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from stellarfm.contracts import SimulationReader
from stellarfm.maps import GasMaps
from stellarfm.readers.fits.cubes import cube_kind, has_fits_signature
from stellarfm.readers.fits.ppp import PPPReader
from stellarfm.readers.fits.ppv import PPVReader
from stellarfm.simulations import Snapshot

__all__ = ["FITSReader"]


@dataclass(kw_only=True, eq=False)
class FITSReader(SimulationReader):
    """Reader of fields in the multi-extension FITS format of `GasMaps`, and of cubes with complete headers.

    A cube of a simulation is read by `PPPReader`, a spectral cube by `PPVReader`, both with default options; use those
    readers, ``fits-ppp`` and ``fits-ppv``, to set their options.

    Parameters
    ----------
    distance, column_unit, column_species : str, optional
        Distance, and unit and species of the column density, in place of those of the header; see `GasMaps.read`.
    abundance : float, optional
        Abundance of the species; see `GasMaps.read`.
    column_per_intensity, velocity_unit, dispersion_unit, dispersion_is, mask_is : str, optional
        Conversion factor, units and meanings; see `GasMaps.read`.
    missing_value : float, optional
        Number that stands for a missing value.
    verify_checksum : bool
        Refuse data that do not match DATASUM.

    Examples
    --------
    >>> from stellarfm.readers.fits import FITSReader
    >>> FITSReader(distance="140 pc").can_read("absent.fits")
    False
    """

    distance: str | None = None
    column_unit: str | None = None
    column_species: str | None = None
    abundance: float | None = None
    column_per_intensity: str | None = None
    velocity_unit: str | None = None
    dispersion_unit: str | None = None
    dispersion_is: str | None = None
    mask_is: str | None = None
    missing_value: float | None = None
    verify_checksum: bool = True

    def can_read(self, path: Path) -> bool:
        """Return True if the file is FITS, gzipped or not, and its first image is not a cube."""
        return has_fits_signature(path) and cube_kind(path) is None

    def read(self, path: Path) -> GasMaps | Snapshot:
        """Read the field in `path`, or the snapshot of a cube; raises as `GasMaps.read` and the readers of cubes."""
        kind = cube_kind(path)
        if kind == "ppp":
            return PPPReader().read(path)
        if kind == "ppv":
            species, abundance = self.column_species, self.abundance
            return PPVReader(distance=self.distance, column_species=species, abundance=abundance).read(path)
        return GasMaps.read(path, **asdict(self))
