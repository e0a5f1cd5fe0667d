"""Any output that yt knows, as a snapshot: what is common to Enzo, FLASH, Athena++ and all others."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from astropy import units as u
from astropy.table import QTable

from stellarfm.exceptions import ReaderError
from stellarfm.readers.common.cgs import KMS, MSUN, MYR, PC
from stellarfm.readers.common.options import Choices
from stellarfm.readers.yt.gas import YTCells, YTParticles
from stellarfm.readers.yt.session import open_yt, quiet_yt
from stellarfm.simulations import GasSource, Snapshot

__all__ = ["dataset_gas", "dataset_stars", "dataset_time", "open_dataset", "physical_box", "read_dataset"]

logger = logging.getLogger("stellarfm")

#: No simulation of star formation fits into a tenth of an astronomical unit: such a box is in units that nobody stated.
SMALLEST_BOX = 5e-7

#: Datasets of yt that are not taken as they are, and why.
_REFUSED = {
    "RAMSESDataset": "one file of a RAMSES output; name its directory",
    "GadgetDataset": "Gadget's binary format states no units; convert it to HDF5 with units in its header",
    "TipsyDataset": "Tipsy's format states no units; convert it to HDF5 with units in its header",
    "FITSDataset": "FITS images are not for yt; use the reader 'fits'",
}

#: Particle types that are sinks or stars, as yt's frontends name them.
_SINK_TYPES = ("sink", "sinks", "Sink")
_STAR_TYPES = ("star", "stars", "Stars")


def read_dataset(path: Path, choices: Choices) -> Snapshot:
    """The output at `path` of any code that yt knows.

    Raises
    ------
    ReaderError
        If yt does not know it, it is broken, not three-dimensional, or its units are unknown.
    """
    _check_whole(path)
    dataset = open_dataset(path, {"units_override": choices.yt_units()} if choices.units else {})
    for base in type(dataset).__mro__:
        if base.__name__ in _REFUSED:
            raise ReaderError(f"{path}: {_REFUSED[base.__name__]}")
    lower, upper = physical_box(dataset)
    stars, kind = dataset_stars(dataset, path=path, choices=choices)
    gas = dataset_gas(dataset, path=path, sound_speed=choices.sound_speed)
    return Snapshot(
        stars=stars,
        label_kind=kind,
        gas=gas,
        lower=lower * u.pc,
        upper=upper * u.pc,
        periodic=choices.periodicity(dataset.periodicity),
        time=dataset_time(dataset),
        **choices.identity(path, _files(path), code=type(dataset).__name__.removesuffix("Dataset")),
    )


def _check_whole(path: Path) -> None:
    """Refuse a truncated HDF5 file as such: to yt it is of no code at all."""
    if not (path.is_file() and h5py.is_hdf5(path)):
        return
    try:
        h5py.File(path).close()
    except OSError as error:
        raise ReaderError(f"{path}: a truncated HDF5 file ({error}); fetch it again") from error


def open_dataset(path: Path, options: dict[str, Any]) -> Any:
    """The yt dataset at `path`, after refusing what no map can be made of; `options` are those of `yt.load`.

    Raises
    ------
    ReaderError
        If it cannot be read, is not three-dimensional and Cartesian, or its units are unknown.
    """
    dataset = open_yt(path, options)
    if dataset.dimensionality != 3:
        raise ReaderError(f"{path}: {dataset.dimensionality} dimensions; expected a simulation of three")
    geometry = str(getattr(dataset.geometry, "value", dataset.geometry))
    if geometry != "cartesian":
        raise ReaderError(f"{path}: {geometry} coordinates; expected Cartesian ones: resample it")
    lower, upper = physical_box(dataset)
    if (side := np.max(upper - lower)) < SMALLEST_BOX:
        raise ReaderError(
            f"{path}: a box of {side:.2g} pc: the file states no units, and yt takes them as cgs; "
            f"give unit_length, unit_mass, unit_velocity, such as '1 pc', '1 Msun', '1 km/s'"
        )
    return dataset


def _files(path: Path) -> list[Path]:
    """The files of an output: all in a directory, or those that begin with the name of the one given (Enzo)."""
    if path.is_dir():
        return [file for file in path.rglob("*") if file.is_file()]
    return [file for file in path.parent.iterdir() if file.name.startswith(path.name) and file.is_file()]


def physical_box(dataset: Any) -> tuple[np.ndarray, np.ndarray]:
    """Corners of the box, pc."""
    return dataset.domain_left_edge.to_value("cm") / PC, dataset.domain_right_edge.to_value("cm") / PC


def dataset_time(dataset: Any) -> u.Quantity:
    """Time since the start, Myr."""
    return float(dataset.current_time.to_value("s")) / MYR * u.Myr


def dataset_gas(dataset: Any, *, path: Path, sound_speed: float | None) -> GasSource | None:
    """Its gas: cells of a mesh, else particles with a density; None if there is neither."""
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


def dataset_stars(dataset: Any, *, path: Path, choices: Choices) -> tuple[QTable, str | None]:
    """Stars and what their mass means; an empty table where yt knows none, and the log says so.

    Raises
    ------
    ReaderError
        If the type of particle that the user names is not in the output, or has no masses.
    """
    named = choices.particle_type
    with quiet_yt(path):
        known = sorted({kind for kind, name in dataset.derived_field_list if name == "particle_mass"})
        if named is not None and named not in known:
            raise ReaderError(f"{path}: no particles {named!r} with masses; expected one of {', '.join(known)}")
        chosen, kind = _chosen(dataset, known) if named is None else (named, None)
        table = Snapshot.no_stars if chosen is None else _table(dataset, chosen, _selected(dataset, chosen))
    if not len(table):
        logger.info("%s: no stars in this output (particles: %s); give positions", path, ", ".join(known) or "none")
        return Snapshot.no_stars, None
    return table, choices.label_kind or kind


def _chosen(dataset: Any, known: list[str]) -> tuple[str | None, str | None]:
    """The type of particle that is a star, and its label kind."""
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
    return str(dataset.dataset_type).startswith("enzo_packed")


#: Enzo's ``particle_type`` of stars of every kind (2 normal, 4 sinks, 5 Population III, 7 clusters, 8 black holes).
_ENZO_STARS = (2, 4, 5, 7)


def _selected(dataset: Any, kind: str) -> np.ndarray | slice:
    """Which particles of a type are stars: Enzo keeps them with dark matter, and numbers what is what."""
    if not _is_enzo(dataset) or (kind, "particle_type") not in dataset.field_list:
        return slice(None)
    return np.isin(np.asarray(dataset.all_data()[kind, "particle_type"]), _ENZO_STARS)


def _table(dataset: Any, kind: str, chosen: np.ndarray | slice) -> QTable:
    data, fields = dataset.all_data(), set(dataset.derived_field_list)
    position = data[kind, "particle_position"].to_value("cm")[chosen] / PC
    table = QTable({"star": _names(data, kind, fields, chosen, len(position))})
    table["mass"] = data[kind, "particle_mass"].to_value("g")[chosen] / MSUN * u.solMass
    for i, axis in enumerate("xyz"):
        table[axis] = position[:, i] * u.pc
        if (kind, f"particle_velocity_{axis}") in fields:
            velocity = data[kind, f"particle_velocity_{axis}"].to_value("cm/s")[chosen]
            table[f"v{axis}"] = velocity / KMS * u.km / u.s
    if (kind, "age") in fields:
        table["age"] = data[kind, "age"].to_value("s")[chosen] / MYR * u.Myr
    return table


def _names(data: Any, kind: str, fields: set, chosen: np.ndarray | slice, n: int) -> np.ndarray:
    """Particle numbers where they are unique, else their order in the file."""
    for name in ("particle_index", "particle_identity", "particle_identifier", "particle_tag"):
        if (kind, name) in fields:
            numbers = np.asarray(data[kind, name])[chosen].astype(np.int64)
            if len(np.unique(numbers)) == n:
                return numbers
    return np.arange(n)
