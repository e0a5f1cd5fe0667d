"""MapSet: many star-centred windows of the same size, with a table of their stars; its HDF5 form."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from astropy import units as u
from astropy.table import QTable, vstack

from stellarfm.exceptions import MapError
from stellarfm.maps.units import MAP_UNITS, MASS_PER_HYDROGEN, require_unit

__all__ = ["MapSet"]

LABEL_KINDS = ("sink", "star", None)


@dataclass(frozen=True, eq=False)
class MapSet:
    """N windows of gas around stars. NaN is missing.

    Attributes
    ----------
    column_density : Quantity
        Hydrogen nuclei, shape (N, ny, nx), cm-2.
    velocity : Quantity
        Mean line-of-sight velocity, shape (N, ny, nx), km/s.
    velocity_dispersion : Quantity
        Standard deviation along the line of sight, shape (N, ny, nx), km/s.
    stars : QTable
        One row a window: ``star`` (its number within a run), ``simulation`` (added if absent) and whatever else is
        known: ``mass``, ``snapshot``, ``time``, ``axis``, positions. Rows of one star are not independent.
    pixel_scale, depth : Quantity
        Side of a pixel and length of the line of sight, pc; a depth of NaN is unknown (a map of the sky).
    mass_per_hydrogen : float
        Gas mass per hydrogen nucleus, hydrogen masses.
    label_kind : {"sink", "star", None}
        What ``mass`` means: all that was accreted, the star alone, or nothing known.
    simulation, provenance : str
        Name of the run or field, and where it comes from.
    cell_size : Quantity, optional
        Mass-weighted size of the resolution elements of a simulation along the line of sight, shape (N, ny, nx), pc.

    Raises
    ------
    MapError, UnitsError
        If shapes, units or the table do not fit.
    """

    column_density: u.Quantity
    velocity: u.Quantity
    velocity_dispersion: u.Quantity
    stars: QTable
    pixel_scale: u.Quantity
    depth: u.Quantity = np.nan * u.pc
    mass_per_hydrogen: float = MASS_PER_HYDROGEN
    label_kind: str | None = None
    simulation: str = ""
    provenance: str = ""
    cell_size: u.Quantity | None = None

    def __post_init__(self) -> None:
        """Check units, shapes and labels; add the column ``simulation``."""
        for name, unit in MAP_UNITS.items():
            self._set(name, require_unit(getattr(self, name), unit, name))
        for name in ("pixel_scale", "depth", "cell_size"):
            if getattr(self, name) is not None or name != "cell_size":
                self._set(name, require_unit(getattr(self, name), u.pc, name))
        self._check_shapes()
        self._set("stars", self._complete_stars())
        self._check_values()

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def _check_shapes(self) -> None:
        shapes = {name: getattr(self, name).shape for name in MAP_UNITS}
        if len(set(shapes.values())) > 1 or self.column_density.ndim != 3:
            found = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
            raise MapError(f"windows of shapes {found}; expected three of one shape (N, ny, nx)")
        if self.cell_size is not None and self.cell_size.shape != self.column_density.shape:
            raise MapError(
                f"cell_size has shape {self.cell_size.shape}; expected that of the maps, {shapes['velocity']}"
            )
        if len(self.stars) != len(self):
            raise MapError(f"{len(self)} windows but {len(self.stars)} rows of stars; expected one row a window")

    def _complete_stars(self) -> QTable:
        if "star" not in self.stars.colnames:
            raise MapError("the table of stars has no column 'star'; windows of one star could not be kept together")
        stars = QTable(self.stars, copy=False)
        if "simulation" not in stars.colnames:
            stars["simulation"] = np.full(len(stars), self.simulation, dtype=f"U{max(1, len(self.simulation))}")
        return stars

    def _check_values(self) -> None:
        if not self.pixel_scale > 0:
            raise MapError(f"pixel scale {self.pixel_scale}; expected a positive length")
        if self.label_kind not in LABEL_KINDS:
            raise MapError(f"label kind {self.label_kind!r}; expected 'sink', 'star' or None")
        if np.any(self.velocity_dispersion.value < 0):
            raise MapError("the velocity dispersion is negative somewhere; expected a standard deviation")
        if self.label_kind is not None and "mass" not in self.stars.colnames:
            raise MapError(f"label kind {self.label_kind!r} but no column 'mass'; expected masses, or label kind None")
        if "mass" in self.stars.colnames:
            self.stars["mass"] = require_unit(self.stars["mass"], u.solMass, "mass")
        if self.label_kind is not None and not np.all(self.stars["mass"].value > 0):
            raise MapError("some masses are not positive; drop those windows")

    def __len__(self) -> int:
        """Number of windows."""
        return self.column_density.shape[0]

    def __getitem__(self, index: Any) -> MapSet:
        """The windows at a slice, a boolean array, an index array or one index, always as a MapSet."""
        if isinstance(index, int | np.integer):
            index = [range(len(self))[index]]
        if not isinstance(index, slice):
            index = np.asarray(index, dtype=None if len(index) else int)
        chosen = {name: getattr(self, name)[index] for name in (*MAP_UNITS, "stars")}
        size = None if self.cell_size is None else self.cell_size[index]
        return replace(self, **chosen, cell_size=size)

    @property
    def mask(self) -> np.ndarray:
        """True where any of the three maps is missing, shape (N, ny, nx)."""
        return ~np.logical_and.reduce([np.isfinite(getattr(self, name).value) for name in MAP_UNITS])

    @property
    def groups(self) -> np.ndarray:
        """``"simulation/star"`` of every window, shape (N,): whatever is split is split by these."""
        pairs = zip(self.stars["simulation"], self.stars["star"], strict=True)
        return np.array([f"{simulation}/{star}" for simulation, star in pairs], dtype=str)

    @classmethod
    def concatenate(cls, mapsets: Sequence[MapSet]) -> MapSet:
        """All windows of several sets; columns of the table and cell sizes that not all of them have are dropped.

        A column that is text in one set and numbers in another (``star``, ``axis``) becomes text.

        Raises
        ------
        MapError
            If there is none, or they differ in label kind, pixel scale, window size or mass per hydrogen.
        """
        if not mapsets:
            raise MapError("no map set to concatenate; expected at least one")
        for other in mapsets[1:]:
            _check_same_kind(mapsets[0], other)
        depths = {mapset.depth.value for mapset in mapsets}
        sizes = [mapset.cell_size for mapset in mapsets if mapset.cell_size is not None]
        return replace(
            mapsets[0],
            column_density=np.concatenate([mapset.column_density for mapset in mapsets]),
            velocity=np.concatenate([mapset.velocity for mapset in mapsets]),
            velocity_dispersion=np.concatenate([mapset.velocity_dispersion for mapset in mapsets]),
            stars=_stacked([mapset.stars for mapset in mapsets]),
            depth=mapsets[0].depth if len(depths) == 1 else np.nan * u.pc,
            simulation="+".join(dict.fromkeys(mapset.simulation for mapset in mapsets)),
            provenance="; ".join(dict.fromkeys(mapset.provenance for mapset in mapsets)),
            cell_size=np.concatenate(sizes) if len(sizes) == len(mapsets) else None,
        )

    @classmethod
    def read(cls, path: str | os.PathLike) -> MapSet:
        """Read the HDF5 form (schema ``stellarfm-mapset``).

        Raises
        ------
        InputNotFoundError, ReaderError
            If the file is absent, truncated, foreign or of a later schema.
        MapError, UnitsError
            If shapes, units or labels in it do not fit.
        """
        from stellarfm.maps.io.map_set_hdf5 import read_mapset

        return read_mapset(path)

    def write(self, path: str | os.PathLike, *, overwrite: bool = False) -> None:
        """Write the HDF5 form, whole or not at all; raises `OutputExistsError` if it exists."""
        from stellarfm.maps.io.map_set_hdf5 import write_mapset

        write_mapset(self, path, overwrite=overwrite)


def _stacked(tables: list[QTable]) -> QTable:
    """Rows of all tables, columns that all have."""
    common = [name for name in tables[0].colnames if all(name in table.colnames for table in tables)]
    tables = [table[common] for table in tables]
    for name in common:
        if len({np.asarray(table[name]).dtype.kind == "U" for table in tables}) == 2:
            for table in tables:
                table[name] = np.asarray(table[name]).astype(str)
    return vstack(tables, metadata_conflicts="silent")


def _check_same_kind(first: MapSet, other: MapSet) -> None:
    """Refuse to mix label kinds, pixel scales, window sizes or compositions."""
    facts = {
        "label kind": (first.label_kind, other.label_kind),
        "window shape": (first.column_density.shape[1:], other.column_density.shape[1:]),
        "mass per hydrogen": (first.mass_per_hydrogen, other.mass_per_hydrogen),
    }
    if not np.isclose(first.pixel_scale.value, other.pixel_scale.value, rtol=1e-3):
        facts["pixel scale"] = (first.pixel_scale, other.pixel_scale)
    for what, (one, two) in facts.items():
        if one != two:
            raise MapError(
                f"{first.simulation or 'the first set'} and {other.simulation or 'another'} differ in {what}: "
                f"{one} and {two}; they cannot be mixed"
            )
