"""Specification of the chaos game shared by the numba, torch and Triton renderers.

An image is played by *ensembles* of 256 walkers, eight groups of 32 lanes. In a step all lanes of a group apply the
same map, so that the choice is made once per group and the arithmetic is vectorized over lanes. Three rules decorrelate
the walkers, so that the image is that of independent walkers:

1. Before a step, each lane is rotated by a random number of groups: a walker meets different walkers in each step.
2. The random numbers of the groups are spread evenly. Group g takes entry ``(rank_g * 512 + offset) % 4096`` of a table
   in which each map occurs in proportion to its probability; the ranks are a random permutation of 0 ... 7.
3. The offsets of steps t, t + 16, t + 32 ... advance by the golden ratio, so that maps are taken in the right
   proportions over a whole run. After sixteen steps an orbit is decorrelated.

For a single walker every choice is random with the probabilities of the maps and independent of its last fifteen; the
scatter of counts is that of a Poisson distribution, or less (as measured by a test).

All random numbers are hashes of (seed, ensemble, step, purpose, place), so that they can be computed in any order. All
coordinates are 32-bit numbers and all functions those of `stellarfm.fractals.genomes.portable_math`: counts are
bit-equal on all devices.
"""

from __future__ import annotations

import operator
from typing import NamedTuple

import numpy as np

from stellarfm.exceptions import FractalError

__all__ = ["COLOR_LEVELS", "RunPlan", "mix", "plan_run", "seed_key"]

LANES = 32
GROUPS = 8
WALKERS = GROUPS * LANES
#: Steps of a walker before its positions are drawn.
BURN_IN = 20
#: Distance from the origin (sum of both coordinates) beyond which a walker restarts.
ESCAPE_DISTANCE = np.float32(1e10)
#: Entries of the table of choices; probabilities of maps are rounded to its inverse.
CHOICES = 4096
#: Steps after which offsets are spread evenly, and the golden ratio of `CHOICES`.
STRIDE, GOLDEN = 16, 2531
#: An ensemble plays 128 to 256 steps after the burn-in; for few points fewer, but at least the second number, so that
#: enough choices are made.
STEPS, MINIMUM_STEPS = 128, 32
#: Purposes of random numbers.
ROTATION, RANK, OFFSET, JULIA, FINAL_JULIA, START_X, START_Y = range(7)
#: Levels of the color coordinate in the histograms.
COLOR_LEVELS = 4096

MASK = 0xFFFFFFFF


class RunPlan(NamedTuple):
    """Distribution of the points of an image over ensembles and steps.

    Attributes
    ----------
    ensembles, steps : int
        Number of ensembles, and of steps that each plays after the burn-in.
    per_step : int
        Points drawn in a step by all ensembles; the last step draws the remainder. Walker `lane` of group `g` of
        ensemble `e` draws if ``(8 * lane + g) * ensembles + e`` is smaller: all groups draw equally.
    """

    ensembles: int
    steps: int
    per_step: int


def plan_run(points: int) -> RunPlan:
    """Return the plan for a number of points.

    With 128 to 256 steps the burn-in takes 8 to 16 % of the work (more below 32,768 points), and an image of a million
    points has 4096 walkers to occupy a GPU.

    Examples
    --------
    >>> plan_run(60_000)
    RunPlan(ensembles=1, steps=235, per_step=256)
    """
    ensembles = max(1, 1 << (points // (WALKERS * STEPS)).bit_length() >> 1)
    per_step = -(-points // max(-(-points // (WALKERS * ensembles)), MINIMUM_STEPS))
    return RunPlan(ensembles, -(-points // per_step), per_step)


def mix(number):
    """Return a 32-bit hash (C. Wellons' `lowbias32`) of the sum of two such numbers, in 64-bit arithmetic."""
    number = number & MASK
    number = (number ^ (number >> 16)) * 0x7FEB352D & MASK
    number = (number ^ (number >> 15)) * 0x846CA68B & MASK
    return number ^ (number >> 16)


def seed_key(seed: int) -> int:
    """Return the first hash of the chain seed, ensemble, step, purpose, place, each ``mix(previous + number)``.

    Raises
    ------
    FractalError
        If `seed` is not a 64-bit unsigned integer.
    """
    seed = operator.index(seed)
    if not 0 <= seed < 2**64:
        raise FractalError(f"seed is {seed}; expected 0 to 2**64 - 1")
    return mix(mix(seed >> 32) + (seed & MASK))
