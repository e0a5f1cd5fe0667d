"""MapSet: many windows of the same size, each around a star, with a table of their stars."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from astropy import units as u
from astropy.table import QTable, vstack

from stellarfm.exceptions import MapError
from stellarfm.maps.io.map_set_hdf5 import read_columns, write_columns
from stellarfm.maps.units import MAP_UNITS, MASS_PER_HYDROGEN, require_unit

__all__ = ["MapSet"]

LABEL_KINDS = ("sink", "star", None)


@dataclass(frozen=True, eq=False, repr=False)
class MapSet:
    """N windows of gas around stars; missing pixels are NaN.

    Parameters
    ----------
    column_density : Quantity
        Column density of hydrogen nuclei, shape (N, ny, nx), cm-2.
    velocity : Quantity
        Mean line-of-sight velocity, shape (N, ny, nx), km/s.
    velocity_dispersion : Quantity
        Standard deviation of the velocity along the line of sight, shape (N, ny, nx), km/s.
    stars : QTable
        One row per window: ``star`` (its number within a run), ``simulation`` (added if absent) and any other columns,
        such as ``mass``, ``snapshot``, ``time``, ``axis``, positions. Rows of one star are not independent.
    pixel_scale : Quantity
        Side of a pixel, pc.
    depth : Quantity
        Length of the line of sight, pc; NaN if unknown (a map of the sky).
    mass_per_hydrogen : float
        Gas mass per hydrogen nucleus, in hydrogen masses.
    label_kind : {"sink", "star", None}
        Meaning of ``mass``: all mass accreted by a sink, mass of the star alone, or masses not known.
    simulation : str
        Name of the run or field.
    provenance : str
        Origin of the maps, in words.
    cell_size : Quantity, optional
        Mass-weighted size of the resolution elements of a simulation along the line of sight, shape (N, ny, nx), pc.

    Raises
    ------
    MapError, UnitsError
        If shapes, units or the table do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy import units as u
    >>> from astropy.table import QTable
    >>> from stellarfm.maps import MapSet
    >>> ones = np.ones((3, 8, 8))
    >>> windows = MapSet(
    ...     column_density=1e22 * ones * u.cm**-2,
    ...     velocity=ones * u.km / u.s,
    ...     velocity_dispersion=ones * u.km / u.s,
    ...     stars=QTable({"star": [1, 1, 2], "mass": [0.5, 0.5, 2.0] * u.solMass}),
    ...     pixel_scale=0.01 * u.pc,
    ...     label_kind="star",
    ...     simulation="run",
    ... )
    >>> windows.groups.tolist()
    ['run/1', 'run/1', 'run/2']
    >>> len(windows[windows.stars["mass"] > 1 * u.solMass])
    1
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
            raise MapError(f"{len(self)} windows but {len(self.stars)} rows of stars; expected one row per window")

    def _complete_stars(self) -> QTable:
        if "star" not in self.stars.colnames:
            raise MapError("stars has no column 'star'; it is needed to keep the windows of one star together")
        stars = QTable(self.stars, copy=False)
        if "simulation" not in stars.colnames:
            stars["simulation"] = np.full(len(stars), self.simulation, dtype=f"U{max(1, len(self.simulation))}")
        return stars

    def _check_values(self) -> None:
        if not (self.pixel_scale.isscalar and 0 < self.pixel_scale.value < np.inf):
            raise MapError(f"pixel_scale is {self.pixel_scale}; expected a positive length")
        if not self.depth.isscalar or self.depth.value <= 0 or np.isinf(self.depth.value):
            raise MapError(f"depth is {self.depth}; expected a positive length, or NaN if unknown")
        if not 0 < self.mass_per_hydrogen < np.inf:
            raise MapError(f"mass_per_hydrogen is {self.mass_per_hydrogen}; expected hydrogen masses > 0")
        if self.label_kind not in LABEL_KINDS:
            raise MapError(f"label_kind is {self.label_kind!r}; expected 'sink', 'star' or None")
        if np.any(self.velocity_dispersion.value < 0):
            raise MapError("velocity_dispersion has negative values; expected a standard deviation")
        if self.label_kind is not None and "mass" not in self.stars.colnames:
            raise MapError(f"label_kind is {self.label_kind!r} but stars has no column 'mass'; add masses or use None")
        if "mass" in self.stars.colnames:
            self.stars["mass"] = require_unit(self.stars["mass"], u.solMass, "mass")
        if self.label_kind is not None and not np.all(self.stars["mass"].value > 0):
            raise MapError("column 'mass' of stars has values that are not positive; drop those windows")

    def __repr__(self) -> str:
        """Return a summary in a few lines: windows, shape, scale, labels, origin."""
        ny, nx = self.column_density.shape[1:]
        depth = "unknown" if np.isnan(self.depth.value) else f"{self.depth.value:.4g} pc"
        lines = {
            "windows": f"{len(self)} of {len(set(self.groups))} stars",
            "shape": f"{ny} x {nx} pixels, {self.mask.mean() if self.mask.size else 0:.1%} missing",
            "pixel_scale": f"{self.pixel_scale.value:.3g} pc",
            "depth": depth,
            "label_kind": self.label_kind or "none",
            "simulation": self.simulation or "unknown",
        }
        return "\n".join(["MapSet", *(f"  {name:<12}{text}" for name, text in lines.items())])

    def __len__(self) -> int:
        """Return the number of windows."""
        return self.column_density.shape[0]

    def __getitem__(self, index: Any) -> MapSet:
        """Return the windows at a slice, a boolean array, an index array or one index, always as a MapSet."""
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
    def simulations(self) -> np.ndarray:
        """Name of the run or field of each window, shape (N,), str."""
        return np.asarray(self.stars["simulation"]).astype(str)

    @property
    def groups(self) -> np.ndarray:
        """``"simulation/star"`` of each window, shape (N,): the unit of every split and calibration."""
        pairs = zip(self.stars["simulation"], self.stars["star"], strict=True)
        return np.array([f"{simulation}/{star}" for simulation, star in pairs], dtype=str)

    @classmethod
    def concatenate(cls, mapsets: Sequence[MapSet]) -> MapSet:
        """Concatenate several sets.

        Columns of the table and cell sizes that some of the sets lack are dropped. A column that is text in one set and
        numbers in another (``star``, ``axis``) becomes text.

        Parameters
        ----------
        mapsets : sequence of MapSet
            One or more sets.

        Raises
        ------
        MapError
            If there are none, or they differ in label kind, pixel scale, window size or mass per hydrogen.
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
            stars=_stack_tables([mapset.stars for mapset in mapsets]),
            depth=mapsets[0].depth if len(depths) == 1 else np.nan * u.pc,
            simulation="+".join(dict.fromkeys(mapset.simulation for mapset in mapsets)),
            provenance="; ".join(dict.fromkeys(mapset.provenance for mapset in mapsets)),
            cell_size=np.concatenate(sizes) if len(sizes) == len(mapsets) else None,
        )

    @classmethod
    def read(cls, path: str | os.PathLike) -> MapSet:
        """Read the HDF5 form (schema ``stellarfm-mapset``).

        Parameters
        ----------
        path : path
            HDF5 file.

        Raises
        ------
        InputNotFoundError, ReaderError
            If the file is absent, truncated, foreign or of a later schema.
        MapError, UnitsError
            If shapes, units or labels in it do not fit.
        """
        columns = read_columns(path)
        try:
            return cls(**columns)
        except MapError as error:
            raise type(error)(f"{path}: {error}") from error

    def write(self, path: str | os.PathLike, *, overwrite: bool = False) -> None:
        """Write the HDF5 form, whole or not at all.

        Parameters
        ----------
        path : path
            HDF5 file.
        overwrite : bool
            Replace an existing file.

        Raises
        ------
        OutputExistsError
            If the file exists and `overwrite` is False.
        """
        write_columns(path, {each.name: getattr(self, each.name) for each in fields(self)}, overwrite=overwrite)


def _stack_tables(tables: list[QTable]) -> QTable:
    """Stack the rows of all tables, with the columns that all of them have."""
    common = [name for name in tables[0].colnames if all(name in table.colnames for table in tables)]
    tables = [table[common] for table in tables]
    for name in common:
        if len({np.asarray(table[name]).dtype.kind == "U" for table in tables}) == 2:
            for table in tables:
                table[name] = np.asarray(table[name]).astype(str)
    return vstack(tables, metadata_conflicts="silent")


def _check_same_kind(first: MapSet, other: MapSet) -> None:
    """Raise `MapError` if sets differ in label kind, pixel scale, window size or composition."""
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
