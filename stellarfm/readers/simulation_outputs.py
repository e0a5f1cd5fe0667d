"""Outputs of simulation codes: the format of a path, detected quickly and without yt, and the reader of all of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from astropy import units as u

from stellarfm.contracts import SimulationReader
from stellarfm.exceptions import InputNotFoundError, ReaderError, SnapshotError, UnitsError
from stellarfm.hdf5 import open_hdf5
from stellarfm.maps.units import MASS_PER_HYDROGEN
from stellarfm.readers.common.cgs import KMS
from stellarfm.readers.common.options import OutputOptions, parse_cgs
from stellarfm.readers.gadget.files import is_gadget
from stellarfm.readers.ramses.output import is_ramses

if TYPE_CHECKING:
    from stellarfm.simulations import Snapshot

__all__ = ["HDF5_SIGNATURE", "YTReader", "detect_format"]

#: First bytes of an HDF5 file.
HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"


@dataclass(kw_only=True, eq=False)
class YTReader(SimulationReader):
    """Reader of RAMSES, of the Gadget family in HDF5 (GIZMO, Arepo, Gadget, EAGLE), and of all codes that yt knows.

    RAMSES sinks and the whole Gadget family are read from the files themselves, because yt misreads their masses or
    units (see the user guide); the gas of RAMSES and everything else comes through yt, chunk by chunk.

    Parameters
    ----------
    label_kind : {"sink", "star"}, optional
        Mass to read where a file has both (STARFORGE: that of the star alone by default), or meaning of the masses
        where the file does not state it.
    mass_per_hydrogen : float
        Gas mass per hydrogen nucleus, in hydrogen masses. 1.4 is one helium in ten; outputs do not state it.
    unit_length, unit_mass, unit_velocity : str, optional
        Code units, such as ``"1 pc"``, ``"1 Msun"``, ``"1 km/s"``, in place of missing or wrong ones in the file.
    particle_type : str, optional
        Name in yt of the particles that are stars, if it is not one of the common ones.
    gamma : float
        Adiabatic index that converts internal energy to thermal motion (Gadget family).
    sound_speed : str, optional
        Isothermal speed of sound, such as ``"0.19 km/s"``, in place of the temperatures in the file.
    periodic : bool, optional
        Periodicity of the box, in place of a missing or wrong one in the file.
    simulation : str, optional
        Name of the run; by default that of the directory that contains the output.

    Raises
    ------
    ReaderError, UnitsError
        If an option is invalid.

    Examples
    --------
    >>> from pathlib import Path
    >>> from stellarfm.readers.simulation_outputs import YTReader
    >>> YTReader(label_kind="sink", unit_length="1 pc").can_read(Path("absent"))
    False
    """

    label_kind: str | None = None
    mass_per_hydrogen: float = MASS_PER_HYDROGEN
    unit_length: str | None = None
    unit_mass: str | None = None
    unit_velocity: str | None = None
    particle_type: str | None = None
    gamma: float = 5 / 3
    sound_speed: str | None = None
    periodic: bool | None = None
    simulation: str | None = None

    def __post_init__(self) -> None:
        """Check the options."""
        if self.label_kind not in (None, "sink", "star"):
            raise ReaderError(f"label_kind {self.label_kind!r}; expected 'sink' or 'star'")
        if not self.gamma > 1:
            raise ReaderError(f"gamma {self.gamma}; expected an adiabatic index above 1, or use sound_speed")
        units = {
            "length": (self.unit_length, u.pc),
            "mass": (self.unit_mass, u.solMass),
            "velocity": (self.unit_velocity, u.km / u.s),
        }
        self._options = OutputOptions(
            label_kind=self.label_kind,
            mass_per_hydrogen=self.mass_per_hydrogen,
            units={name: parse_cgs(text, f"unit_{name}", unit) for name, (text, unit) in units.items() if text},
            particle_type=self.particle_type,
            gamma=self.gamma,
            sound_speed=parse_cgs(self.sound_speed, "sound_speed", u.km / u.s) / KMS if self.sound_speed else None,
            periodic=self.periodic,
            simulation=self.simulation,
        )

    def can_read(self, path: Path) -> bool:
        """Return True if `path` is an output of a code that is recognized by its files; quick, without yt."""
        return detect_format(Path(path)) is not None

    def read(self, path: Path) -> Snapshot:
        """Read the snapshot in `path`; its gas remains in the files until it is requested.

        Parameters
        ----------
        path : Path
            For RAMSES, the directory ``output_NNNNN`` or its info file. For a snapshot in parts, any of them. Otherwise
            the path that the manual of yt states: a parameter file (Enzo), a checkpoint or plot file (FLASH),
            ``*.athdf`` (Athena++).

        Raises
        ------
        InputNotFoundError, ReaderError
            If the file is absent, foreign, truncated, or its units cannot be established.
        """
        path = Path(path)
        if not path.exists():
            raise InputNotFoundError(f"{path}: no such file; check the path")
        try:
            return self._read(path)
        except (SnapshotError, UnitsError) as error:
            raise ReaderError(f"{path}: {error}") from error

    def _read(self, path: Path) -> Snapshot:
        """Import the projection and yt only now: `can_read`, which is called for every file, needs neither."""
        code = detect_format(path)
        if code == "ramses":
            from stellarfm.readers.ramses.snapshot import read_ramses

            return read_ramses(path, self._options)
        if code == "gadget":
            from stellarfm.readers.gadget.snapshot import read_gadget

            return read_gadget(path, self._options)
        from stellarfm.readers.yt.dataset import read_dataset

        return read_dataset(path, self._options)


def detect_format(path: Path) -> str | None:
    """Return the format of a simulation output by its first bytes and names; never raises.

    Parameters
    ----------
    path : Path
        File or directory.

    Returns
    -------
    {"ramses", "gadget", "yt"} or None
        ``"yt"`` for other codes that yt reads. None for the HDF5 files of stellarfm and for formats that cannot be
        recognized cheaply; for the latter, name the reader explicitly.
    """
    try:
        if is_ramses(path):
            return "ramses"
        if path.is_dir():  # AMReX codes write directories with a Header and levels
            return "yt" if (path / "Header").is_file() and (path / "Level_0").is_dir() else None
        with path.open("rb") as file:
            start = file.read(2048)
        if start.startswith(HDF5_SIGNATURE):
            return "gadget" if is_gadget(path) else "yt" if _is_known_hdf5(path) else None
        # An Enzo output is a parameter file and a hierarchy next to it.
        enzo = b"InitialCycleNumber" in start and path.with_name(f"{path.name}.hierarchy").is_file()
        return "yt" if enzo or start.startswith(b"# vtk DataFile") else None
    except (OSError, RuntimeError, ValueError, UnicodeDecodeError):
        return None


def _is_known_hdf5(path: Path) -> bool:
    """Return True for FLASH, Athena++, Chombo, GAMER and SWIFT, recognized by entries that only they write."""
    with open_hdf5(path) as file:
        names, attributes = set(file), set(file.attrs)
        if "schema" in attributes:
            return False
        swift = "Header" in file and file["Header"].attrs.get("Code") in (b"SWIFT", "SWIFT")
    return (
        {"bounding box", "node type", "refine level"} <= names
        or {"NumMeshBlocks", "RootGridSize"} <= attributes
        or {"Chombo_global", "level_0"} <= names
        or {"Info", "Tree", "GridData"} <= names
        or swift
    )
