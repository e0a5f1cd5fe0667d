"""Gas particles (PartType0) of HDF5 snapshots of the Gadget family, read a slice at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import h5py
import numpy as np

from stellarfm.readers.common.cgs import KMS, MSUN, PC
from stellarfm.readers.common.options import OutputOptions
from stellarfm.readers.common.region_selection import RegionMask
from stellarfm.readers.gadget.files import GadgetFiles, find_field, has_field
from stellarfm.simulations import GasBlock, GasSource, Region
from stellarfm.simulations.gas import BLOCK_SIZE, MESH_FACTOR

__all__ = ["GadgetGas"]


class GadgetGas(GasSource):
    """Particles with their kernels, or cells of a moving mesh as kernels of `MESH_FACTOR` times their radius.

    Parameters
    ----------
    files : GadgetFiles
        Files of the snapshot.
    lower, upper : ndarray
        Corners of the box, pc.
    periodic : tuple of bool
        Axes along which kernels extend across the border.
    options : OutputOptions
        Reader options: ``gamma`` converts internal energy into thermal motion, unless ``sound_speed`` is given.
    """

    kind = "particles"

    def __init__(
        self,
        files: GadgetFiles,
        *,
        lower: np.ndarray,
        upper: np.ndarray,
        periodic: tuple[bool, ...],
        options: OutputOptions,
    ) -> None:
        self._files, self._lower, self._upper, self._periodic = files, lower, upper, periodic
        self._gamma, self._sound_speed = options.gamma, options.sound_speed

    def blocks(self, regions: Sequence[Region]) -> Iterator[GasBlock]:
        """Yield each particle whose kernel may overlap `regions` once; raises `ReaderError` if a file is truncated."""
        if not regions:
            return
        mask = RegionMask(regions, lower=self._lower, upper=self._upper, wrap=self._periodic)
        for path in self._files.paths:
            start = 0
            while True:
                with self._files.open(path) as file:  # closed while the caller works on the block
                    gas = file.get("PartType0")
                    n = 0 if gas is None else len(find_field(gas, "position"))
                    block = self._block(gas, slice(start, start + BLOCK_SIZE), mask) if start < n else None
                if block is not None:
                    yield block
                start += BLOCK_SIZE
                if start >= n:
                    break

    def _block(self, gas: h5py.Group, part: slice, mask: RegionMask) -> GasBlock | None:
        """Return the particles of a slice that may overlap a region; None if there are none."""
        position = self._read(gas, "position", part, "length") / PC
        size = self._kernel_radius(gas, part)
        near = mask.overlaps(position, size)
        if not near.any():
            return None
        return GasBlock(
            position=position[near],
            size=size[near],
            mass=self._files.masses(gas, 0, part)[near] / MSUN,
            velocity=self._read(gas, "velocity", part, "velocity")[near] / KMS,
            thermal=self._thermal(gas, part, near),
        )

    def _read(self, gas: h5py.Group, name: str, part: slice, dimensions: str) -> np.ndarray:
        return self._files.read_cgs(find_field(gas, name), dimensions, part)

    def _kernel_radius(self, gas: h5py.Group, part: slice) -> np.ndarray:
        """Return the support radius, pc, which is what Gadget and GIZMO call the smoothing length."""
        if has_field(gas, "smoothing length"):
            return self._read(gas, "smoothing length", part, "length") / PC
        volume = self._files.masses(gas, 0, part) / self._read(gas, "density", part, "density")
        return MESH_FACTOR * np.cbrt(3 / (4 * np.pi) * volume) / PC

    def _thermal(self, gas: h5py.Group, part: slice, near: np.ndarray) -> np.ndarray | None:
        """Return the thermal dispersion of the mean particle, sqrt(P / rho) = sqrt((gamma - 1) u), km/s."""
        if self._sound_speed is not None:
            return np.full(np.sum(near), self._sound_speed)
        if not has_field(gas, "internal energy"):
            return None
        energy = self._read(gas, "internal energy", part, "specific energy")[near]
        return np.sqrt((self._gamma - 1) * energy) / KMS
