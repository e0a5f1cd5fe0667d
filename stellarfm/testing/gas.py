"""Checks of gas that is read by region."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from stellarfm.simulations import GasBlock, Region, Snapshot

__all__ = ["check_gas"]

#: Largest number of elements of a block: four times `stellarfm.simulations.gas.BLOCK_SIZE`, for whole parts of a file.
LARGEST_BLOCK = 4 * 2**20


def check_gas(snapshot: Snapshot) -> None:
    """Assert that every gas element is yielded exactly once, and that regions are respected.

    Parameters
    ----------
    snapshot : Snapshot
        Snapshot with gas, small enough for memory.
    """
    from stellarfm.simulations import Region

    lower, upper = snapshot.lower.value, snapshot.upper.value
    middle = (lower + upper) / 2
    everything = _elements(snapshot, [Region(lower, upper)])
    assert everything, "the gas of the sample has no elements"
    assert max(everything.values()) == 1, "some gas elements are yielded twice"
    halves = [Region(lower, np.array([middle[0], *upper[1:]])), Region(np.array([middle[0], *lower[1:]]), upper)]
    assert _elements(snapshot, halves) == everything, "two halves of the box do not yield each element exactly once"
    corner = Region(lower, lower + (upper - lower) / 5)
    part = _elements(snapshot, [corner, corner])
    assert not part or max(part.values()) == 1, "an element that overlaps two regions is yielded twice"
    lost = sum(_overlaps(element, corner, snapshot) for element in everything if element not in part)
    assert not lost, f"{lost} elements that overlap a region are not yielded for it"
    assert not _elements(snapshot, []), "elements are yielded without any region"


def _elements(snapshot: Snapshot, regions: list[Region]) -> Counter[tuple[float, ...]]:
    """Return the number of times that each element (position, size, mass) is yielded."""
    found: Counter[tuple[float, ...]] = Counter()
    assert snapshot.gas is not None
    for block in snapshot.gas.blocks(regions):
        _check_block(block, snapshot)
        found.update(map(tuple, np.column_stack([block.position, block.size, block.mass]).tolist()))
    return found


def _check_block(block: GasBlock, snapshot: Snapshot) -> None:
    from stellarfm.simulations import GasBlock

    assert isinstance(block, GasBlock), f"blocks() yielded {block!r}, expected a GasBlock"
    assert len(block) <= LARGEST_BLOCK, f"a block of {len(block)} elements; expected about a million at most"
    slack = 1e-6 * snapshot.extent.value
    inside = (block.position >= snapshot.lower.value - slack) & (block.position <= snapshot.upper.value + slack)
    assert inside.all(), f"{np.sum(~inside.all(axis=1))} elements lie outside the box; expected box coordinates"


def _overlaps(element: tuple[float, ...], region: Region, snapshot: Snapshot) -> bool:
    """Return whether an element overlaps a region; that of a particle may be across a periodic border."""
    assert snapshot.gas is not None
    particles = snapshot.gas.kind == "particles"
    reach = element[3] if particles else element[3] / 2
    for axis in range(3):
        period = snapshot.extent.value[axis] if particles and snapshot.periodic[axis] else 0.0
        images = (element[axis] - period, element[axis], element[axis] + period)
        low, high = region.lower[axis], region.upper[axis]
        if not any(low + 1e-9 < image + reach and image - reach < high - 1e-9 for image in images):
            return False
    return True
