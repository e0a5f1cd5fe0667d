"""Gas whose maps are known."""

import numpy as np
import pytest
from astropy import units as u
from astropy.table import QTable

from stellarfm.simulations import GasBlock, InMemoryGas, Snapshot

BOX = 4.0


def mesh(n, *, lower=0.0, side=BOX):
    """Centres of n^3 cells over a cube, and their size."""
    line = lower + (np.arange(n) + 0.5) * side / n
    return np.stack(np.meshgrid(line, line, line, indexing="ij"), axis=-1).reshape(-1, 3), side / n


@pytest.fixture
def uniform_block():
    """Make cells of density 1 solMass / pc3 over the box: ``uniform_block(16, velocity=function)``."""

    def make(n=16, *, velocity=np.zeros_like):
        position, size = mesh(n)
        return GasBlock(position, np.full(n**3, size), np.full(n**3, size**3), velocity(position), np.full(n**3, 0.2))

    return make


@pytest.fixture
def random_block():
    """Make cells of two sizes with random masses and velocities over the box: an eighth of it is refined."""

    def make(n=8, *, seed=0):
        rng = np.random.default_rng(seed)
        coarse, size = mesh(n)
        coarse = coarse[~np.all(coarse < BOX / 2, axis=1)]
        fine, half = mesh(n, side=BOX / 2)
        position = np.concatenate([coarse, fine])
        sizes = np.concatenate([np.full(len(coarse), size), np.full(len(fine), half)])
        count = len(position)
        return GasBlock(position, sizes, rng.random(count), rng.normal(0, 3, (count, 3)), rng.random(count))

    return make


@pytest.fixture
def snapshot_of():
    """Make a snapshot of a block in a box of 4 pc: ``snapshot_of(block, kind="cells", periodic=True)``."""

    def make(block, *, kind="cells", periodic=True, stars=((1.0, 1.5, 2.2), (0.1, 3.9, 2.0)), block_size=2**20):
        place = np.array(stars)
        table = QTable({"star": np.arange(1, len(place) + 1), "mass": np.ones(len(place)) * u.solMass})
        for axis, values in zip("xyz", place.T):
            table[axis] = values * u.pc
        return Snapshot(
            stars=table,
            gas=None if block is None else InMemoryGas(block, kind, block_size),
            lower=np.zeros(3) * u.pc,
            upper=np.full(3, BOX) * u.pc,
            periodic=(periodic,) * 3,
            time=0.5 * u.Myr,
            label_kind="sink",
            simulation="made",
            snapshot=7,
            provenance={"code": "none"},
        )

    return make
