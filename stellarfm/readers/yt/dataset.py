"""Outputs of any code that yt reads (Enzo, FLASH, Athena++ and others) as snapshots."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from astropy import units as u
from astropy.table import QTable

from stellarfm.exceptions import ReaderError
from stellarfm.hdf5 import open_hdf5
from stellarfm.readers.common.cgs import KMS, MSUN, MYR, PC
from stellarfm.readers.common.options import OutputOptions
from stellarfm.readers.yt.gas import YTCells, YTParticles
from stellarfm.readers.yt.session import open_yt, quiet_yt
from stellarfm.simulations import GasSource, Snapshot

__all__ = ["dataset_gas", "dataset_stars", "dataset_time", "open_dataset", "physical_box", "read_dataset"]

logger = logging.getLogger("stellarfm")

#: A box smaller than this (pc), a tenth of an astronomical unit, is in code units that the file does not state.
MIN_BOX_SIDE = 5e-7

#: Datasets of yt that are not supported, and the reason.
_UNSUPPORTED = {
    "RAMSESDataset": "one file of a RAMSES output; give its directory",
    "GadgetDataset": "Gadget's binary format states no units; convert it to HDF5 with units in its header",
    "TipsyDataset": "Tipsy's format states no units; convert it to HDF5 with units in its header",
    "FITSDataset": "a FITS image; use the reader 'fits'",
}

#: Particle types that are sinks or stars, as yt's frontends name them.
_SINK_TYPES = ("sink", "sinks", "Sink")
_STAR_TYPES = ("star", "stars", "Stars")


def read_dataset(path: Path, options: OutputOptions) -> Snapshot:
    """Read the output at `path` of any code that yt reads; its gas stays in the files until it is requested.

    Parameters
    ----------
    path : Path
        Path that yt's manual says to load.
    options : OutputOptions
        Reader options.

    Returns
    -------
    Snapshot
        Stars in memory, gas as `YTCells` or `YTParticles`.

    Raises
    ------
    ReaderError
        If yt does not recognize the output, or it is broken, not three-dimensional, or in unknown units.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from stellarfm.readers.common import OutputOptions
    >>> from stellarfm.readers.yt import read_dataset
    >>> with tempfile.TemporaryDirectory() as folder:  # doctest: +IGNORE_EXCEPTION_DETAIL
    ...     read_dataset(Path(folder), OutputOptions())
    Traceback (most recent call last):
    stellarfm.exceptions.ReaderError: yt recognizes no code that writes such files
    """
    _check_not_truncated(path)
    dataset = open_dataset(path, {"units_override": options.yt_units()} if options.units else {})
    for base in type(dataset).__mro__:
        if base.__name__ in _UNSUPPORTED:
            raise ReaderError(f"{path}: {_UNSUPPORTED[base.__name__]}")
    stars, kind = dataset_stars(dataset, path=path, options=options)
    gas = dataset_gas(dataset, path=path, sound_speed=options.sound_speed)
    box = options.box(*physical_box(dataset), periodic=dataset.periodicity)
    identity = options.run_identity(path, _output_files(path), code=type(dataset).__name__.removesuffix("Dataset"))
    return Snapshot(stars=stars, label_kind=kind, gas=gas, time=dataset_time(dataset), **box, **identity)


def _check_not_truncated(path: Path) -> None:
    """Raise `ReaderError` on a truncated HDF5 file, which yt would only report as unrecognized."""
    if not (path.is_file() and h5py.is_hdf5(path)):
        return
    try:
        open_hdf5(path).close()
    except ReaderError:
        raise
    except OSError as error:
        raise ReaderError(f"{path}: a truncated HDF5 file ({error}); fetch it again") from error


def open_dataset(path: Path, options: dict[str, Any]) -> Any:
    """Open the yt dataset at `path` and check that maps can be made of it.

    Parameters
    ----------
    path : Path
        Path that yt's manual says to load.
    options : dict
        Keyword arguments of `yt.load`.

    Raises
    ------
    ReaderError
        If it cannot be read, is not three-dimensional and Cartesian, or its units are unknown.
    """
    dataset = open_yt(path, options)
    if dataset.dimensionality != 3:
        raise ReaderError(f"{path}: {dataset.dimensionality} dimensions; expected a simulation in three")
    geometry = str(getattr(dataset.geometry, "value", dataset.geometry))
    if geometry != "cartesian":
        raise ReaderError(f"{path}: {geometry} coordinates; expected Cartesian ones: resample the output")
    lower, upper = physical_box(dataset)
    if (side := np.max(upper - lower)) < MIN_BOX_SIDE:
        raise ReaderError(
            f"{path}: a box of {side:.2g} pc: the file states no units, and yt assumes cgs; "
            f"give unit_length, unit_mass, unit_velocity, such as '1 pc', '1 Msun', '1 km/s'"
        )
    return dataset


def _output_files(path: Path) -> list[Path]:
    """Return the files of an output: all in its directory, or those whose names begin with that of `path` (Enzo)."""
    if path.is_dir():
        return [file for file in path.rglob("*") if file.is_file()]
    return [file for file in path.parent.iterdir() if file.name.startswith(path.name) and file.is_file()]


def physical_box(dataset: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the corners of the box, pc."""
    return dataset.domain_left_edge.to_value("cm") / PC, dataset.domain_right_edge.to_value("cm") / PC


def dataset_time(dataset: Any) -> u.Quantity:
    """Return the time since the start, Myr."""
    return float(dataset.current_time.to_value("s")) / MYR * u.Myr


def dataset_gas(dataset: Any, *, path: Path, sound_speed: float | None) -> GasSource | None:
    """Return the gas: cells of a mesh, or else particles with a density; None if there is neither."""
    with quiet_yt(path):
        fields = set(dataset.derived_field_list)
        is_mesh = ("index", "dx") in fields and not getattr(dataset, "_sph_ptypes", ())
        if is_mesh and ("gas", "density") in fields:
            return YTCells(dataset, path=path, sound_speed=sound_speed)
        for kind in (*getattr(dataset, "_sph_ptypes", ()), "gas", "Gas", "PartType0", "io"):
            if {(kind, "density"), (kind, "particle_mass"), (kind, "particle_position")} <= fields:
                return YTParticles(dataset, path=path, particle_type=kind, sound_speed=sound_speed)
    logger.info("%s: no gas in this output", path)
    return None


def dataset_stars(dataset: Any, *, path: Path, options: OutputOptions) -> tuple[QTable, str | None]:
    """Return the table of stars and the label kind of their masses; if yt finds none, an empty table, which is logged.

    Raises
    ------
    ReaderError
        If the particle type given by the user is not in the output, or has no masses.
    """
    star_type, kind = options.particle_type, None
    with quiet_yt(path):
        known = sorted({kind for kind, name in dataset.derived_field_list if name == "particle_mass"})
        if star_type is None:
            star_type, kind = _star_type(dataset, known)
        elif star_type not in known:
            raise ReaderError(f"{path}: no particles {star_type!r} with masses; expected one of {', '.join(known)}")
        table = Snapshot.no_stars if star_type is None else _read_stars(dataset, star_type)
    if not len(table):
        logger.info("%s: no stars in this output (particles: %s); give positions", path, ", ".join(known) or "none")
        return Snapshot.no_stars, None
    return table, options.label_kind or kind


def _star_type(dataset: Any, known: list[str]) -> tuple[str | None, str | None]:
    """Return the particle type of the stars, and their label kind."""
    sinks = [kind for kind in _SINK_TYPES if kind in known]
    stars = [kind for kind in _STAR_TYPES if kind in known]
    if sinks:
        return sinks[0], "sink"
    if stars:
        return stars[0], None
    fields = set(dataset.field_list)
    if ("io", "particle_old_pmass") in fields or ("io", "particle_accr_rate") in fields:
        return "io", "sink"  # FLASH's sink unit (Federrath et al. 2010)
    return ("io", None) if _is_enzo(dataset) and ("io", "particle_type") in fields else (None, None)


def _is_enzo(dataset: Any) -> bool:
    """Return True for Enzo, which stores stars together with dark matter."""
    return str(dataset.dataset_type).startswith("enzo_packed")


#: Enzo's ``particle_type`` of stars of every kind (2 normal, 4 sinks, 5 Population III, 7 clusters).
_ENZO_STARS = (2, 4, 5, 7)


def _read_stars(dataset: Any, kind: str) -> QTable:
    """Read the stars among the particles of type `kind`."""
    data, fields = dataset.all_data(), set(dataset.derived_field_list)
    selected: np.ndarray | slice = slice(None)
    if _is_enzo(dataset) and (kind, "particle_type") in dataset.field_list:
        selected = np.isin(np.asarray(data[kind, "particle_type"]), _ENZO_STARS)
    position = data[kind, "particle_position"].to_value("cm")[selected] / PC
    table = QTable({"star": _star_ids(data, kind, fields, selected, len(position))})
    table["mass"] = data[kind, "particle_mass"].to_value("g")[selected] / MSUN * u.solMass
    for i, axis in enumerate("xyz"):
        table[axis] = position[:, i] * u.pc
        if (kind, f"particle_velocity_{axis}") in fields:
            velocity = data[kind, f"particle_velocity_{axis}"].to_value("cm/s")[selected]
            table[f"v{axis}"] = velocity / KMS * u.km / u.s
    if (kind, "age") in fields:
        table["age"] = data[kind, "age"].to_value("s")[selected] / MYR * u.Myr
    return table


def _star_ids(data: Any, kind: str, fields: set, selected: np.ndarray | slice, n: int) -> np.ndarray:
    """Return particle numbers, unique ones if there are any, or the order in the file if particles have no numbers."""
    names = ("particle_index", "particle_identity", "particle_identifier", "particle_tag")
    stored = [np.asarray(data[kind, name])[selected].astype(np.int64) for name in names if (kind, name) in fields]
    if not stored:
        logger.warning("%s: particles %r have no numbers and cannot be followed to other snapshots", data.ds, kind)
        return np.arange(n)
    return next((numbers for numbers in stored if len(np.unique(numbers)) == n), stored[0])
