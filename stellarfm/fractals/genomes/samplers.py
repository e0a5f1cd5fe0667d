"""Samplers: laws of probability over genomes, by name.

A genome is a pure function of (sampler, seed, index, attempt); see `stellarfm.fractals.genomes.random_stream`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from stellarfm.exceptions import FractalError
from stellarfm.fractals.genomes.genome import FlameMap, Genome
from stellarfm.fractals.genomes.random_stream import Draws
from stellarfm.fractals.genomes.variations import VARIATIONS

__all__ = ["SAMPLERS", "sample_genome"]

NONLINEAR = VARIATIONS[1:]
#: Least probability of a map: one that squeezes the plane to a line has determinant 0, and is taken all the same.
LEAST_PROBABILITY = 1e-3


def sample_flame(draws: Draws) -> Genome:
    """A fractal flame as the mass paper makes them (arXiv:2510.24159, section 2; free choices are ours).

    Two to eight affine maps with coefficients uniform in [-1.2, 1.2]; each map takes, with probability 0.7, one
    nonlinear variation, mixed half the time with the linear one; three maps in twenty have a second affine map.
    Wider coefficients and more maps fill the default window more often: three genomes in ten pass at 0.8.
    """
    n_maps = draws.integer(2, 8)
    colours = _spread_colours(draws, n_maps)
    return Genome(maps=tuple(_flame_map(draws, colour) for colour in colours))


def _flame_map(draws: Draws, colour: float) -> FlameMap:
    """One map of a flame."""
    numbers = draws.uniform(-1.2, 1.2, 12)
    chance, mixed, weight, twice, frequency = draws.uniform(0.0, 1.0, 5)
    name = NONLINEAR[draws.integer(0, len(NONLINEAR) - 1)]
    variations: tuple[tuple[str, float], ...] = (("linear", 1.0),)
    if chance < 0.7:
        variations = ((name, 1.0),) if mixed < 0.5 else ((name, 1.0 - weight), ("linear", weight))
    post = tuple(numbers[6:]) if twice < 0.15 else None
    return FlameMap(
        affine=tuple(numbers[:6]), variations=variations, post=post, probability=0.2 + frequency, colour=colour
    )


def _spread_colours(draws: Draws, n_maps: int) -> list[float]:
    """Colour coordinates spread evenly over [0, 1] in random order, so that any two maps can be told apart."""
    keys = draws.uniform(0.0, 1.0, n_maps)
    return [rank / (n_maps - 1) for rank in sorted(range(n_maps), key=keys.__getitem__)]


def sample_ifs(draws: Draws) -> Genome:
    """An affine system whose singular values are controlled (Anderson & Farrell 2022, section 3.2).

    Each map is a rotation, two singular values, a second rotation, and random signs; the sum over the maps of
    ``sigma_1 + 2 sigma_2`` is drawn from (5 + n) / 2 ... (6 + n) / 2, the range in which they find well-spread
    attractors. Translations are uniform in [-1, 1]; a map is taken in proportion to its determinant.
    """
    n_maps = draws.integer(2, 8)
    singular = _singular_values(draws, n_maps)
    colours = _spread_colours(draws, n_maps)
    return Genome(maps=tuple(_affine_map(draws, *pair, colour) for pair, colour in zip(singular, colours, strict=True)))


def _singular_values(draws: Draws, n_maps: int) -> list[tuple[float, float]]:
    """Pairs sigma_1 >= sigma_2 in (0, 1) with a prescribed sum of sigma_1 + 2 sigma_2 (their algorithm 1)."""
    remaining = draws.number(0.5 * (5 + n_maps), 0.5 * (6 + n_maps))
    pairs = []
    for left in range(n_maps - 1, 0, -1):
        first = draws.number(max(0.0, (remaining - 3 * left) / 3), min(1.0, remaining))
        second = draws.number(
            max(0.0, 0.5 * (remaining - first - 3 * left)), max(0.0, min(first, 0.5 * (remaining - first)))
        )
        pairs.append((first, second))
        remaining -= first + 2 * second
    second = draws.number(max(0.0, 0.5 * (remaining - 1)), remaining / 3)
    pairs.append((remaining - 2 * second, second))
    return pairs


def _affine_map(draws: Draws, first: float, second: float, colour: float) -> FlameMap:
    """Rotation, stretch, rotation, reflection and translation."""
    alpha, beta = draws.uniform(0.0, 2 * math.pi, 2)
    shift = draws.uniform(-1.0, 1.0, 2)
    sign_x, sign_y = (1.0 if number < 0.5 else -1.0 for number in draws.uniform(0.0, 1.0, 2))
    left = np.array([[math.cos(alpha), -math.sin(alpha)], [math.sin(alpha), math.cos(alpha)]])
    right = np.array([[math.cos(beta), -math.sin(beta)], [math.sin(beta), math.cos(beta)]])
    (a, b), (d, e) = (left * (first, second) @ right * (sign_x, sign_y)).tolist()
    return _area_map((a, b, shift[0], d, e, shift[1]), colour)


def sample_fractaldb(draws: Draws) -> Genome:
    """An affine system as FractalDB makes them (Kataoka et al. 2020, section 3.1; arXiv:2101.08515).

    Two to eight maps with all six coefficients uniform in [-1, 1]; a map is taken in proportion to its determinant.
    Maps that stretch are not excluded: what does not settle fills too little of its frame to be accepted.
    """
    n_maps = draws.integer(2, 8)
    colours = _spread_colours(draws, n_maps)
    return Genome(maps=tuple(_area_map(tuple(draws.uniform(-1.0, 1.0, 6)), colour) for colour in colours))


def _area_map(affine: tuple[float, ...], colour: float) -> FlameMap:
    """An affine map that is taken in proportion to the area of what it makes of the unit square."""
    a, b, _, d, e, _ = affine
    return FlameMap(affine=affine, probability=max(abs(a * e - b * d), LEAST_PROBABILITY), colour=colour)


#: Sampler by name.
SAMPLERS: dict[str, Callable[[Draws], Genome]] = {
    "flames": sample_flame,
    "ifs": sample_ifs,
    "fractaldb": sample_fractaldb,
}


def sample_genome(sampler: str, *, seed: int, index: int, attempt: int = 0) -> Genome:
    """Genome number `index` of a sampler; `attempt` numbers the candidates for one image.

    Raises
    ------
    FractalError
        If there is no sampler of this name, or a number is negative.
    """
    if sampler not in SAMPLERS:
        raise FractalError(f"unknown sampler {sampler!r}; the samplers are {', '.join(SAMPLERS)}")
    if min(seed, index, attempt) < 0:
        raise FractalError(f"seed {seed}, index {index}, attempt {attempt}: expected numbers from 0 on")
    return SAMPLERS[sampler](Draws(sampler=sampler, seed=seed, index=index, attempt=attempt))
