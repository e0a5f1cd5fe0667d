"""Reader of position-position-position cubes: density and velocity of a simulation on a uniform grid."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from astropy import units as u
from astropy.io import fits

from stellarfm.contracts import SimulationReader
from stellarfm.exceptions import MapError, ReaderError, UnitsError
from stellarfm.maps.io.fits_image import open_fits
from stellarfm.maps.units import MASS_PER_HYDROGEN, VELOCITY_UNIT, clean_unit, named_species, require_unit
from stellarfm.readers.common.run_identity import file_hashes, run_name, snapshot_number
from stellarfm.readers.fits.cubes import cube_hdu, cube_kind
from stellarfm.readers.fits.uniform_grid import CubeFile, UniformGrid, UniformGridGas, check_not_truncated, read_grid
from stellarfm.simulations import Snapshot
from stellarfm.simulations.deposition.moments import HYDROGEN_MASS

__all__ = ["PPPReader"]

_MASS_DENSITY = u.solMass / u.pc**3
_NUMBER_DENSITY = u.cm**-3


@dataclass(kw_only=True, eq=False)
class PPPReader(SimulationReader):
    """Reader of density and velocity cubes in FITS as a `Snapshot` of equal cells without stars.

    The density is the first image of the file. The velocities are its extensions ``VELOCITY_X``, ``VELOCITY_Y``,
    ``VELOCITY_Z`` (or ``VX``, ``VY``, ``VZ``), or cubes in files of their own. NAXIS1 is x unless CTYPE names the axes.

    Parameters
    ----------
    velocities : str
        Files with the velocity along x, y and z, separated by commas; or one file, with the velocity along
        `line_of_sight` only.
    line_of_sight : {"x", "y", "z"}
        Axis of the velocity cube, if there is only one; the snapshot can then be projected along that axis only.
    density_unit, velocity_unit : str
        Units that override BUNIT; densities are mass densities (``"g cm-3"``) or number densities (``"cm-3"``).
    density_species : {"H", "H2"}
        Species counted by a number density.
    cell_size : str
        Side of a cell, such as ``"0.01 pc"``, in place of CDELT and CUNIT.
    periodic : bool
        Periodicity of the box along all axes.
    mass_per_hydrogen : float
        Gas mass per hydrogen nucleus, hydrogen masses.
    sound_speed : str
        Isothermal speed of sound, such as ``"0.19 km/s"``, from which the thermal motion follows.
    simulation : str
        Name of the run; by default that of the directory that contains the file.

    Raises
    ------
    ReaderError
        If `line_of_sight` or `density_species` is none of its values.

    Examples
    --------
    >>> from stellarfm.readers.fits import PPPReader
    >>> PPPReader(velocities="vx.fits, vy.fits, vz.fits", cell_size="0.01 pc").can_read("absent.fits")
    False
    """

    velocities: str | None = None
    line_of_sight: str | None = None
    density_unit: str | None = None
    velocity_unit: str | None = None
    density_species: str = "H"
    cell_size: str | None = None
    periodic: bool = False
    mass_per_hydrogen: float = MASS_PER_HYDROGEN
    sound_speed: str | None = None
    simulation: str | None = None

    def __post_init__(self) -> None:
        """Check options that take one of a few values."""
        if self.line_of_sight not in (None, "x", "y", "z"):
            raise ReaderError(f"line_of_sight {self.line_of_sight!r}; expected 'x', 'y' or 'z'")
        if self.density_species not in ("H", "H2"):
            raise ReaderError(f"density_species {self.density_species!r}; expected 'H' or 'H2'")

    def can_read(self, path: Path) -> bool:
        """Return True if the first image of the file is a cube without an axis on the sky."""
        return cube_kind(path) == "ppp"

    def read(self, path: Path) -> Snapshot:
        """Read the snapshot in `path`; the cubes stay in the files until they are requested.

        Parameters
        ----------
        path : Path
            FITS file whose first image is the density.

        Raises
        ------
        InputNotFoundError, ReaderError
            If a file is absent or contains no such cube.
        MapError, UnitsError
            If shapes, axes or units do not fit; the message names the remedy.
        """
        path = Path(path)
        with open_fits(path) as (hdus, where):
            density = cube_hdu(hdus)
            if density is None:
                raise ReaderError(f"{where}: not a cube; expected the density as an image with three axes")
            grid = read_grid(density.header, self.cell_size, where=where)
            mass = CubeFile(path, hdus.index(density), self._mass_factor(density, grid.cell, where))
            velocities = self._velocities(hdus, path, grid, where)
        thermal = None
        if self.sound_speed is not None:
            thermal = require_unit(u.Quantity(self.sound_speed), VELOCITY_UNIT, "sound_speed").value
        lower, upper = grid.corners()
        files = {path, *(cube.path for cube in velocities.values())}
        return Snapshot(
            stars=Snapshot.no_stars.copy(),
            gas=UniformGridGas(grid, mass, velocities, thermal=thermal),
            lower=lower,
            upper=upper,
            periodic=(self.periodic,) * 3,
            mass_per_hydrogen=self.mass_per_hydrogen,
            simulation=self.simulation or run_name(path),
            snapshot=snapshot_number(path),
            provenance={"code": "cubes", "reader": "fits-ppp", **file_hashes(files)},
        )

    def _mass_factor(self, hdu: fits.ImageHDU, cell: float, where: str) -> float:
        """Return the factor from the numbers of the density cube to solar masses per cell."""
        check_not_truncated(hdu)
        text = self.density_unit or _unit(hdu.header, where, "density_unit='g cm-3'")
        unit = clean_unit(text)
        if unit.is_equivalent(_MASS_DENSITY):
            return unit.to(_MASS_DENSITY) * cell**3
        if not unit.is_equivalent(_NUMBER_DENSITY):
            raise UnitsError(f"{where}: density in {text!r}; expected a mass or number density, such as g cm-3 or cm-3")
        if named_species(text) not in (None, self.density_species):
            raise UnitsError(f"{where}: {text!r} counts {named_species(text)}; give density_species")
        nuclei = 2 if self.density_species == "H2" else 1
        hydrogen = nuclei * unit.to(_NUMBER_DENSITY) * _NUMBER_DENSITY * self.mass_per_hydrogen * HYDROGEN_MASS
        return hydrogen.to_value(_MASS_DENSITY) * cell**3

    def _velocities(self, hdus: fits.HDUList, path: Path, grid: UniformGrid, where: str) -> dict[str, CubeFile]:
        """Return the velocity cubes by axis: those in the file, or those in the files given by the user."""
        if self.velocities is None:
            return self._velocity_extensions(hdus, path, grid, where)
        files = [path.parent / name.strip() for name in self.velocities.split(",")]
        axes = self.line_of_sight if len(files) == 1 else "xyz"
        if axes is None or len(axes) != len(files):
            raise MapError(
                f"{where}: {len(files)} velocity cubes; expected three (along x, y, z), or one and its line_of_sight"
            )
        cubes = {}
        for axis, file in zip(axes, files, strict=True):
            with open_fits(file) as (opened, name):
                cubes[axis] = self._velocity(opened, cube_hdu(opened), file, grid, name)
        return cubes

    def _velocity_extensions(
        self, hdus: fits.HDUList, path: Path, grid: UniformGrid, where: str
    ) -> dict[str, CubeFile]:
        """Return the velocity cubes in the file of the density, by axis."""
        named = {hdu.name: hdu for hdu in hdus if hdu.is_image}
        keys = {axis: f"VELOCITY_{axis}".upper() for axis in "xyz"}
        keys = {axis: key if key in named else f"V{axis}".upper() for axis, key in keys.items()}
        found = {axis: named[key] for axis, key in keys.items() if key in named}
        if len(found) != 3 and list(found) != [self.line_of_sight]:
            raise ReaderError(
                f"{where}: images {', '.join(named)}; expected VELOCITY_X, VELOCITY_Y and VELOCITY_Z, or one and its "
                "line_of_sight, or separate files, velocities='vx.fits,vy.fits,vz.fits'"
            )
        return {axis: self._velocity(hdus, hdu, path, grid, f"{where}[{hdu.name}]") for axis, hdu in found.items()}

    def _velocity(
        self, hdus: fits.HDUList, hdu: fits.ImageHDU | None, path: Path, grid: UniformGrid, where: str
    ) -> CubeFile:
        """Return a velocity cube, which must have the shape of the density."""
        shape = None if hdu is None else tuple(hdu.shape)
        if hdu is None or shape != grid.shape:
            raise MapError(f"{where}: velocity of shape {shape}; expected {grid.shape}, that of the density")
        check_not_truncated(hdu)
        text = self.velocity_unit or _unit(hdu.header, where, "velocity_unit='km/s'")
        unit = clean_unit(text)
        if not unit.is_equivalent(VELOCITY_UNIT):
            raise UnitsError(f"{where}: unit {text!r} is not a velocity; expected 'km/s' or 'cm/s'")
        return CubeFile(path, hdus.index(hdu), unit.to(VELOCITY_UNIT))


def _unit(header: fits.Header, where: str, example: str) -> str:
    """Return BUNIT as written."""
    text = str(header.get("BUNIT", "")).strip()
    if not text:
        raise UnitsError(f"{where}: BUNIT is missing; give the unit of the values: {example}")
    return text
