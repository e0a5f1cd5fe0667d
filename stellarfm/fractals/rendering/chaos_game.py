"""The chaos game as it is played here: one definition for numba, torch and Triton.

An image is played by *ensembles* of 256 walkers, eight groups of 32 lanes. In a step all lanes of a group take the same
map, so that the choice is made once a group and the arithmetic runs over lanes. Three rules keep the walkers apart and
the picture the one that independent walkers would draw:

1. Before a step each lane is turned by a random number of groups of its own: a walker meets others in each step.
2. The groups' random numbers are spread evenly. Group g takes entry ``(rank_g * 512 + offset) % 4096`` of a table in
   which a map has as many entries as its share; the ranks are a random permutation of 0 ... 7.
3. The offsets of steps t, t + 16, t + 32 ... follow each other by the golden ratio, so that the shares come out right
   over a whole run. Sixteen steps later an orbit has forgotten.

To a single walker every choice is random with the maps' probabilities and independent of its last fifteen; counts
scatter about as Poisson's law says, or less (a test measures it).

All random numbers are hashes of (seed, ensemble, step, purpose, place), so that they can be had in any order. All
coordinates are 32-bit numbers and all functions those of `stellarfm.fractals.genomes.portable_math`: counts are equal
to the last bit wherever they are made.
"""

from __future__ import annotations

import math
import operator
from typing import NamedTuple

import numpy as np

from stellarfm.exceptions import FractalError
from stellarfm.fractals.genomes.genome import Genome, Transform
from stellarfm.fractals.genomes.variations import VARIATIONS

__all__ = [
    "COLOUR_LEVELS",
    "FIXED_WINDOW",
    "Frame",
    "Plan",
    "Program",
    "Window",
    "compile_genome",
    "frame",
    "mix",
    "plan",
    "seed_key",
]

LANES = 32
GROUPS = 8
WALKERS = GROUPS * LANES
#: Steps that a walker takes before its places are drawn.
BURN_IN = 20
#: A walker this far from the origin (sum of both coordinates) starts again.
FAR = np.float32(1e10)
#: Entries of the table of choices; shares of maps are rounded to this.
CHOICES = 4096
#: Steps after which offsets are spread evenly, and the golden ratio of `CHOICES`.
STRIDE, GOLDEN = 16, 2531
#: An ensemble plays 128 to 256 steps after the burn-in; for few points fewer, but no fewer than these, so that enough
#: choices are made.
STEPS, FEWEST_STEPS = 128, 32
#: Purposes of random numbers.
TURN, RANK, OFFSET, JULIA, FINAL_JULIA, START_X, START_Y = range(7)
#: Steps of the colour coordinate in the histograms.
COLOUR_LEVELS = 4096

MASK = 0xFFFFFFFF
#: Numbers up to the first are zero in 32 bits, beyond the second they are infinite.
SMALLEST, LARGEST = 2.0**-150, 3.4e38
IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


class Window(NamedTuple):
    """A square of the plane: lower corner and side."""

    x: float
    y: float
    side: float


#: The square [-1, 1]^2, which the coefficients of the `flames` sampler are drawn for.
FIXED_WINDOW = Window(-1.0, -1.0, 2.0)


class Frame(NamedTuple):
    """A window in pixels, as 32-bit numbers: a point is in column (x - left) * scale, row (y - bottom) * scale."""

    left: np.float32
    bottom: np.float32
    scale: np.float32


class Plan(NamedTuple):
    """How an image is played.

    Attributes
    ----------
    ensembles, steps : int
        Ensembles, and the steps that each plays after the burn-in.
    per_step : int
        Points that are drawn in a step, by all ensembles; what is left in the last one. Walker `lane` of group `g` of
        ensemble `e` draws if ``(8 * lane + g) * ensembles + e`` is below it: all groups draw alike.
    """

    ensembles: int
    steps: int
    per_step: int


class Program(NamedTuple):
    """A genome as arrays; row K of K maps is the final map.

    Attributes
    ----------
    choice : ndarray of uint8, shape (4096,)
        Map to take for each of 4096 equally likely random numbers.
    affine, post : ndarray of float32, shape (K + 1, 6)
        Coefficients before and after the variations.
    has_post : ndarray of bool, shape (K + 1,)
        Whether there are coefficients after the variations.
    first : ndarray of int64, shape (K + 2,)
        Map k has the variations first[k] ... first[k + 1] - 1.
    code, weight : ndarray of int64 and float32
        Variations of all maps, one after the other; those of a map in the order of `VARIATIONS`, each once.
    colour : ndarray of float32, shape (K,)
        Colour coordinate of each map.
    has_final : bool
        Whether row K is to be applied.
    """

    choice: np.ndarray
    affine: np.ndarray
    post: np.ndarray
    has_post: np.ndarray
    first: np.ndarray
    code: np.ndarray
    weight: np.ndarray
    colour: np.ndarray
    has_final: bool


def compile_genome(genome: Genome) -> Program:
    """Arrays of a genome.

    Raises
    ------
    FractalError
        If a coefficient or a weight is beyond what 32 bits can hold.
    """
    transforms: list[Transform] = [*genome.maps, genome.final or Transform(affine=IDENTITY)]
    terms = [_terms(transform) for transform in transforms]
    flat = [term for of_map in terms for term in of_map]
    return Program(
        choice=_choice_table([m.probability for m in genome.maps]),
        affine=_float32([t.affine for t in transforms]),
        post=_float32([t.post or IDENTITY for t in transforms]),
        has_post=np.array([t.post is not None for t in transforms]),
        first=np.cumsum([0, *map(len, terms)]),
        code=np.array([code for code, _ in flat], dtype=np.int64),
        weight=_float32([weight for _, weight in flat]),
        colour=_float32([m.colour for m in genome.maps]),
        has_final=genome.final is not None,
    )


def _terms(transform: Transform) -> list[tuple[int, float]]:
    """Codes and weights of the variations of a map that count, in the order in which their results are added up."""
    weights = ((VARIATIONS.index(name), weight) for name, weight in transform.variations)
    return sorted((code, weight) for code, weight in weights if abs(weight) > SMALLEST)


def _float32(numbers: list) -> np.ndarray:
    """The numbers in 32 bits."""
    values = np.array(numbers, dtype=np.float64)
    if values.size and max(values.max(), -values.min()) > LARGEST:
        raise FractalError("a coefficient or weight of the genome is beyond 3e38; flames are drawn in 32 bits")
    return values.astype(np.float32)


def _choice_table(probabilities: list[float]) -> np.ndarray:
    """Each map as many times as its share of the table (probabilities are rounded to 1/4096)."""
    shares = np.array(probabilities) / max(probabilities)
    edges = np.rint(np.cumsum(shares) / shares.sum() * CHOICES).astype(np.int64)
    return np.repeat(np.arange(len(shares), dtype=np.uint8), np.diff(edges, prepend=0))


def plan(points: int) -> Plan:
    """The plan for a number of points.

    With 128 to 256 steps the burn-in takes 8 to 16 % of the work (more below 32,768 points), and an image of a million
    points has 4096 walkers to keep a GPU busy.
    """
    ensembles = max(1, 1 << (points // (WALKERS * STEPS)).bit_length() >> 1)
    per_step = -(-points // max(-(-points // (WALKERS * ensembles)), FEWEST_STEPS))
    return Plan(ensembles, -(-points // per_step), per_step)


def frame(window: Window, *, size: int, points: int) -> Frame:
    """A window in pixels.

    Raises
    ------
    FractalError
        If there are no pixels, no points or no finite square, or more than 32-bit coordinates tell apart.
    """
    if not 1 <= size <= 32768 or points < 1:
        limits = "expected 1 to 32768 pixels a side and at least 1 point"
        raise FractalError(f"size {size} with {points} points makes no image; {limits}")
    if not (all(map(math.isfinite, window)) and window.side > 0):
        raise FractalError(f"window {tuple(window)} is no square; expected finite x and y and a positive side")
    scale = size / window.side
    if max(abs(window.x), abs(window.y), scale, 1.0 / scale) > LARGEST:
        raise FractalError(f"window {tuple(window)} is beyond 32-bit numbers; expected a square that they can hold")
    return Frame(np.float32(window.x), np.float32(window.y), np.float32(scale))


def mix(number):
    """A hash of 32 bits (C. Wellons' `lowbias32`): of a sum of two such numbers; in 64-bit arithmetic."""
    number = number & MASK
    number = (number ^ (number >> 16)) * 0x7FEB352D & MASK
    number = (number ^ (number >> 15)) * 0x846CA68B & MASK
    return number ^ (number >> 16)


def seed_key(seed: int) -> int:
    """First hash of the chain seed -> ensemble -> step -> purpose -> place, each ``mix(previous + number)``.

    Raises
    ------
    FractalError
        If `seed` is not an integer of 64 bits.
    """
    seed = operator.index(seed)
    if not 0 <= seed < 2**64:
        raise FractalError(f"seed is {seed}; expected 0 to 2**64 - 1")
    return mix(mix(seed >> 32) + (seed & MASK))
