"""Projection of a snapshot: maps of the gas around every star along every line of sight, in one pass over the gas."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from numbers import Integral

import numpy as np
from astropy import units as u
from astropy.table import QTable
from numpy.typing import ArrayLike

from stellarfm import __version__
from stellarfm.exceptions import SnapshotError
from stellarfm.maps import MapSet
from stellarfm.maps.units import parse_length, require_unit
from stellarfm.parallel import available_cores
from stellarfm.simulations.deposition.moments import gather, maps_of
from stellarfm.simulations.lines_of_sight import axis_frames, direction_frames
from stellarfm.simulations.snapshot import Snapshot
from stellarfm.simulations.windows import Box, Windows, check, snapped, visible

__all__ = ["project"]

logger = logging.getLogger("stellarfm")


def project(
    snapshot: Snapshot,
    *,
    positions: u.Quantity | None = None,
    width: u.Quantity | str = "0.5 pc",
    depth: u.Quantity | str | None = None,
    pixels: int = 64,
    axes: str = "xyz",
    directions: int | ArrayLike | None = None,
    seed: int = 0,
    snap: bool = False,
    thermal: bool = False,
    cell_size: bool = True,
    threads: int | None = None,
) -> MapSet:
    """Return maps of the gas around each star: column density, mean velocity and velocity dispersion.

    Mass is conserved: cells are cut exactly at the borders of pixels and of the window, whatever the line of sight;
    particles are spread by the integral of their kernel over each pixel. The user guide describes the mathematics.

    Parameters
    ----------
    snapshot : Snapshot
        Snapshot with gas.
    positions : Quantity, optional
        Centers of windows, shape (K, 3), in place of the stars; they are numbered from 1 and have no mass.
    width, depth : Quantity or str
        Side of a window on the sky, and its length along the line of sight (default: `width`).
    pixels : int
        Number of pixels along a side.
    axes : str
        Lines of sight along box axes, letters out of ``"xyz"``. A map's first index runs along the first of the two
        remaining axes.
    directions : array_like or int, optional
        Lines of sight in place of `axes`, the same for all stars: vectors of shape (M, 3) that point away from the
        observer (the sense of positive velocities), or the number of random ones. Box z is up, see
        `stellarfm.simulations.lines_of_sight.direction_frames`.
    seed : int
        Seed of the random directions.
    snap : bool
        Whether pixels lie on a grid over the box, with the star in cell ``pixels // 2``, and not around the star as
        exact center; see `stellarfm.simulations.windows.snapped`.
    thermal : bool
        Whether the thermal velocity dispersion of the gas is added in quadrature.
    cell_size : bool
        Whether the mass-weighted size of cells or kernels is mapped too.
    threads : int, optional
        Number of threads; all cores by default. Results do not depend on it.

    Returns
    -------
    MapSet
        Windows in float32: all lines of sight of the first star, then of the next. Velocities are in the frame of the
        box. Pixels are NaN without gas and where the line of sight leaves a box that is not periodic. The table has the
        columns of the stars and ``simulation``, ``snapshot``, ``time``, ``axis`` (a letter, or the number of the
        direction), ``los_x``, ``los_y``, ``los_z`` (the direction) and ``coverage`` (fraction of the window inside the
        box).

    Raises
    ------
    SnapshotError
        If there is no gas, no star, a star outside the box, a window larger than a periodic box, or an invalid option.
    UnitsError
        If a length has no unit or a wrong one.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy import units as u
    >>> from astropy.table import QTable
    >>> from stellarfm.simulations import GasBlock, InMemoryGas, Snapshot, project
    >>> block = GasBlock(np.full((1, 3), 0.5), size=[1.0], mass=[100.0], velocity=[[0.0, 0.0, 2.0]])
    >>> stars = QTable({"star": [1], "x": [0.5] * u.pc, "y": [0.5] * u.pc, "z": [0.5] * u.pc})
    >>> snapshot = Snapshot(stars=stars, gas=InMemoryGas(block), lower=[0, 0, 0] * u.pc, upper=[1, 1, 1] * u.pc)
    >>> maps = project(snapshot, width="0.5 pc", pixels=8, axes="z")
    >>> maps.column_density.shape, float(maps.velocity[0, 4, 4].value)
    ((1, 8, 8), 2.0)
    """
    if snapshot.gas is None:
        raise SnapshotError(f"{_name(snapshot)} contains no gas; there is nothing to project")
    stars = _stars(snapshot) if positions is None else _numbered(positions)
    frames = axis_frames(axes) if directions is None else direction_frames(directions, seed=seed)
    labels = list(axes) if directions is None else [str(i) for i in range(len(frames))]
    _check_velocities(snapshot, axes if directions is None else "xyz")
    period = np.where(snapshot.periodic, snapshot.extent.value, 0.0)
    box = Box(snapshot.lower.value, snapshot.upper.value, period)
    windows = _windows(stars, frames, width, depth, pixels)
    check(windows, box, list(stars["star"]))
    windows = snapped(windows, box) if snap else windows
    with ThreadPoolExecutor(_threads(threads)) as pool:
        sums = gather(snapshot.gas, windows, box, thermal=thermal, sizes=cell_size, pool=pool)
    missing, coverage = visible(windows, box)
    maps = maps_of(sums, windows, mass_per_hydrogen=snapshot.mass_per_hydrogen, missing=missing)
    facts = snapshot.provenance | {"projected by": f"stellarfm {__version__}", "thermal": "yes" if thermal else "no"}
    if not cell_size:
        maps.pop("cell_size", None)
    return MapSet(
        **maps,
        stars=_table(snapshot, stars, frames, labels, coverage),
        pixel_scale=windows.pixel * u.pc,
        depth=windows.depth * u.pc,
        mass_per_hydrogen=snapshot.mass_per_hydrogen,
        label_kind=snapshot.label_kind if positions is None else None,
        simulation=snapshot.simulation,
        provenance="; ".join(f"{name}: {value}" for name, value in facts.items()),
    )


def _name(snapshot: Snapshot) -> str:
    return " ".join(filter(None, ("snapshot", str(snapshot.snapshot), "of", snapshot.simulation or "an unnamed run")))


def _check_velocities(snapshot: Snapshot, axes: str) -> None:
    """Raise an error for lines of sight along which the velocity is unknown."""
    known = "xyz" if snapshot.gas is None else snapshot.gas.velocity_axes
    if not set(axes) <= set(known):
        raise SnapshotError(f"{_name(snapshot)} contains velocities along {known} only; pass axes='{known}'")


def _stars(snapshot: Snapshot) -> QTable:
    """Return the stars with a positive mass, or all if the snapshot has no masses."""
    stars = snapshot.stars
    if not len(stars):
        raise SnapshotError(f"{_name(snapshot)} contains no stars; give the centers of the windows as positions=")
    if snapshot.label_kind is None:
        return stars
    massive = stars["mass"].value > 0
    if not massive.any():
        raise SnapshotError(
            f"{_name(snapshot)}: none of its {len(stars)} stars has a positive mass; give positions= instead"
        )
    if not massive.all():
        without = ", ".join(str(star) for star in stars["star"][~massive])
        logger.warning("%s: stars without a positive mass are left out: %s", _name(snapshot), without)
    return stars[massive]


def _numbered(positions: u.Quantity) -> QTable:
    """Return a table of centers, numbered from 1."""
    positions = require_unit(positions, u.pc, "positions")
    if positions.ndim != 2 or positions.shape[1] != 3 or not len(positions) or not np.isfinite(positions.value).all():
        raise SnapshotError(f"positions of shape {positions.shape}; expected finite lengths, shape (K, 3)")
    return QTable({"star": np.arange(1, len(positions) + 1), **dict(zip("xyz", positions.T, strict=True))})


def _windows(
    stars: QTable, frames: np.ndarray, width: u.Quantity | str, depth: u.Quantity | str | None, pixels: int
) -> Windows:
    if not isinstance(pixels, Integral) or isinstance(pixels, bool) or pixels < 1:
        raise SnapshotError(f"pixels={pixels!r}; expected an integer >= 1")
    side = parse_length(width, what="width").value
    long = side if depth is None else parse_length(depth, what="depth").value
    center = np.stack([stars[axis].value for axis in "xyz"], axis=1).astype(float)
    return Windows(center, frames, side, long, int(pixels))


def _threads(threads: int | None) -> int:
    if threads is None:
        return available_cores()
    if not isinstance(threads, Integral) or isinstance(threads, bool) or threads < 1:
        raise SnapshotError(f"threads={threads!r}; expected an integer >= 1")
    return int(threads)


def _table(snapshot: Snapshot, stars: QTable, frames: np.ndarray, labels: list[str], coverage: np.ndarray) -> QTable:
    """Return one row per window: all lines of sight of the first star, then of the next."""
    table = stars[np.repeat(np.arange(len(stars)), len(frames))]
    n = len(table)
    table["simulation"] = np.full(n, snapshot.simulation)
    table["snapshot"] = np.full(n, snapshot.snapshot)
    table["time"] = np.full(n, snapshot.time.value) * u.Myr
    table["axis"] = np.tile(labels, len(stars))
    for k, axis in enumerate("xyz"):
        table[f"los_{axis}"] = np.tile(frames[:, 2, k], len(stars))
    table["coverage"] = coverage.ravel()
    return table
