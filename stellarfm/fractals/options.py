"""Options of a fractal dataset, and the candidates that follow from them."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from stellarfm.exceptions import FractalError
from stellarfm.fractals.acceptance import MINIMUM_CONTRAST, Stage
from stellarfm.fractals.genomes.genome import Genome
from stellarfm.fractals.genomes.samplers import sample_genome
from stellarfm.fractals.rendering.cpu import WINDOWS, choose_window
from stellarfm.fractals.rendering.program import Program, Window, compile_genome
from stellarfm.fractals.tone_mapping import COLORS, needs_color

__all__ = ["Candidate", "FractalOptions", "default_points"]

MINIMUM_SIZE = 8
#: Points per image of 64 x 64 pixels: 15 per pixel, at which a coverage of 0.8 can be reached. The mass paper uses 9
#: per pixel at 336 x 336 pixels.
POINTS_AT_64 = 60_000


class Candidate(NamedTuple):
    """A genome that may become an image, compiled for the renderers."""

    attempt: int
    genome: Genome
    program: Program
    window: Window


@dataclass(kw_only=True, eq=False)
class FractalOptions:
    """Options that determine the images of a fractal dataset; subclasses set `sampler`.

    Parameters
    ----------
    size : int
        Side of an image in pixels, at least 8.
    seed : int
        Seed of the genomes, 0 to 2^64 - 1.
    channels : int
        Number of channels, 1 to 3.
    points : int, optional
        Points per image, including those outside the window. Default: 60,000 at 64 pixels, proportional to the area at
        other sizes (15 per pixel; the mass paper uses a million at 336 pixels, 9 per pixel).
    threshold : float
        Minimum fraction of pixels that hold a point.
    count : int
        Number of images.
    window : {"fixed", "quantile", "box"}
        Region of the plane that an image shows: the square [-1, 1]^2, the square around the central 96 % of the points
        along each axis, or the square around all points.
    colour : {"moments", "flame", "none"}
        Content of the channels (see `stellarfm.fractals.tone_mapping`). ``moments`` yields three channels related like
        column density, velocity and velocity dispersion of a cloud.
    gamma : float
        Exponent of the tone curve; values above 1 brighten the density.
    contrast : float
        Minimum contrast of the density (see `stellarfm.fractals.acceptance.contrast`).
    attempts : int
        Maximum number of candidates per image.

    Attributes
    ----------
    sampler : str
        Name of the sampler of the genomes.

    Raises
    ------
    FractalError
        If an option is out of range, or `points` are too few to reach `threshold`.

    Examples
    --------
    >>> from stellarfm.fractals import FlameDataset
    >>> options = FlameDataset(size=32)
    >>> options.n_points
    15000
    >>> len(options.candidate(0, attempt=0).genome.maps)
    7
    """

    sampler: ClassVar[str]

    size: int = 64
    seed: int = 0
    channels: int = 3
    points: int | None = None
    threshold: float = 0.8
    count: int = 1_000_000
    window: str = "fixed"
    colour: str = "moments"
    gamma: float = 1.0
    contrast: float = MINIMUM_CONTRAST
    attempts: int = 1000

    def __post_init__(self) -> None:
        self.size = _at_least("size", self.size, MINIMUM_SIZE)
        self.seed = _at_least("seed", self.seed, 0)
        self.channels = _at_least("channels", self.channels, 1)
        self.points = None if self.points is None else _at_least("points", self.points, 1)
        self.count = _at_least("count", self.count, 1)
        self.attempts = _at_least("attempts", self.attempts, 1)
        for name, value, known in (("window", self.window, WINDOWS), ("colour", self.colour, COLORS)):
            if value not in known:
                raise FractalError(f"unknown {name} {value!r}; expected one of {', '.join(known)}")
        self._check_ranges()

    def _check_ranges(self) -> None:
        """Raise `FractalError` for values that are too large, or that contradict each other."""
        if self.channels > 3:
            raise FractalError(f"channels is {self.channels}; expected 1 to 3")
        if self.seed >= 2**64:
            raise FractalError(f"seed is {self.seed}; expected a number below 2**64")
        if not 0.0 <= self.threshold <= 1.0:
            raise FractalError(f"threshold is {self.threshold}; expected a coverage from 0 to 1")
        if not 0.0 < self.gamma < float("inf"):
            raise FractalError(f"gamma is {self.gamma}; expected a positive number")
        if not 0.0 <= self.contrast < float("inf"):
            raise FractalError(f"contrast is {self.contrast}; expected a number of at least 0")
        if self.n_points < self.threshold * self.size**2:
            raise FractalError(
                f"{self.n_points} points can never cover {self.threshold:.0%} of {self.size} x {self.size} pixels; "
                "lower the threshold or use more points"
            )

    @property
    def n_points(self) -> int:
        """Points per image, by default proportional to its area."""
        return default_points(self.size) if self.points is None else self.points

    @property
    def needs_color(self) -> bool:
        """True if an image depends on more than the number of points per pixel."""
        return needs_color(self.colour, channels=self.channels)

    @property
    def full_frame(self) -> Stage:
        """Size, points and minimum coverage of a full frame."""
        return Stage(self.size, self.n_points, self.threshold)

    def genome(self, index: int, *, attempt: int = 0) -> Genome:
        """Return candidate number `attempt` for image number `index`."""
        return sample_genome(self.sampler, seed=self.seed, index=index, attempt=attempt)

    def candidate(self, index: int, attempt: int) -> Candidate:
        """Return candidate number `attempt` for image number `index`, compiled for the renderers."""
        return self.compile(self.genome(index, attempt=attempt), attempt=attempt)

    def compile(self, genome: Genome, *, attempt: int = 0) -> Candidate:
        """Return a genome as a candidate: compiled for the renderers, with the window of its image."""
        program = compile_genome(genome)
        return Candidate(attempt, genome, program, choose_window(program, self.window))

    def validate_index(self, index: int) -> int:
        """Return `index` as an int.

        Raises
        ------
        IndexError
            If `index` is not in 0 ... count - 1.
        """
        index = operator.index(index)
        if not 0 <= index < self.count:
            raise IndexError(f"image {index} of a dataset of {self.count}; expected 0 to {self.count - 1}")
        return index

    def search_failed(self, index: int) -> FractalError:
        """Return the error for an image none of whose candidates is accepted."""
        return FractalError(
            f"image {index}: none of {self.attempts} {self.sampler} genomes covers {self.threshold:.0%} of the "
            f"{self.window} window with contrast, given {self.n_points} points on {self.size} x {self.size} pixels; "
            "lower the threshold or use more points"
        )


def default_points(size: int) -> int:
    """Return the number of points for an image of `size` x `size` pixels: 15 per pixel.

    Examples
    --------
    >>> default_points(128)
    240000
    """
    return round(POINTS_AT_64 * (size / 64) ** 2)


def _at_least(name: str, value: int, minimum: int) -> int:
    """Return `value` as an int; raise `FractalError` if it is not an integer of at least `minimum`."""
    try:
        value = operator.index(value)
    except TypeError:
        raise FractalError(f"{name} is {value!r}; expected an integer") from None
    if value < minimum:
        raise FractalError(f"{name} is {value}; expected at least {minimum}")
    return value
