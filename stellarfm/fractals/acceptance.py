"""Acceptance test of a frame: coverage and contrast, and the coarse stages that reject most candidates cheaply.

The mass paper (arXiv:2510.24159) keeps a frame if at least 80 % of the plane is covered. Coarse frames are tested
first: at an eighth of the size with a 64th of the points, the number of points per pixel is the same and the coverage
is almost never lower than in the full frame, so a candidate that fails there is not rendered. Candidates that pass are
tested once more at a quarter of the size. Small images have a single coarse stage, with enough points to justify the
burn-in of the walkers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from stellarfm.fractals.array_namespace import Array, namespace
from stellarfm.fractals.rendering.chaos_game import BURN_IN, MINIMUM_STEPS, WALKERS, plan_run

__all__ = ["MINIMUM_CONTRAST", "Costs", "Stage", "contrast", "coverage", "stages"]

#: Divisors of the size in the coarse stages.
COARSE = (8, 4)
#: Coarse stages require ``threshold + MARGIN * threshold * (1 - threshold)``, since coverage falls from scale to scale.
#: ``benchmarks/fractals.py`` prints the fraction of good frames that is lost.
MARGIN = 0.125
#: Minimum number of points of a coarse stage: all walkers draw in every step that an ensemble plays in any case.
MINIMUM_POINTS = WALKERS * MINIMUM_STEPS
#: Minimum `contrast` of an image. Uniform noise has about 0.07 at 15 points per pixel.
MINIMUM_CONTRAST = 0.35
#: Side of the pixel blocks whose contrast is measured.
CONTRAST_BLOCK = 4


class Stage(NamedTuple):
    """Size and number of points of one rendering of a candidate, and the coverage required to pass it."""

    size: int
    points: int
    coverage: float

    @property
    def work(self) -> int:
        """Number of steps of walkers, including the burn-in."""
        run = plan_run(self.points)
        return run.ensembles * WALKERS * (run.steps + BURN_IN)


@dataclass
class Costs:
    """Cumulative cost of a number of images.

    Attributes
    ----------
    images, candidates : int
        Number of accepted images, and of candidates tried.
    renders : float
        Total work, including rejected candidates and coarse stages, in units of the work for one full frame.

    Examples
    --------
    >>> costs = Costs()
    >>> costs.add(candidates=4, renders=1.3)
    >>> print(costs)
    1 of 4 candidates accepted (25%), 1.30 renders per image
    """

    images: int = 0
    candidates: int = 0
    renders: float = 0.0

    def add(self, *, candidates: int, renders: float) -> None:
        """Add the cost of one image."""
        self.images += 1
        self.candidates += candidates
        self.renders += renders

    def __str__(self) -> str:
        rate = self.images / max(self.candidates, 1)
        cost = self.renders / max(self.images, 1)
        return f"{self.images} of {self.candidates} candidates accepted ({rate:.0%}), {cost:.2f} renders per image"


def coverage(counts: Array) -> Array:
    """Return the fraction of pixels that hold at least one point.

    Parameters
    ----------
    counts : ndarray or torch.Tensor of int, shape (..., size, size)
        Number of points per pixel.

    Examples
    --------
    >>> import numpy as np
    >>> float(coverage(np.array([[0, 3], [1, 0]])))
    0.5
    """
    return (counts > 0).sum(axis=(-2, -1)) / (counts.shape[-2] * counts.shape[-1])


def contrast(counts: Array) -> Array:
    """Return the standard deviation of ln(1 + n) over blocks of 4 x 4 pixels with n points each.

    Blocks are used instead of pixels because the Poisson noise of pixels with few points would count as contrast.

    Parameters
    ----------
    counts : ndarray or torch.Tensor of int, shape (..., size, size)
        Number of points per pixel.

    Examples
    --------
    >>> import numpy as np
    >>> float(contrast(np.full((8, 8), 15)))
    0.0
    """
    xp, block = namespace(counts), CONTRAST_BLOCK
    side = counts.shape[-1] // block
    inner = counts[..., : side * block, : side * block]
    blocks = inner.reshape(*counts.shape[:-2], side, block, side, block).sum(axis=(-3, -1))
    logarithm = xp.log1p(xp.asarray(blocks, dtype=xp.float64))
    return ((logarithm - logarithm.mean(axis=(-2, -1), keepdims=True)) ** 2).mean(axis=(-2, -1)) ** 0.5


def stages(*, size: int, points: int, threshold: float) -> list[Stage]:
    """Return the coarse stages and, as the last element, the full frame; only the latter if `threshold` is 0.

    Stages with more than a quarter of the points are omitted: they would cost more than they save.

    Examples
    --------
    >>> [stage.size for stage in stages(size=336, points=1_000_000, threshold=0.8)]
    [42, 84, 336]
    """
    full = Stage(size, points, threshold)
    sides = sorted({max(-(-size // factor), math.ceil(size * (MINIMUM_POINTS / points) ** 0.5)) for factor in COARSE})
    required = threshold + MARGIN * threshold * (1.0 - threshold)
    coarse = [Stage(side, round(points * (side / size) ** 2), required) for side in sides]
    return [*(stage for stage in coarse if threshold > 0 and 4 * stage.points <= points), full]
