"""Gas of a yt dataset, read piece by piece: cells of a mesh, or particles with smoothing lengths."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stellarfm.exceptions import ReaderError
from stellarfm.readers.common.cgs import KMS, MSUN, PC
from stellarfm.readers.common.region_selection import RegionMask
from stellarfm.readers.yt.session import quiet_yt
from stellarfm.simulations import GasBlock, GasSource, Region
from stellarfm.simulations.gas import BLOCK_SIZE, MESH_FACTOR

__all__ = ["YTCells", "YTParticles"]

_VELOCITY = tuple(("gas", f"velocity_{axis}") for axis in "xyz")
_CELL_FIELDS = (("gas", "density"), *_VELOCITY)
_PRESSURE = ("gas", "pressure")


class _YTGas(GasSource):
    """Base class of both kinds of gas: one pass over the chunks into which yt divides the files.

    Parameters
    ----------
    dataset : yt.data_objects.static_output.Dataset
        Indexed yt dataset.
    path : Path
        Path of the output, for messages.
    sound_speed : float, optional
        Isothermal speed of sound, km/s, for outputs without pressure.
    """

    def __init__(self, dataset: Any, *, path: Path, sound_speed: float | None = None) -> None:
        self._dataset, self._path, self._sound_speed = dataset, path, sound_speed
        self._lower = dataset.domain_left_edge.to_value("cm") / PC
        self._upper = dataset.domain_right_edge.to_value("cm") / PC
        self._chunking = _limit_chunks(dataset.index)

    def blocks(self, regions: Sequence[Region]) -> Iterator[GasBlock]:
        """Yield each element in or near `regions` once; raises `ReaderError` if the files are truncated."""
        if not regions:
            return
        mask = RegionMask(regions, lower=self._lower, upper=self._upper, wrap=self._wrap())
        with quiet_yt(self._path):
            chunks = iter(self._source(regions).chunks([], "io", **self._chunking))
        while True:
            with quiet_yt(self._path):
                chunk = next(chunks, None)
                block = None if chunk is None else self._block(chunk, mask)
            if chunk is None:
                return
            if block is not None:
                yield from (block[start : start + BLOCK_SIZE] for start in range(0, len(block), BLOCK_SIZE))

    def _wrap(self) -> tuple[bool, ...]:
        """Return the axes along which elements extend across the periodic border."""
        return (False,) * 3

    @abstractmethod
    def _source(self, regions: Sequence[Region]) -> Any:
        """Return the yt data container to iterate over."""

    @abstractmethod
    def _block(self, chunk: Any, mask: RegionMask) -> GasBlock | None:
        """Return the elements of a chunk that may overlap a region; None if there are none."""

    def _thermal(self, n: int, values: Any, density: np.ndarray, near: np.ndarray) -> np.ndarray | None:
        """Return the one-dimensional thermal dispersion sqrt(P / rho), km/s, for any gamma and molecular weight."""
        if self._sound_speed is not None:
            return np.full(n, self._sound_speed)
        if _PRESSURE not in self._dataset.derived_field_list:
            return None
        pressure = values[_PRESSURE].to_value("g/cm/s**2")[near]
        return np.sqrt(np.maximum(pressure, 0) / density) / KMS


def _limit_chunks(index: Any) -> dict[str, str]:
    """Limit the grids in a chunk to about one block of cells; returns the options of `chunks` that apply the limit.

    By default yt puts up to a thousand grids of any size into a chunk: 10^8 cells and more.
    """
    if not hasattr(index, "_grid_chunksize"):
        return {}  # octrees and particles come one file, or a fixed number, at a time
    cells = np.asarray(index.grid_dimensions).prod(axis=1).mean()
    index._grid_chunksize = max(1, int(BLOCK_SIZE / cells))
    return {"chunk_sizing": "old"}


class YTCells(_YTGas):
    """Leaf cells of a mesh.

    One pass over the smallest box around all regions: cells far from every region are dropped chunk by chunk, and a
    chunk that is far as a whole is dropped before its gas is read.
    """

    kind = "cells"

    def _source(self, regions: Sequence[Region]) -> Any:
        """Return the box around the regions with a margin of a coarsest cell, as yt selects cells by their centers."""
        dataset = self._dataset
        coarsest = (self._upper - self._lower) / np.asarray(dataset.domain_dimensions)
        lower = np.maximum(np.min([region.lower for region in regions], axis=0) - coarsest, self._lower)
        upper = np.minimum(np.max([region.upper for region in regions], axis=0) + coarsest, self._upper)
        if np.all(upper - lower >= self._upper - self._lower):
            return dataset.all_data()
        corners = dataset.arr(np.stack([lower, upper]) * PC, "cm")
        return dataset.region(corners.mean(axis=0), *corners)

    def _block(self, chunk: Any, mask: RegionMask) -> GasBlock | None:
        position, width = chunk.fcoords.to_value("cm") / PC, chunk.fwidth.to_value("cm") / PC
        self._check_cubes(width)
        near = mask.overlaps(position, width[:, 0] / 2)
        if not near.any():
            return None
        fields = [*_CELL_FIELDS, *({_PRESSURE} & set(self._dataset.derived_field_list))]
        chunk.get_data(fields)
        density = chunk["gas", "density"].to_value("g/cm**3")[near]
        size = width[near, 0]
        return GasBlock(
            position=position[near],
            size=size,
            mass=density * (size * PC) ** 3 / MSUN,
            velocity=np.stack([chunk[name].to_value("cm/s")[near] for name in _VELOCITY], axis=1) / KMS,
            thermal=self._thermal(len(size), chunk, density, near),
        )

    def _check_cubes(self, width: np.ndarray) -> None:
        """Raise `ReaderError` unless all cells are cubes."""
        if len(width) and not np.allclose(width, width[:, :1], rtol=1e-6, atol=0):
            sides = " x ".join(f"{side:.4g}" for side in width[0])
            raise ReaderError(
                f"{self._path}: cells are not cubes ({sides} pc); expected equal sides: resample the output"
            )


class YTParticles(_YTGas):
    """Gas particles of a yt dataset; `particle_type` is yt's name of them, the other parameters as for `YTCells`."""

    kind = "particles"

    def __init__(self, dataset: Any, *, path: Path, particle_type: str, sound_speed: float | None = None) -> None:
        super().__init__(dataset, path=path, sound_speed=sound_speed)
        self._type = particle_type

    def _wrap(self) -> tuple[bool, ...]:
        return tuple(bool(periodic) for periodic in self._dataset.periodicity)

    def _source(self, regions: Sequence[Region]) -> Any:
        """Return everything: the kernel radius of a particle is known only after it is read."""
        return self._dataset.all_data()

    def _block(self, chunk: Any, mask: RegionMask) -> GasBlock | None:
        position = chunk[self._type, "particle_position"].to_value("cm") / PC
        if not len(position):
            return None
        size = self._kernel_radius(chunk)
        near = mask.overlaps(position, size)
        if not near.any():
            return None
        density = chunk[self._type, "density"].to_value("g/cm**3")[near]
        return GasBlock(
            position=position[near],
            size=size[near],
            mass=chunk[self._type, "particle_mass"].to_value("g")[near] / MSUN,
            velocity=chunk[self._type, "particle_velocity"].to_value("cm/s")[near] / KMS,
            thermal=self._thermal(len(density), chunk, density, near),
        )

    def _kernel_radius(self, chunk: Any) -> np.ndarray:
        """Return the support radius, pc: yt's smoothing length, or that of a cell from its volume."""
        if (self._type, "smoothing_length") in self._dataset.derived_field_list:
            return chunk[self._type, "smoothing_length"].to_value("cm") / PC
        mass, density = chunk[self._type, "particle_mass"], chunk[self._type, "density"]
        return MESH_FACTOR * np.cbrt((3 / (4 * np.pi)) * (mass / density).to_value("cm**3")) / PC
