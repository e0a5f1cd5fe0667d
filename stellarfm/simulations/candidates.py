"""Which gas elements may reach which windows: the stars in a grid of bins, asked by every element. Compiled."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor
from typing import NamedTuple

import numpy as np
from numba import njit

from stellarfm.simulations.snapshot import GasBlock
from stellarfm.simulations.windows import Box, Windows

__all__ = ["Candidates", "StarGrid", "candidates"]

_CHUNK = 2**14
_MOST_PAIRS = 2**22
_MOST_BINS = 64


class StarGrid(NamedTuple):
    """Stars sorted into bins over the box.

    Attributes
    ----------
    centre : ndarray
        pc, shape (K, 3).
    reach : ndarray
        How far around each star gas is wanted along the axes, pc, shape (3,).
    lower, bin_size, period : ndarray
        pc, shape (3,).
    n_bins : ndarray
        Bins along the axes, int, shape (3,).
    first, members : ndarray
        The stars of bin b are ``members[first[b] : first[b + 1]]``.
    """

    centre: np.ndarray
    reach: np.ndarray
    lower: np.ndarray
    bin_size: np.ndarray
    period: np.ndarray
    n_bins: np.ndarray
    first: np.ndarray
    members: np.ndarray

    @classmethod
    def of(cls, windows: Windows, box: Box) -> StarGrid:
        """Bins about as large as a window: an element asks two of them along each axis."""
        side = box.upper - box.lower
        n_bins = np.clip(side / (2 * windows.reach), 1, _MOST_BINS).astype(np.int64)
        place = np.clip(np.floor((windows.centre - box.lower) / side * n_bins), 0, n_bins - 1).astype(np.int64)
        flat = np.ravel_multi_index(tuple(place.T), tuple(n_bins))
        members = np.argsort(flat, kind="stable")
        first = np.searchsorted(flat[members], np.arange(n_bins.prod() + 1))
        return cls(windows.centre, windows.reach, box.lower, side / n_bins, box.period, n_bins, first, members)


class Candidates(NamedTuple):
    """The elements of a block that may reach each star: ``elements[first[k] : first[k + 1]]``, in order, for star k."""

    first: np.ndarray
    elements: np.ndarray


def candidates(grid: StarGrid, block: GasBlock, margin: np.ndarray, pool: Executor) -> Iterator[Candidates]:
    """The candidates of a block, in parts of bounded size.

    Parameters
    ----------
    margin : ndarray
        How far each element reaches from its position along the axes, pc, shape (n,).
    pool : Executor
        Of threads.

    Yields
    ------
    Candidates
        Every pair once; the elements of one star in the order of the block, whatever the number of threads.
    """
    n = len(block)
    starts = np.arange(0, n, _CHUNK)
    counts = np.zeros((len(starts), len(grid.centre)), dtype=np.int64)

    def count(i: int) -> None:
        visit(grid, block.position, margin, starts[i], min(n, starts[i] + _CHUNK), counts[i], _NOTHING)

    _wait(pool.map(count, range(len(starts))))
    for part in _parts(counts.sum(axis=1)):
        yield _filled(grid, block, margin, starts[part], counts[part], pool)


_NOTHING = np.empty(0, dtype=np.int32)


def _wait(results: Iterator) -> None:
    """Let all of them finish; the first error is raised here."""
    for _ in results:
        pass


def _parts(pairs: np.ndarray) -> Iterator[slice]:
    """Runs of chunks with at most `_MOST_PAIRS` pairs together, one chunk at least; those without any are left out."""
    start, total = 0, 0
    for stop, n in enumerate(pairs):
        if total and total + n > _MOST_PAIRS:
            yield slice(start, stop)
            start, total = stop, 0
        total += n
    if total:
        yield slice(start, len(pairs))


def _filled(
    grid: StarGrid, block: GasBlock, margin: np.ndarray, starts: np.ndarray, counts: np.ndarray, pool: Executor
) -> Candidates:
    """Counting sort by star: every chunk knows where its elements of each star go."""
    per_star = counts.sum(axis=0)
    first = np.concatenate([[0], np.cumsum(per_star)])
    place = first[:-1] + np.cumsum(counts, axis=0) - counts
    elements = np.empty(first[-1], dtype=np.int32)

    def fill(i: int) -> None:
        visit(grid, block.position, margin, starts[i], min(len(block), starts[i] + _CHUNK), place[i], elements)

    _wait(pool.map(fill, np.flatnonzero(counts.any(axis=1))))
    return Candidates(first, elements)


@njit(cache=True, nogil=True)
def visit(
    grid: StarGrid,
    position: np.ndarray,
    margin: np.ndarray,
    start: int,
    stop: int,
    place: np.ndarray,
    elements: np.ndarray,
) -> None:
    """Count the pairs of elements ``start`` to ``stop`` by star in `place`; write them there if `elements` has room."""
    first, last = np.empty(3, np.int64), np.empty(3, np.int64)
    for e in range(start, stop):
        for k in range(3):
            first[k], last[k] = bins(grid, k, position[e, k], margin[e])
        for i in range(first[0], last[0]):
            for j in range(first[1], last[1]):
                row = wrapped(i, grid.n_bins[0]) * grid.n_bins[1] + wrapped(j, grid.n_bins[1])
                for k in range(first[2], last[2]):
                    b = row * grid.n_bins[2] + wrapped(k, grid.n_bins[2])
                    for m in range(grid.first[b], grid.first[b + 1]):
                        star = grid.members[m]
                        if meets(grid, star, position[e], margin[e]):
                            if elements.size:
                                elements[place[star]] = e
                            place[star] += 1


@njit(cache=True, nogil=True)
def wrapped(i: int, n: int) -> int:
    """A bin less than one period beyond the border; the divisions of ``%`` would take most of the time."""
    return i + n if i < 0 else i - n if i >= n else i


@njit(cache=True, nogil=True)
def bins(grid: StarGrid, axis: int, x: float, margin: float) -> tuple[int, int]:
    """Bins along one axis whose stars an element may reach; beyond a periodic border they count on, but none twice."""
    n = grid.n_bins[axis]
    reach = grid.reach[axis] + margin
    first = int(np.floor((x - reach - grid.lower[axis]) / grid.bin_size[axis]))
    last = int(np.floor((x + reach - grid.lower[axis]) / grid.bin_size[axis])) + 1
    if grid.period[axis] == 0:
        return min(max(first, 0), n - 1), max(min(last, n), 1)
    return (0, n) if last - first >= n else (first, last)


@njit(cache=True, nogil=True)
def meets(grid: StarGrid, star: int, position: np.ndarray, margin: float) -> bool:
    """Whether an element, or its nearest periodic image, touches the cuboid around a star."""
    for k in range(3):
        distance = abs(position[k] - grid.centre[star, k])
        if grid.period[k] > 0:
            distance = abs(distance - grid.period[k] * np.rint(distance / grid.period[k]))
        if distance >= grid.reach[k] + margin:
            return False
    return True
