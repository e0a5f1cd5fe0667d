"""Genomes compiled to arrays, and windows in pixels: the input of all renderers."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from stellarfm.exceptions import FractalError
from stellarfm.fractals.genomes.genome import Genome, Transform
from stellarfm.fractals.genomes.variations import VARIATIONS
from stellarfm.fractals.rendering.chaos_game import CHOICES

__all__ = ["FIXED_WINDOW", "PixelFrame", "Program", "Window", "compile_genome", "pixel_frame"]

#: In 32 bits, numbers up to the first round to zero and numbers beyond the second are infinite.
SMALLEST, LARGEST = 2.0**-150, 3.4e38
IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


class Window(NamedTuple):
    """A square of the plane: lower left corner and side.

    Examples
    --------
    >>> Window(x=0.0, y=0.0, side=1.0).side
    1.0
    """

    x: float
    y: float
    side: float


#: The square [-1, 1]^2, for which the coefficients of the `flames` sampler are drawn.
FIXED_WINDOW = Window(-1.0, -1.0, 2.0)


class PixelFrame(NamedTuple):
    """A window in pixels, as 32-bit numbers: column = (x - left) * scale, row = (y - bottom) * scale."""

    left: np.float32
    bottom: np.float32
    scale: np.float32


class Program(NamedTuple):
    """A genome with K maps as arrays; row K is the final map.

    Attributes
    ----------
    choice : ndarray of uint8, shape (4096,)
        Map for each of 4096 equally likely random numbers.
    affine, post : ndarray of float32, shape (K + 1, 6)
        Coefficients before and after the variations.
    has_post : ndarray of bool, shape (K + 1,)
        True for maps with coefficients after the variations.
    first : ndarray of int64, shape (K + 2,)
        Map k has the variations first[k] ... first[k + 1] - 1.
    code, weight : ndarray of int64 and float32
        Variations of all maps, one map after the other; those of a map in the order of `VARIATIONS`, without repeats.
    color : ndarray of float32, shape (K,)
        Color coordinate of each map.
    has_final : bool
        True if row K is applied.

    Examples
    --------
    >>> from stellarfm.fractals import sample_genome
    >>> program = compile_genome(sample_genome("ifs", seed=0, index=0))
    >>> isinstance(program, Program), program.choice.shape
    (True, (4096,))
    """

    choice: np.ndarray
    affine: np.ndarray
    post: np.ndarray
    has_post: np.ndarray
    first: np.ndarray
    code: np.ndarray
    weight: np.ndarray
    color: np.ndarray
    has_final: bool


def compile_genome(genome: Genome) -> Program:
    """Return the arrays of a genome.

    Parameters
    ----------
    genome : Genome
        Genome to compile.

    Raises
    ------
    FractalError
        If a coefficient or a weight exceeds the range of 32-bit numbers.

    Examples
    --------
    >>> from stellarfm.fractals import sample_genome
    >>> genome = sample_genome("flames", seed=0, index=3)
    >>> compile_genome(genome).affine.shape == (len(genome.maps) + 1, 6)
    True
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
        color=_float32([m.color for m in genome.maps]),
        has_final=genome.final is not None,
    )


def _terms(transform: Transform) -> list[tuple[int, float]]:
    """Return codes and weights of the variations of a map that do not vanish, in the order of summation."""
    weights = ((VARIATIONS.index(name), weight) for name, weight in transform.variations)
    return sorted((code, weight) for code, weight in weights if abs(weight) > SMALLEST)


def _float32(numbers: list) -> np.ndarray:
    """Return the numbers as float32; raise `FractalError` if one overflows."""
    values = np.array(numbers, dtype=np.float64)
    if values.size and max(values.max(), -values.min()) > LARGEST:
        raise FractalError("a coefficient or weight of the genome exceeds 3e38, the range of 32-bit numbers")
    return values.astype(np.float32)


def _choice_table(probabilities: list[float]) -> np.ndarray:
    """Return a table in which each map occurs in proportion to its probability, rounded to 1/4096."""
    shares = np.array(probabilities) / max(probabilities)
    edges = np.rint(np.cumsum(shares) / shares.sum() * CHOICES).astype(np.int64)
    return np.repeat(np.arange(len(shares), dtype=np.uint8), np.diff(edges, prepend=0))


def pixel_frame(window: Window, *, size: int, points: int) -> PixelFrame:
    """Return a window in pixels.

    Raises
    ------
    FractalError
        If `size` or `points` is out of range, the window is not a finite square, or it exceeds 32-bit numbers.
    """
    if not 1 <= size <= 32768 or points < 1:
        expected = "expected 1 to 32768 pixels per side and at least 1 point"
        raise FractalError(f"size {size} with {points} points cannot be rendered; {expected}")
    if not (all(map(math.isfinite, window)) and window.side > 0):
        raise FractalError(f"window {tuple(window)} is not a square; expected finite x and y and a positive side")
    scale = size / window.side
    if max(abs(window.x), abs(window.y), scale, 1.0 / scale) > LARGEST:
        raise FractalError(f"window {tuple(window)} exceeds 32-bit numbers; expected a square in their range")
    return PixelFrame(np.float32(window.x), np.float32(window.y), np.float32(scale))
