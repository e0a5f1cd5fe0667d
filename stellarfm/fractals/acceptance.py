"""Which frames are worth an image: full enough, and not flat; and what it costs to find them.

The mass paper (arXiv:2510.24159) keeps a frame if at least 80 % of the plane is covered. Cheap tests come first: at an
eighth of the size with a 64th of the points the points per pixel are the same, and the coverage is hardly ever lower
than in the full frame; so what fails there need not be rendered. What passes is looked at once more at a quarter. Small
images have a single test, of as many points as pay for the burn-in of the walkers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from stellarfm.fractals.array_namespace import Array, namespace
from stellarfm.fractals.rendering.chaos_game import BURN_IN, FEWEST_STEPS, WALKERS, Program, Window, plan
from stellarfm.fractals.rendering.cpu import render

__all__ = ["MINIMUM_CONTRAST", "Costs", "Stage", "Trial", "contrast", "coverage", "stages", "try_frame"]

#: What divides the size in the cheap tests.
COARSE = (8, 4)
#: They ask for ``threshold + MARGIN * threshold * (1 - threshold)``, since coverage falls from scale to scale.
#: ``benchmarks/fractals.py`` prints what share of the good frames is lost.
MARGIN = 0.125
#: Points that a test has at least: all walkers draw in all steps that an ensemble plays in any case.
LEAST_POINTS = WALKERS * FEWEST_STEPS
#: Least `contrast` of an image. Uniform noise has about 0.07 at 15 points a pixel.
MINIMUM_CONTRAST = 0.35
#: Pixels are summed over blocks of this side before their contrast is measured.
CONTRAST_BLOCK = 4


class Stage(NamedTuple):
    """One rendering of a candidate, and what it must show to be worth the next one."""

    size: int
    points: int
    coverage: float

    @property
    def work(self) -> int:
        """Steps of walkers, the burn-in included."""
        played = plan(self.points)
        return played.ensembles * WALKERS * (played.steps + BURN_IN)


class Trial(NamedTuple):
    """What became of a candidate.

    Attributes
    ----------
    histogram : ndarray of int64, shape (size, size, 3 or 1), or None
        None if the candidate was refused.
    work : int
        Steps of walkers that it took to find out: points, and the burn-in before them.
    """

    histogram: np.ndarray | None
    work: int


@dataclass
class Costs:
    """What images have cost so far.

    Attributes
    ----------
    images, candidates : int
        Images accepted, and genomes looked at.
    renders : float
        Work done, that for refused candidates and cheap tests included, in units of the work for one full frame.
    """

    images: int = 0
    candidates: int = 0
    renders: float = 0.0

    def add(self, *, candidates: int, renders: float) -> None:
        """Count one more image."""
        self.images += 1
        self.candidates += candidates
        self.renders += renders

    def __str__(self) -> str:
        rate = self.images / max(self.candidates, 1)
        cost = self.renders / max(self.images, 1)
        return f"{self.images} of {self.candidates} candidates accepted ({rate:.0%}), {cost:.2f} renders an image"


def coverage(counts: Array) -> Array:
    """Fraction of the pixels that hold at least one point; `counts` has shape (..., size, size)."""
    return (counts > 0).sum(axis=(-2, -1)) / (counts.shape[-2] * counts.shape[-1])


def contrast(counts: Array) -> Array:
    """Standard deviation of ln(1 + n) over blocks of 4 x 4 pixels, n points each; `counts` as for `coverage`.

    Blocks rather than pixels, because the Poisson noise of a pixel with few points looks like contrast.
    """
    xp, block = namespace(counts), CONTRAST_BLOCK
    side = counts.shape[-1] // block
    inner = counts[..., : side * block, : side * block]
    blocks = inner.reshape(*counts.shape[:-2], side, block, side, block).sum(axis=(-3, -1))
    logarithm = xp.log1p(xp.asarray(blocks, dtype=xp.float64))
    return ((logarithm - logarithm.mean(axis=(-2, -1), keepdims=True)) ** 2).mean(axis=(-2, -1)) ** 0.5


def stages(*, size: int, points: int, threshold: float) -> list[Stage]:
    """The cheap tests and, last, the full frame; without a threshold there is nothing to test.

    Tests of more than a quarter of the points are left out: they would cost more than they save.
    """
    full = Stage(size, points, threshold)
    sides = sorted({max(-(-size // factor), math.ceil(size * (LEAST_POINTS / points) ** 0.5)) for factor in COARSE})
    wanted = threshold + MARGIN * threshold * (1.0 - threshold)
    cheap = [Stage(side, round(points * (side / size) ** 2), wanted) for side in sides]
    return [*(stage for stage in cheap if threshold > 0 and 4 * stage.points <= points), full]


def try_frame(
    program: Program,
    window: Window,
    *,
    size: int,
    points: int,
    threshold: float,
    least_contrast: float = MINIMUM_CONTRAST,
    colour: bool = True,
) -> Trial:
    """The histogram of a candidate, unless its frame is not worth an image.

    Parameters
    ----------
    program, window, size, points, colour
        As for `render`.
    threshold : float
        Least coverage, 0 to 1.
    least_contrast : float
        Least `contrast`.
    """
    work = 0
    for stage in (cascade := stages(size=size, points=points, threshold=threshold)):
        wanted = colour and stage is cascade[-1]
        histogram = render(program, window, size=stage.size, points=stage.points, colour=wanted)
        work += stage.work
        if coverage(histogram[..., 0]) < stage.coverage:
            return Trial(None, work)
    return Trial(histogram if contrast(histogram[..., 0]) >= least_contrast else None, work)
