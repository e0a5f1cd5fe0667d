"""Projection of one snapshot file, in this process or on another machine that sees the same files."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from threading import Lock

import numpy as np
from astropy.table import Column

from stellarfm.batch.settings import ProjectionSettings
from stellarfm.exceptions import SnapshotError, UnitsError
from stellarfm.maps import MapSet
from stellarfm.maps.units import check_plausible
from stellarfm.readers.loading import read_snapshot
from stellarfm.simulations import Snapshot, project

__all__ = ["project_file"]

logger = logging.getLogger("stellarfm")

#: One snapshot at a time per process: readers (yt) are not thread-safe, and `project` uses all cores itself.
_alone = Lock()


def project_file(path: Path, part: Path, settings: ProjectionSettings, threads: int | None = None) -> int:
    """Read a snapshot, select its stars, project it and write the maps.

    Parameters
    ----------
    path : Path
        Snapshot.
    part : Path
        Map set to write; an empty file if no star is selected.
    settings : ProjectionSettings
        Settings of reading, selection and projection.
    threads : int, optional
        Number of threads of the projection; all cores by default.

    Returns
    -------
    int
        Number of windows.

    Raises
    ------
    StellarFMError
        If the snapshot cannot be read or projected; the message names it.
    """
    with _alone:
        try:
            maps = _maps(path, settings, threads)
        except SnapshotError as error:
            raise SnapshotError(str(error) if str(path) in str(error) else f"{path}: {error}") from error
        if maps is None:
            logger.info("%s: no star to map; skipped", path)
            part.touch()
            return 0
        maps.write(part, overwrite=True)
        return len(maps)


def _maps(path: Path, settings: ProjectionSettings, threads: int | None) -> MapSet | None:
    """Return the windows of one snapshot; None if it has gas but no selected star."""
    snapshot = read_snapshot(
        path,
        reader=settings.reader,
        options=settings.reader_options,
        simulation=settings.simulation,
        label_kind=settings.label_kind if settings.positions is None else None,
    )
    snapshot = _selected(snapshot, settings, path)
    if snapshot.gas is not None and not len(snapshot.stars):
        return None
    maps = project(
        snapshot,
        width=settings.width,
        depth=settings.depth,
        pixels=settings.pixels,
        axes=settings.axes,
        directions=settings.directions,
        seed=settings.seed,
        snap=settings.snap,
        thermal=settings.thermal,
        threads=threads,
    )
    _check_scale(maps, path)
    _warn_of_coarse_gas(maps, path)
    maps.stars["source"] = Column(np.full(len(maps), path.name))
    return maps


def _check_scale(maps: MapSet, path: Path) -> None:
    """Raise an error if the column density is implausibly low, before the windows are kept."""
    try:
        check_plausible(maps.column_density, where=str(path))
    except UnitsError as error:
        median, width = np.nanmedian(maps.column_density), maps.pixel_scale * maps.column_density.shape[-1]
        raise SnapshotError(
            f"{path}: the median column density of windows of {width:.3g} is {median:.3g}; "
            "expected gas dense enough to hide a star: check width= and the units of the simulation"
        ) from error


def _warn_of_coarse_gas(maps: MapSet, path: Path) -> None:
    """Log a warning if the windows are barely resolved by the simulation."""
    if maps.cell_size is None:
        return
    size, width = np.nanmedian(maps.cell_size), maps.pixel_scale * maps.column_density.shape[-1]
    if size > width / 4:
        facts = f"gas is resolved to {size:.3g} only, windows are {width:.3g} wide"
        logger.warning("%s: %s; increase width=", path, facts)


def _selected(snapshot: Snapshot, settings: ProjectionSettings, path: Path) -> Snapshot:
    """Return the snapshot with the selected stars."""
    if settings.positions is not None:
        kind = settings.label_kind if "mass" in settings.positions.colnames else None
        return replace(snapshot, stars=settings.positions, label_kind=kind)
    if settings.minimum_mass is None or not len(snapshot.stars):
        return snapshot
    if "mass" not in snapshot.stars.colnames:
        raise SnapshotError(f"{path}: its stars have no masses; leave minimum_mass out")
    return replace(snapshot, stars=snapshot.stars[snapshot.stars["mass"] >= settings.least_mass()])
