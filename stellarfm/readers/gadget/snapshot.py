"""Snapshots of the Gadget family: sinks of GIZMO/STARFORGE, star particles of other codes, and gas."""

from __future__ import annotations

import logging
from pathlib import Path

import h5py
import numpy as np
from astropy import units as u
from astropy.table import QTable, vstack

from stellarfm.exceptions import ReaderError
from stellarfm.readers.common.cgs import KMS, MSUN, PC, YEAR
from stellarfm.readers.common.options import OutputOptions
from stellarfm.readers.gadget.files import GadgetFiles, find_field
from stellarfm.readers.gadget.gas import GadgetGas
from stellarfm.simulations import Snapshot
from stellarfm.simulations.gas import BLOCK_SIZE

__all__ = ["read_gadget"]

logger = logging.getLogger("stellarfm")

#: Particle type -> names of its time of formation.
_FORMATION = {"PartType5": ("ProtoStellarAge",), "PartType4": ("StellarFormationTime", "GFM_StellarFormationTime")}


def read_gadget(path: Path, options: OutputOptions) -> Snapshot:
    """Read the snapshot to which `path` belongs; its gas stays in the files until it is requested.

    Parameters
    ----------
    path : Path
        The snapshot, or any of its files.
    options : OutputOptions
        Reader options.

    Returns
    -------
    Snapshot
        Stars in memory, gas as a `GadgetGas`.

    Raises
    ------
    InputNotFoundError, ReaderError
        If the file is absent or truncated, or its units or masses cannot be established.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import h5py
    >>> from stellarfm.readers.common import OutputOptions
    >>> from stellarfm.readers.gadget import read_gadget
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "snapshot_004.hdf5"
    ...     with h5py.File(path, "w") as file:
    ...         header = {"NumPart_ThisFile": [0] * 6, "BoxSize": 10.0, "Time": 0.0}
    ...         file.create_group("Header").attrs.update(header)
    ...     units = {"length": 3.086e18, "mass": 1.989e33, "velocity": 1e5}
    ...     read_gadget(path, OutputOptions(units=units)).snapshot
    4
    """
    files = GadgetFiles.find(path, options.units)
    lower, upper = _box(files)
    stars, kind = _stars(files, options.label_kind)
    box = options.box(lower, upper, periodic=[np.all(files.box > 0)] * 3)
    gas = None
    if files.count(0):
        gas = GadgetGas(files, lower=lower, upper=upper, periodic=box["periodic"], options=options)
    else:
        logger.info("%s: holds no gas (its header counts %d gas particles)", path, files.header_count(0))
    if not len(stars):
        logger.info("%s: holds no stars; give positions", path)
    identity = options.run_identity(path, files.paths, code=files.code)
    return Snapshot(stars=stars, label_kind=kind, gas=gas, time=files.time, **box, **identity)


def _box(files: GadgetFiles) -> tuple[np.ndarray, np.ndarray]:
    """Return the corners of the box, pc; around all particles if the header has no box size (open boundaries)."""
    if np.all(files.box > 0):
        return np.zeros(3), files.box * _length_factor(files) / PC
    corners = [_corners(files, path) for path in files.paths]
    lower, upper = np.min([c[0] for c in corners], axis=0), np.max([c[1] for c in corners], axis=0)
    if not np.all(np.isfinite(upper - lower)):
        raise ReaderError(f"{files.path}: no BoxSize in the header and no particles; expected either")
    margin = 1e-6 * np.max(upper - lower) + 1e-12
    return (lower - margin) / PC, (upper + margin) / PC


def _length_factor(files: GadgetFiles) -> float:
    """Return the code length in cgs, from the header or from any dataset of positions."""
    for path in files.paths:
        with files.open(path) as file:
            groups = [group for name, group in file.items() if name.startswith("PartType") and "Coordinates" in group]
            return files.units.factor("length", groups[0]["Coordinates"] if groups else None)
    raise AssertionError("a snapshot has at least one file")


def _corners(files: GadgetFiles, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return the corners of the smallest box around gas, stars and sinks of one file, cm."""
    lower, upper = np.full(3, np.inf), np.full(3, -np.inf)
    with files.open(path) as file:
        for name in sorted(name for name in file if name in ("PartType0", "PartType4", "PartType5")):
            dataset = find_field(file[name], "position")
            for start in range(0, len(dataset), BLOCK_SIZE):
                position = files.read_cgs(dataset, "length", slice(start, start + BLOCK_SIZE))
                lower, upper = np.minimum(lower, position.min(0)), np.maximum(upper, position.max(0))
    return lower, upper


def _stars(files: GadgetFiles, label_kind: str | None) -> tuple[QTable, str | None]:
    """Return the table of stars, perhaps empty, and the label kind of their masses.

    ``PartType5`` are sinks unless the run is comoving, where they are black holes: ``BH_Mass`` is the star,
    ``Masses`` star and reservoir (STARFORGE; Grudic et al. 2021). ``PartType4`` are star particles, usually whole
    populations, so their masses have no label kind unless `label_kind` is given.
    """
    if not files.units.comoving and files.count(5):
        return _sinks(files, label_kind)
    if files.count(4):
        if label_kind is None:
            logger.info("%s: star particles may be whole populations; their masses get no label kind", files.path)
        return _tables(files, "PartType4", None), label_kind
    return Snapshot.no_stars, None


def _sinks(files: GadgetFiles, label_kind: str | None) -> tuple[QTable, str | None]:
    """Return the sinks that hold a star, and the label kind of their masses."""
    with files.open(files.paths[0]) as file:
        has_stars = "PartType5" not in file or "BH_Mass" in file["PartType5"]
    kind = label_kind or ("star" if has_stars else "sink")
    if kind == "star" and not has_stars:
        raise ReaderError(f"{files.path}: no BH_Mass, so no masses of the stars alone; use label_kind='sink'")
    table = _tables(files, "PartType5", "BH_Mass" if kind == "star" else None)
    massive = table["mass"] > 0
    if not massive.all():
        logger.info("%s: %d sinks hold no star yet and are omitted", files.path, np.sum(~massive))
    return table[massive], kind


def _tables(files: GadgetFiles, name: str, mass: str | None) -> QTable:
    """Return the stars of all files; arguments as for `_table`."""
    tables = []
    for path in files.paths:
        with files.open(path) as file:
            if name in file and len(file[name]):
                tables.append(_table(files, file[name], int(name[-1]), mass))
    table = vstack(tables, metadata_conflicts="silent")
    if "star" not in table.colnames:
        logger.warning("%s: stars have no ParticleIDs and cannot be followed to other snapshots", files.path)
        table.add_column(np.arange(len(table)), name="star", index=0)
    return table


def _table(files: GadgetFiles, group: h5py.Group, particle_type: int, mass: str | None) -> QTable:
    """Return the stars of one file; `mass` is the dataset to use instead of the particle masses."""
    position = files.read_cgs(find_field(group, "position"), "length") / PC
    velocity = files.read_cgs(find_field(group, "velocity"), "velocity") / KMS
    grams = files.masses(group, particle_type) if mass is None else files.read_cgs(group[mass], "mass")
    table = QTable()
    if "ParticleIDs" in group:
        table["star"] = group["ParticleIDs"][()].astype(np.int64)  # may be shared by fragments of one gas particle
    table["mass"] = grams / MSUN * u.solMass
    for i, axis in enumerate("xyz"):
        table[axis], table[f"v{axis}"] = position[:, i] * u.pc, velocity[:, i] * u.km / u.s
    if "BH_Mdot" in group:
        rate = files.read_cgs(group["BH_Mdot"], "accretion rate") * YEAR / MSUN
        table["accretion_rate"] = rate * u.solMass / u.yr
    return _with_age(files, group, table)


def _with_age(files: GadgetFiles, group: h5py.Group, table: QTable) -> QTable:
    """Add the age and drop wind particles, which TNG stores among the stars with a negative formation time."""
    name = next((name for name in _FORMATION[group.name.strip("/")] if name in group), None)
    if name is None:
        return table
    formed = group[name][()].astype(float)
    now = files.time
    if files.units.comoving:
        table, formed = table[formed > 0], formed[formed > 0]
    table["age"] = now - files.units.time(formed)
    return table
