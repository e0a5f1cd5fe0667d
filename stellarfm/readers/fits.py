"""Reader of finished maps in FITS: one multi-extension file a field."""

from __future__ import annotations

from pathlib import Path

from stellarfm.contracts import SimulationReader
from stellarfm.maps import GasMaps

__all__ = ["FITSReader"]


class FITSReader(SimulationReader):
    """Fields in the multi-extension FITS form of `GasMaps`.

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
        """Whether the file begins like FITS, gzipped or not."""
        try:
            with Path(path).open("rb") as file:
                start = file.read(9)
        except OSError:
            return False
        return start == b"SIMPLE  =" or (start.startswith(b"\x1f\x8b") and ".fits" in Path(path).name.lower())

    def read(self, path: Path) -> GasMaps:
        """The field in `path`; raises as `GasMaps.read`."""
        return GasMaps.read(
            path,
            distance=self.distance,
            column_unit=self.column_unit,
            column_species=self.column_species,
            abundance=self.abundance,
        )
