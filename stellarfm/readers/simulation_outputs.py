"""Reader of simulation outputs: RAMSES, GIZMO/STARFORGE and the Gadget family, and whatever else yt reads."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from astropy import units as u

from stellarfm.contracts import SimulationReader
from stellarfm.exceptions import InputNotFoundError, ReaderError, SnapshotError, UnitsError
from stellarfm.maps.units import MASS_PER_HYDROGEN
from stellarfm.readers.common.cgs import KMS
from stellarfm.readers.common.options import OutputOptions, parse_cgs
from stellarfm.readers.signatures import family

if TYPE_CHECKING:
    from stellarfm.simulations import Snapshot

__all__ = ["YTReader"]


class YTReader(SimulationReader):
    """Snapshots of RAMSES, of the Gadget family in HDF5 (GIZMO, Arepo, Gadget, EAGLE), and of all codes that yt knows.

    RAMSES sinks and the whole Gadget family are read from the files themselves, because yt misreads their masses or
    units (see the user guide); the gas of RAMSES and everything else comes through yt, chunk by chunk.

    Parameters
    ----------
    label_kind : {"sink", "star"}, optional
        Which mass to take where a file has both (STARFORGE: the star alone by default), or what the masses are where
        the file does not say.
    mass_per_hydrogen : float
        Gas mass per hydrogen nucleus, hydrogen masses. 1.4 is one helium in ten; outputs do not state it.
    unit_length, unit_mass, unit_velocity : str, optional
        Code units, such as ``"1 pc"``, ``"1 Msun"``, ``"1 km/s"``, where the file states none or is wrong.
    particle_type : str, optional
        yt's name of the particles that are stars, where it is not one of the usual ones.
    gamma : float
        Adiabatic index that turns internal energy into thermal motion (Gadget family).
    sound_speed : str, optional
        Isothermal speed of sound, such as ``"0.19 km/s"``, in place of what the file holds.
    periodic : bool, optional
        Whether the box repeats itself, where the file does not say it or is wrong.
    simulation : str, optional
        Name of the run; by default that of the directory that holds the output.

    Raises
    ------
    ReaderError, UnitsError
        If an option makes no sense.
    """

    def __init__(
        self,
        *,
        label_kind: str | None = None,
        mass_per_hydrogen: float = MASS_PER_HYDROGEN,
        unit_length: str | None = None,
        unit_mass: str | None = None,
        unit_velocity: str | None = None,
        particle_type: str | None = None,
        gamma: float = 5 / 3,
        sound_speed: str | None = None,
        periodic: bool | None = None,
        simulation: str | None = None,
    ) -> None:
        if label_kind not in (None, "sink", "star"):
            raise ReaderError(f"label_kind {label_kind!r}; expected 'sink' or 'star'")
        if not gamma > 1:
            raise ReaderError(f"gamma {gamma}; expected an adiabatic index above 1, or give sound_speed")
        units = {"length": (unit_length, u.pc), "mass": (unit_mass, u.solMass), "velocity": (unit_velocity, u.km / u.s)}
        self._options = OutputOptions(
            label_kind=label_kind,
            mass_per_hydrogen=mass_per_hydrogen,
            units={name: parse_cgs(text, f"unit_{name}", unit) for name, (text, unit) in units.items() if text},
            particle_type=particle_type,
            gamma=gamma,
            sound_speed=parse_cgs(sound_speed, "sound_speed", u.km / u.s) / KMS if sound_speed else None,
            periodic=periodic,
            simulation=simulation,
        )

    def can_read(self, path: Path) -> bool:
        """Whether `path` is an output of a code that is known by its files; quick, without yt."""
        return family(Path(path)) is not None

    def read(self, path: Path) -> Snapshot:
        """The snapshot in `path`; its gas stays in the files until it is asked for.

        Parameters
        ----------
        path : Path
            RAMSES: the directory ``output_NNNNN`` or its info file. A snapshot in parts: any of them. Else what yt's
            manual says to load: a parameter file (Enzo), a checkpoint or plot file (FLASH), ``*.athdf`` (Athena++).

        Raises
        ------
        InputNotFoundError, ReaderError
            If the file is absent, foreign, cut short, or its units cannot be established.
        """
        path = Path(path)
        if not path.exists():
            raise InputNotFoundError(f"{path}: no such file; check the path")
        try:
            return _read(path, self._options)
        except (SnapshotError, UnitsError) as error:
            raise ReaderError(f"{path}: {error}") from error


def _read(path: Path, options: OutputOptions) -> Snapshot:
    """Imports here, and not above: `can_read` is asked of every file, and needs neither the projection nor yt."""
    kind = family(path)
    if kind == "ramses":
        from stellarfm.readers.ramses.snapshot import read_ramses

        return read_ramses(path, options)
    if kind == "gadget":
        from stellarfm.readers.gadget.snapshot import read_gadget

        return read_gadget(path, options)
    from stellarfm.readers.yt.dataset import read_dataset

    return read_dataset(path, options)
