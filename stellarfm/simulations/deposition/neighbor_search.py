"""Search for the gas elements that may reach each window, with the stars in a grid of bins. Compiled."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor
from typing import NamedTuple

import numpy as np
from numba import njit

from stellarfm.simulations.gas import GasBlock
from stellarfm.simulations.windows import Box, Windows

__all__ = ["Candidates", "StarGrid", "find_candidates"]

_CHUNK = 2**14
_MOST_PAIRS = 2**22
_MOST_BINS = 64
_FINE = 32


class StarGrid(NamedTuple):
    """Stars binned on a coarse grid, and a finer mask of the cells within reach of any window.

    Attributes
    ----------
    center : ndarray
        Positions of the stars, pc, shape (K, 3).
    reach : ndarray
        Half extent of the windows along the axes, pc, shape (3,).
    lower, upper, period : ndarray
        Corners and periods of the box, pc, shape (3,).
    n_bins : ndarray
        Number of bins along the axes, int, shape (3,).
    first, members : ndarray
        Stars by bin: those of bin b are ``members[first[b] : first[b + 1]]``.
    near : ndarray
        Mask of the fine bins, shape 3 * (_FINE,): True if an element centered there may reach a window, provided that
        half its side is at most half that of these bins.
    """

    center: np.ndarray
    reach: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    period: np.ndarray
    n_bins: np.ndarray
    first: np.ndarray
    members: np.ndarray
    near: np.ndarray

    @classmethod
    def from_windows(cls, windows: Windows, box: Box) -> StarGrid:
        """Return a grid whose bins are about as large as a window: an element overlaps two of them along each axis."""
        side = box.upper - box.lower
        n_bins = np.clip(side / (2 * windows.reach), 1, _MOST_BINS).astype(np.int64)
        place = np.clip(np.floor((windows.center - box.lower) / side * n_bins), 0, n_bins - 1).astype(np.int64)
        flat = np.ravel_multi_index(tuple(place.T), tuple(n_bins))
        members = np.argsort(flat, kind="stable")
        first = np.searchsorted(flat[members], np.arange(n_bins.prod() + 1))
        return cls(windows.center, windows.reach, *box, n_bins, first, members, _near(windows, box))


def _near(windows: Windows, box: Box) -> np.ndarray:
    """Return the fine bins that the windows, grown by half a bin on all sides, touch."""
    near = np.zeros(3 * (_FINE,), dtype=np.bool_)
    size = (box.upper - box.lower) / _FINE
    low = np.floor((windows.center - windows.reach - box.lower) / size - 0.5).astype(int)
    high = np.floor((windows.center + windows.reach - box.lower) / size + 0.5).astype(int)
    for star in range(len(windows.center)):
        ranges = [np.arange(low[star, k], high[star, k] + 1) for k in range(3)]
        wrapped = [r % _FINE if box.period[k] else np.clip(r, 0, _FINE - 1) for k, r in enumerate(ranges)]
        near[np.ix_(*wrapped)] = True
    return near


class Candidates(NamedTuple):
    """Elements of a block that may reach each star: ``elements[first[k] : first[k + 1]]``, in order, for star k."""

    first: np.ndarray
    elements: np.ndarray


def find_candidates(grid: StarGrid, block: GasBlock, margin: np.ndarray, pool: Executor) -> Iterator[Candidates]:
    """Yield the candidates of a block, in parts of bounded size.

    Parameters
    ----------
    grid : StarGrid
        Stars.
    block : GasBlock
        Gas elements.
    margin : ndarray
        Half extent of each element along the axes, pc, shape (n,).
    pool : Executor
        Pool of threads.

    Yields
    ------
    Candidates
        Pairs of star and element, each once; the elements of one star are in the order of the block, whatever the
        number of threads.
    """
    chunks = [slice(start, start + _CHUNK) for start in range(0, len(block), _CHUNK)]
    close = list(pool.map(lambda chunk: not_far(grid, block.position[chunk], margin[chunk], chunk.start), chunks))
    counts = np.zeros((len(close), len(grid.center)), dtype=np.int64)

    def count(i: int) -> None:
        visit(grid, block.position, margin, close[i], counts[i], _NOTHING)

    _wait(pool.map(count, range(len(close))))
    for part in _parts(counts.sum(axis=1)):
        yield _filled(grid, block, margin, close[part], counts[part], pool)


_NOTHING = np.empty(0, dtype=np.int32)


def _wait(results: Iterator) -> None:
    """Wait for all results; raise the first error."""
    for _ in results:
        pass


def _parts(pairs: np.ndarray) -> Iterator[slice]:
    """Yield runs of chunks with at most `_MOST_PAIRS` pairs together, at least one chunk; omit runs without pairs."""
    start, total = 0, 0
    for stop, n in enumerate(pairs):
        if total and total + n > _MOST_PAIRS:
            yield slice(start, stop)
            start, total = stop, 0
        total += n
    if total:
        yield slice(start, len(pairs))


def _filled(
    grid: StarGrid, block: GasBlock, margin: np.ndarray, close: list[np.ndarray], counts: np.ndarray, pool: Executor
) -> Candidates:
    """Return the pairs after a counting sort by star: every chunk knows the place of its elements of each star."""
    per_star = counts.sum(axis=0)
    first = np.concatenate([[0], np.cumsum(per_star)])
    place = first[:-1] + np.cumsum(counts, axis=0) - counts
    elements = np.empty(first[-1], dtype=np.int32)

    def fill(i: int) -> None:
        visit(grid, block.position, margin, close[i], place[i], elements)

    _wait(pool.map(fill, np.flatnonzero(counts.any(axis=1))))
    return Candidates(first, elements)


@njit(cache=True, nogil=True)
def not_far(grid: StarGrid, position: np.ndarray, margin: np.ndarray, start: int) -> np.ndarray:
    """Return the numbers, from `start`, of the elements that are large or lie in a fine bin near some window."""
    near, lower = grid.near, grid.lower
    scale = _FINE / (grid.upper - lower)
    largest = 0.5 / max(scale[0], scale[1], scale[2])
    found, n = np.empty(len(margin), dtype=np.int32), 0
    for e in range(len(margin)):
        i = min(max(int((position[e, 0] - lower[0]) * scale[0]), 0), _FINE - 1)
        j = min(max(int((position[e, 1] - lower[1]) * scale[1]), 0), _FINE - 1)
        k = min(max(int((position[e, 2] - lower[2]) * scale[2]), 0), _FINE - 1)
        found[n] = start + e
        n += int(near[i, j, k] or margin[e] > largest)
    return found[:n].copy()


@njit(cache=True, nogil=True)
def visit(
    grid: StarGrid,
    position: np.ndarray,
    margin: np.ndarray,
    chosen: np.ndarray,
    place: np.ndarray,
    elements: np.ndarray,
) -> None:
    """Count the pairs of the chosen elements by star in `place`; write them there if `elements` is not empty."""
    center, reach, lower, upper, period, n_bins, begin, members, _ = grid
    per_pc = n_bins / (upper - lower)
    first, last = np.empty(3, np.int64), np.empty(3, np.int64)
    for e in chosen:
        for k in range(3):
            first[k], last[k] = bins(position[e, k] - lower[k], reach[k] + margin[e], per_pc[k], n_bins[k], period[k])
        for i in range(first[0], last[0]):
            for j in range(first[1], last[1]):
                row = wrapped(i, n_bins[0]) * n_bins[1] + wrapped(j, n_bins[1])
                for k in range(first[2], last[2]):
                    b = row * n_bins[2] + wrapped(k, n_bins[2])
                    for m in range(begin[b], begin[b + 1]):
                        if meets(center, members[m], reach, period, position, e, margin[e]):
                            if elements.size:
                                elements[place[members[m]]] = e
                            place[members[m]] += 1


@njit(cache=True, nogil=True)
def wrapped(i: int, n: int) -> int:
    """Return the bin of one less than a period beyond the border; the division of ``%`` would take most of the time."""
    return i + n if i < 0 else i - n if i >= n else i


@njit(cache=True, nogil=True)
def bins(x: float, reach: float, per_pc: float, n: int, period: float) -> tuple[int, int]:
    """Return the range of bins along one axis whose stars an element may reach; each periodic bin occurs once."""
    first, last = int(np.floor((x - reach) * per_pc)), int(np.floor((x + reach) * per_pc)) + 1
    if period == 0:
        return min(max(first, 0), n - 1), max(min(last, n), 1)
    return (0, n) if last - first >= n else (first, last)


@njit(cache=True, nogil=True)
def meets(
    center: np.ndarray,
    star: int,
    reach: np.ndarray,
    period: np.ndarray,
    position: np.ndarray,
    e: int,
    margin: float,
) -> bool:
    """Return whether element `e`, or its nearest periodic image, touches the cuboid around a star."""
    for k in range(3):
        distance = abs(position[e, k] - center[star, k])
        if period[k] > 0:
            distance = min(distance, abs(period[k] - distance))
        if distance >= reach[k] + margin:
            return False
    return True
