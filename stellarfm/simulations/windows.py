"""Windows around stars: their positions, the regions of gas they cover, and the fraction inside the box."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import NamedTuple

import numpy as np

from stellarfm.exceptions import SnapshotError
from stellarfm.simulations.gas import Region

__all__ = ["Box", "Windows", "check", "snapped", "visible"]

_ROUNDING = 1e-9


class Box(NamedTuple):
    """Box of a snapshot: arrays of shape (3,), pc; `period` is 0 along axes that are not periodic."""

    lower: np.ndarray
    upper: np.ndarray
    period: np.ndarray


@dataclass(frozen=True, eq=False)
class Windows:
    """Cuboids of one size, one per star and line of sight: K stars, M frames.

    Attributes
    ----------
    center : ndarray
        Centers, pc, shape (K, 3).
    frames : ndarray
        Frames of the lines of sight, shape (M, 3, 3), see `stellarfm.simulations.lines_of_sight`.
    width, depth : float
        Extent on the sky and along the line of sight, pc.
    pixels : int
        Number of pixels along either side of a map.
    """

    center: np.ndarray
    frames: np.ndarray
    width: float
    depth: float
    pixels: int

    @property
    def pixel(self) -> float:
        """Side of a pixel, pc."""
        return self.width / self.pixels

    @property
    def half(self) -> np.ndarray:
        """Half the sides of a window in its own frame, pc, shape (3,)."""
        return np.array([self.width, self.width, self.depth]) / 2

    @property
    def reach(self) -> np.ndarray:
        """Largest extent of a window from its star along the axes of the box, over all frames, pc, shape (3,)."""
        return np.max(np.einsum("mij,i->mj", np.abs(self.frames), self.half), axis=0)

    def regions(self, box: Box) -> list[Region]:
        """Return the parts of the box that the windows cover, split at periodic borders."""
        return [
            Region(np.array([low for low, _ in sides]), np.array([high for _, high in sides]))
            for center in self.center
            for sides in product(*(list(_intervals(*axis)) for axis in zip(center, self.reach, *box, strict=True)))
        ]


def check(windows: Windows, box: Box, names: Sequence) -> None:
    """Raise an error if stars lie outside the box, or windows would contain gas of a periodic box twice.

    Raises
    ------
    SnapshotError
        If a star lies outside the box, or a window is larger than one period.
    """
    outside = np.any((windows.center < box.lower) | (windows.center > box.upper), axis=1)
    if outside.any():
        first = int(np.argmax(outside))
        raise SnapshotError(
            f"{outside.sum()} of {len(names)} positions lie outside the box from {box.lower} to {box.upper} pc: "
            f"{names[first]} is at {windows.center[first]} pc; check their unit and origin"
        )
    for axis, reach, period in zip("xyz", windows.reach, box.period, strict=True):
        if period and 2 * reach > period * (1 + _ROUNDING):
            raise SnapshotError(
                f"windows of {windows.width:g} pc (depth {windows.depth:g} pc) reach {2 * reach:g} pc along {axis}, "
                f"more than the periodic box of {period:g} pc: gas would count twice; make width or depth smaller"
            )


def _intervals(center: float, reach: float, lower: float, upper: float, period: float) -> Iterator[tuple[float, float]]:
    """Yield the parts of [center - reach, center + reach] along one axis, each inside the box."""
    for shift in (-period, 0.0, period) if period else (0.0,):
        low, high = max(lower, center - reach + shift), min(upper, center + reach + shift)
        if low < high:
            yield low, high


def snapped(windows: Windows, box: Box) -> Windows:
    """Return windows whose pixels and depth are cells of a grid over the box.

    The number of cells along a side of the box is the one that comes nearest to the given pixel. A star in cell c gets
    the cells c - n // 2 ... of n pixels, along the line of sight too, where n is rounded to whole cells, odd if the
    number of pixels is odd.

    Raises
    ------
    SnapshotError
        If the box is not a cube, or a line of sight is not along an axis.
    """
    side = box.upper - box.lower
    if not np.allclose(side, side[0], rtol=1e-6):
        raise SnapshotError(f"windows cannot be snapped to a grid over a box of {side} pc; it must be a cube")
    if not np.all(np.isin(np.abs(windows.frames), (0, 1))):
        raise SnapshotError("windows can be snapped to a grid only along x, y and z, not in oblique directions")
    odd = windows.pixels % 2
    pixel = side[0] / max(1, round(side[0] / windows.pixel))
    n_depth = max(2 - odd, odd + 2 * round((windows.depth / pixel - odd) / 2))
    cell = np.floor((windows.center - box.lower) / pixel)
    center = box.lower + pixel * (cell + odd / 2)
    return replace(windows, center=center, width=pixel * windows.pixels, depth=pixel * n_depth)


def visible(windows: Windows, box: Box) -> tuple[np.ndarray, np.ndarray]:
    """Return the parts of the windows that lie outside a box that is not periodic.

    Returns
    -------
    missing : ndarray
        Boolean, shape (K, M, pixels, pixels): True where the line of sight through a corner of the pixel misses the box
        within the depth of the window: such a pixel would contain only part of a column.
    coverage : ndarray
        Fraction of the window inside the box, averaged over the centers of its pixels, shape (K, M).
    """
    n_stars, n_frames, n = len(windows.center), len(windows.frames), windows.pixels
    missing, coverage = np.zeros((n_stars, n_frames, n, n), dtype=bool), np.ones((n_stars, n_frames))
    low, high = windows.center - windows.reach < box.lower, windows.center + windows.reach > box.upper
    for star in np.flatnonzero(np.any((low | high) & (box.period == 0), axis=1)):
        for i, frame in enumerate(windows.frames):
            borders = np.linspace(-0.5, 0.5, windows.pixels + 1) * windows.width
            corners = _inside(windows.center[star], frame, borders, windows.depth, box) > 0
            middles = (borders[1:] + borders[:-1]) / 2
            missing[star, i] = ~(corners[1:, 1:] & corners[1:, :-1] & corners[:-1, 1:] & corners[:-1, :-1])
            coverage[star, i] = _inside(windows.center[star], frame, middles, windows.depth, box).mean()
    return missing, coverage


def _inside(center: np.ndarray, frame: np.ndarray, offset: np.ndarray, depth: float, box: Box) -> np.ndarray:
    """Return the fraction inside the box of the lines of sight at all pairs of offsets from a center, (n, n)."""
    start = center + offset[:, None, None] * frame[0] + offset[None, :, None] * frame[1]
    slack = _ROUNDING * depth
    first = np.full(start.shape[:2], -depth / 2)
    last = -first
    for k in np.flatnonzero(box.period == 0):
        low, high = box.lower[k] - slack - start[..., k], box.upper[k] + slack - start[..., k]
        if abs(frame[2, k]) < _ROUNDING:
            last = np.where((low > 0) | (high < 0), -np.inf, last)
        else:
            crossings = np.sort([low / frame[2, k], high / frame[2, k]], axis=0)
            first, last = np.maximum(first, crossings[0]), np.minimum(last, crossings[1])
    return np.clip((last - first) / depth, 0, 1)
