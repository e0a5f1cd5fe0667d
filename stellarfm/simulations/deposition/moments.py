"""Sums over the gas of every window, and the maps derived from them."""

from __future__ import annotations

from concurrent.futures import Executor
from typing import NamedTuple

import numpy as np
from astropy import units as u

from stellarfm.exceptions import SnapshotError
from stellarfm.maps.units import COLUMN_UNIT, VELOCITY_UNIT
from stellarfm.simulations.deposition.cell_edges import edges_of
from stellarfm.simulations.deposition.deposit import (
    ALIGNED,
    MASS,
    MOMENTUM,
    OBLIQUE,
    PARTICLES,
    SIZE,
    SQUARE,
    THERMAL,
    Gas,
    View,
    deposit_elements,
)
from stellarfm.simulations.deposition.neighbor_search import Candidates, StarGrid, find_candidates
from stellarfm.simulations.deposition.sph_kernel import kernel_tables
from stellarfm.simulations.gas import GasBlock, GasSource
from stellarfm.simulations.windows import Box, Windows

__all__ = ["HYDROGEN_MASS", "Sums", "gather", "maps_of"]

#: Mass of a hydrogen atom (CODATA 2018).
HYDROGEN_MASS = 1.00782503 * u.u

_MAPS = {
    "column_density": COLUMN_UNIT,
    "velocity": VELOCITY_UNIT,
    "velocity_dispersion": VELOCITY_UNIT,
    "cell_size": u.pc,
}


class Sums(NamedTuple):
    """Sums over the gas in each pixel of each window.

    Attributes
    ----------
    values : ndarray
        Sums, shape (K, M, pixels, pixels, 3 to 5), see `stellarfm.simulations.deposition.deposit`.
    reference : ndarray
        Zero point of the velocities in the sums, km/s, shape (K, M, 1); NaN for windows without gas.
    """

    values: np.ndarray
    reference: np.ndarray


def gather(source: GasSource, windows: Windows, box: Box, *, thermal: bool, sizes: bool, pool: Executor) -> Sums:
    """Return the sums of all windows after one pass over the gas.

    A window is filled by one thread at a time, in the order of the gas.

    Raises
    ------
    SnapshotError
        If `thermal` is True but the gas has no thermal velocities.
    """
    shape = (len(windows.center), len(windows.frames))
    n_sums = 1 + (THERMAL if thermal else SIZE if sizes else SQUARE)
    sums = Sums(np.zeros((*shape, windows.pixels, windows.pixels, n_sums)), np.full((*shape, 1), np.nan))
    grid = StarGrid.from_windows(windows, box)
    views = [_view(frame, windows, box, source.kind) for frame in windows.frames]
    for block in source.blocks(windows.regions(box)):
        gas = _gas(block, source.kind, thermal=thermal)
        for part in find_candidates(grid, block, gas.reach, pool):
            _add_part(sums, windows.center, views, gas, part, pool)
    return sums


def _view(frame: np.ndarray, windows: Windows, box: Box, kind: str) -> View:
    aligned = np.isin(np.abs(frame), (0, 1)).all()
    element = PARTICLES if kind == "particles" else ALIGNED if aligned else OBLIQUE
    return View(
        element, frame, windows.half, 1 / windows.pixel, windows.reach, box.period, edges_of(frame), *kernel_tables()
    )


def _gas(block: GasBlock, kind: str, *, thermal: bool) -> Gas:
    if not thermal:
        known = np.zeros_like(block.size)
    elif block.thermal is None:
        raise SnapshotError("the gas has no thermal velocities; leave thermal= out, or give the reader a temperature")
    else:
        known = block.thermal
    reach = block.size if kind == "particles" else block.size / 2
    return Gas(block.position, reach, block.size, block.mass, block.velocity, known)


def _add_part(sums: Sums, center: np.ndarray, views: list[View], gas: Gas, part: Candidates, pool: Executor) -> None:
    """Add the candidates to every window; those with most come first, so that threads end at about the same time."""
    n_elements = np.diff(part.first)
    busy = [star for star in np.argsort(-n_elements, kind="stable") if n_elements[star]]

    def add_window(star: int, i: int) -> None:
        chosen = part.elements[part.first[star] : part.first[star + 1]]
        deposit_elements(sums.values[star, i], sums.reference[star, i], center[star], views[i], gas, chosen)

    tasks = [pool.submit(add_window, star, i) for star in busy for i in range(len(views))]
    for task in tasks:
        task.result()


def maps_of(sums: Sums, windows: Windows, *, mass_per_hydrogen: float, missing: np.ndarray) -> dict[str, u.Quantity]:
    """Return column density, velocity, dispersion and, if summed, cell size; float32, shape (K * M, pixels, pixels).

    A pixel without gas, and one that is `missing` (shape (K, M, pixels, pixels)), is NaN in all. The dispersion is that
    of the elements of a pixel about their mean, weighted by mass; of one element alone it is zero, but for a thermal
    part.
    """
    values = sums.values.reshape(sums.reference.size, *sums.values.shape[2:])
    missing = missing.reshape(values.shape[:3])
    names = list(_MAPS)[: 4 if values.shape[-1] > SIZE else 3]
    maps = np.empty((len(names), *values.shape[:3]), dtype=np.float32)
    column = hydrogen_column(windows.pixel, mass_per_hydrogen)
    for i, reference in enumerate(sums.reference.ravel()):  # one by one: no second copy of the sums
        maps[:, i] = np.where(missing[i], np.nan, _moments(values[i], reference, column))
    return {name: u.Quantity(numbers, _MAPS[name], copy=False) for name, numbers in zip(names, maps, strict=True)}


def hydrogen_column(pixel: float, mass_per_hydrogen: float) -> float:
    """Return the column density of hydrogen nuclei of 1 solMass in a pixel of side `pixel` pc, cm-2."""
    return (u.solMass / (mass_per_hydrogen * HYDROGEN_MASS * (pixel * u.pc) ** 2)).to_value(COLUMN_UNIT)


def _moments(values: np.ndarray, reference: float, column: float) -> np.ndarray:
    """Return the maps of one window, shape (3 or 4, pixels, pixels)."""
    mass = np.where(values[..., MASS] > 0, values[..., MASS], np.nan)
    mean = values[..., MOMENTUM] / mass
    variance = np.maximum(values[..., SQUARE] / mass - mean**2, 0)
    if values.shape[-1] > THERMAL:
        variance = variance + values[..., THERMAL] / mass
    sizes = [values[..., SIZE] / mass] if values.shape[-1] > SIZE else []
    return np.stack([column * mass, reference + mean, np.sqrt(variance), *sizes])
