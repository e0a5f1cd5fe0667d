"""Samplers: probability distributions of genomes, by name.

A genome is a pure function of (sampler, seed, index, attempt); see `stellarfm.fractals.genomes.random_stream`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from stellarfm.exceptions import FractalError
from stellarfm.fractals.genomes.genome import FlameMap, Genome
from stellarfm.fractals.genomes.random_stream import RandomStream
from stellarfm.fractals.genomes.variations import VARIATIONS

__all__ = ["SAMPLERS", "sample_genome"]

NONLINEAR = VARIATIONS[1:]
#: Minimum probability of a map: one that projects the plane onto a line has determinant 0 but is taken nevertheless.
MINIMUM_PROBABILITY = 1e-3


def sample_flame(stream: RandomStream) -> Genome:
    """Draw a fractal flame after the mass paper (arXiv:2510.24159, section 2; choices it leaves open are ours).

    Two to eight affine maps with coefficients uniform in [-1.2, 1.2]; each map has, with probability 0.7, one
    nonlinear variation, mixed in half of the cases with the linear one; three maps in twenty have a second affine map.
    Wider coefficients and more maps fill the default window more often: three genomes in ten are accepted at 0.8.
    """
    n_maps = stream.integer(2, 8)
    colors = _spread_colors(stream, n_maps)
    return Genome(maps=tuple(_flame_map(stream, color) for color in colors))


def _flame_map(stream: RandomStream, color: float) -> FlameMap:
    """Draw one map of a flame."""
    numbers = stream.uniform(-1.2, 1.2, 12)
    nonlinear, mixed, weight, second, frequency = stream.uniform(0.0, 1.0, 5)
    name = NONLINEAR[stream.integer(0, len(NONLINEAR) - 1)]
    variations: tuple[tuple[str, float], ...] = (("linear", 1.0),)
    if nonlinear < 0.7:
        variations = ((name, 1.0),) if mixed < 0.5 else ((name, 1.0 - weight), ("linear", weight))
    post = tuple(numbers[6:]) if second < 0.15 else None
    return FlameMap(
        affine=tuple(numbers[:6]), variations=variations, post=post, probability=0.2 + frequency, color=color
    )


def _spread_colors(stream: RandomStream, n_maps: int) -> list[float]:
    """Draw color coordinates spread evenly over [0, 1] in random order, so that all maps differ."""
    keys = stream.uniform(0.0, 1.0, n_maps)
    return [rank / (n_maps - 1) for rank in sorted(range(n_maps), key=keys.__getitem__)]


def sample_ifs(stream: RandomStream) -> Genome:
    """Draw an affine system with controlled singular values (Anderson & Farrell 2022, section 3.2).

    Each map is a rotation, two singular values, a second rotation, and random signs; the sum over the maps of
    ``sigma_1 + 2 sigma_2`` is drawn from (5 + n) / 2 ... (6 + n) / 2, the range in which they find well-spread
    attractors. Translations are uniform in [-1, 1]; the probability of a map is proportional to its determinant.
    """
    n_maps = stream.integer(2, 8)
    singular = _singular_values(stream, n_maps)
    colors = _spread_colors(stream, n_maps)
    return Genome(maps=tuple(_affine_map(stream, *pair, color) for pair, color in zip(singular, colors, strict=True)))


def _singular_values(stream: RandomStream, n_maps: int) -> list[tuple[float, float]]:
    """Draw pairs sigma_1 >= sigma_2 in (0, 1) with a prescribed sum of sigma_1 + 2 sigma_2 (their algorithm 1)."""
    remaining = stream.number(0.5 * (5 + n_maps), 0.5 * (6 + n_maps))
    pairs = []
    for left in range(n_maps - 1, 0, -1):
        first = stream.number(max(0.0, (remaining - 3 * left) / 3), min(1.0, remaining))
        second = stream.number(
            max(0.0, 0.5 * (remaining - first - 3 * left)), max(0.0, min(first, 0.5 * (remaining - first)))
        )
        pairs.append((first, second))
        remaining -= first + 2 * second
    second = stream.number(max(0.0, 0.5 * (remaining - 1)), remaining / 3)
    pairs.append((remaining - 2 * second, second))
    return pairs


def _affine_map(stream: RandomStream, first: float, second: float, color: float) -> FlameMap:
    """Draw a map: rotation, scaling, rotation, reflection and translation."""
    alpha, beta = stream.uniform(0.0, 2 * math.pi, 2)
    shift = stream.uniform(-1.0, 1.0, 2)
    sign_x, sign_y = (1.0 if number < 0.5 else -1.0 for number in stream.uniform(0.0, 1.0, 2))
    left = np.array([[math.cos(alpha), -math.sin(alpha)], [math.sin(alpha), math.cos(alpha)]])
    right = np.array([[math.cos(beta), -math.sin(beta)], [math.sin(beta), math.cos(beta)]])
    (a, b), (d, e) = (left * (first, second) @ right * (sign_x, sign_y)).tolist()
    return _area_map((a, b, shift[0], d, e, shift[1]), color)


def sample_fractaldb(stream: RandomStream) -> Genome:
    """Draw an affine system after FractalDB (Kataoka et al. 2020, section 3.1; arXiv:2101.08515).

    Two to eight maps with all six coefficients uniform in [-1, 1]; the probability of a map is proportional to its
    determinant. Expanding maps are not excluded: a diverging system fills too little of its frame to be accepted.
    """
    n_maps = stream.integer(2, 8)
    colors = _spread_colors(stream, n_maps)
    return Genome(maps=tuple(_area_map(tuple(stream.uniform(-1.0, 1.0, 6)), color) for color in colors))


def _area_map(affine: tuple[float, ...], color: float) -> FlameMap:
    """Return an affine map whose probability is the area of its image of the unit square."""
    a, b, _, d, e, _ = affine
    return FlameMap(affine=affine, probability=max(abs(a * e - b * d), MINIMUM_PROBABILITY), color=color)


#: Samplers by name.
SAMPLERS: dict[str, Callable[[RandomStream], Genome]] = {
    "flames": sample_flame,
    "ifs": sample_ifs,
    "fractaldb": sample_fractaldb,
}


def sample_genome(sampler: str, *, seed: int, index: int, attempt: int = 0) -> Genome:
    """Return candidate number `attempt` of a sampler for image number `index`.

    Parameters
    ----------
    sampler : str
        Name in `SAMPLERS`.
    seed, index, attempt : int
        Address of the genome, numbers from 0 on.

    Raises
    ------
    FractalError
        If the sampler is unknown, or a number is negative.

    Examples
    --------
    >>> genome = sample_genome("flames", seed=0, index=3)
    >>> len(genome.maps)
    2
    """
    if sampler not in SAMPLERS:
        raise FractalError(f"unknown sampler {sampler!r}; the samplers are {', '.join(SAMPLERS)}")
    if min(seed, index, attempt) < 0:
        raise FractalError(f"seed {seed}, index {index}, attempt {attempt}: expected numbers of at least 0")
    return SAMPLERS[sampler](RandomStream(sampler=sampler, seed=seed, index=index, attempt=attempt))
