"""What the fractal datasets share: candidates are drawn until one makes a frame that is worth an image."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np

from stellarfm.contracts import PretrainingDataset
from stellarfm.exceptions import FractalError
from stellarfm.fractals.acceptance import MINIMUM_CONTRAST, Stage, Trial, try_frame
from stellarfm.fractals.genomes.genome import Genome
from stellarfm.fractals.genomes.samplers import sample_genome
from stellarfm.fractals.rendering.chaos_game import Program, Window, compile_genome
from stellarfm.fractals.rendering.cpu import WINDOWS, choose_window
from stellarfm.fractals.tone_mapping import COLOURS, needs_colour, tone

if TYPE_CHECKING:
    import torch

__all__ = ["Candidate", "FractalDataset", "FractalImage", "default_points"]

MINIMUM_SIZE = 8
#: Points an image of 64 x 64 pixels: 15 a pixel, at which 0.8 can be met; the paper has 9 a pixel of 336 x 336.
POINTS_AT_64 = 60_000


@dataclass(frozen=True)
class FractalImage:
    """An image and where it comes from.

    Attributes
    ----------
    image : ndarray of float32, shape (channels, size, size)
        In [0, 1].
    genome : Genome or None
        What was rendered; None for images that are not of this package.
    attempts : int
        Candidates that were looked at, this one included.
    renders : float
        Work done for all of them, in units of the work for one full frame.
    """

    image: np.ndarray
    genome: Genome | None
    attempts: int = 1
    renders: float = 1.0


class Candidate(NamedTuple):
    """A genome that may become an image."""

    attempt: int
    genome: Genome
    program: Program
    window: Window


@dataclass(kw_only=True, eq=False)
class FractalDataset(PretrainingDataset):
    """Images of a sampler's genomes; subclasses name the sampler and choose defaults.

    Parameters
    ----------
    size : int
        Side in pixels, at least 8.
    seed : int
        Another seed, another million images.
    channels : int
        1 to 3.
    points : int, optional
        Points an image, those outside the window included. Default: 60,000 at 64 pixels, in proportion to the area at
        other sizes (the mass paper takes a million at 336 pixels, 9 a pixel in place of 15).
    threshold : float
        Least fraction of the pixels that must be covered.
    count : int
        Number of images.
    window : {"fixed", "quantile", "box"}
        What an image shows, and of which a fraction is covered: the square [-1, 1]^2, the square around the central
        96 % of the points along each axis, or around all of them.
    colour : {"moments", "flame", "none"}
        ``moments`` makes three channels that stand to each other like the column density, velocity and velocity
        dispersion of a cloud (see `stellarfm.fractals.tone_mapping`).
    gamma : float
        Brightens the density if above 1.
    contrast : float
        Least contrast of the density: a full but flat frame is useless (see `stellarfm.fractals.acceptance.contrast`).
    attempts : int
        Candidates for an image before it is given up.

    Attributes
    ----------
    sampler : str
        Name of the sampler that draws the genomes.

    Raises
    ------
    FractalError
        If an option is out of range, or the threshold cannot be met with so few points.
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
        _one_of("window", self.window, WINDOWS)
        _one_of("colour", self.colour, tuple(COLOURS))
        self._check()

    def _check(self) -> None:
        """Refuse what is too large, and what no single option shows."""
        if self.channels > 3:
            raise FractalError(f"channels is {self.channels}; expected 1 to 3")
        if self.seed >= 2**64:
            raise FractalError(f"seed is {self.seed}; expected a number below 2**64")
        if not 0.0 <= self.threshold <= 1.0:
            raise FractalError(f"threshold is {self.threshold}; expected a coverage from 0 to 1")
        if not 0.0 < self.gamma < float("inf"):
            raise FractalError(f"gamma is {self.gamma}; expected a positive number")
        if not 0.0 <= self.contrast < float("inf"):
            raise FractalError(f"contrast is {self.contrast}; expected a number from 0 on")
        if self.n_points < self.threshold * self.size**2:
            raise FractalError(
                f"{self.n_points} points can never cover {self.threshold:.0%} of {self.size} x {self.size} pixels; "
                "lower the threshold or give more points"
            )

    @property
    def n_points(self) -> int:
        """Points an image, by default in proportion to its area."""
        return default_points(self.size) if self.points is None else self.points

    @property
    def needs_colour(self) -> bool:
        """Whether an image shows more than the number of points."""
        return needs_colour(self.colour, channels=self.channels)

    @property
    def frame(self) -> Stage:
        """What a full frame is."""
        return Stage(self.size, self.n_points, self.threshold)

    def __len__(self) -> int:
        return self.count

    def image(self, index: int) -> np.ndarray:
        """Image number `index`: float32 in [0, 1], shape (channels, size, size).

        Raises
        ------
        IndexError
            If `index` is not one of 0 ... len - 1.
        FractalError
            If none of the candidates is accepted.
        """
        return self.render(index).image

    def render(self, index: int) -> FractalImage:
        """Image number `index` with its genome and costs; raises what `image` raises."""
        index = self.checked_index(index)
        work = 0
        for attempt in range(self.attempts):
            genome = self.genome(index, attempt=attempt)
            trial = self.trial(genome)
            work += trial.work
            if trial.histogram is not None:
                image = tone(trial.histogram, channels=self.channels, colour=self.colour, gamma=self.gamma)
                return FractalImage(image, genome, attempt + 1, work / self.frame.work)
        raise self.given_up(index)

    def images(self, indices: Sequence[int], *, device: torch.device | str) -> torch.Tensor:
        """A batch on `device`, rendered there if it is a GPU; see `PretrainingDataset.images`."""
        if str(device).startswith("cpu"):
            return super().images(indices, device=device)
        from stellarfm.fractals.batch_search import render_images

        return render_images(self, indices, device=device).images

    def genome(self, index: int, *, attempt: int = 0) -> Genome:
        """Candidate number `attempt` for an image."""
        return sample_genome(self.sampler, seed=self.seed, index=index, attempt=attempt)

    def candidate(self, index: int, attempt: int) -> Candidate:
        """Candidate number `attempt` for an image, ready to be rendered."""
        genome = self.genome(index, attempt=attempt)
        return Candidate(attempt, genome, *self._framed(genome))

    def trial(self, genome: Genome) -> Trial:
        """Render a genome in the dataset's window, if it is worth it."""
        return try_frame(
            *self._framed(genome),
            size=self.size,
            points=self.n_points,
            threshold=self.threshold,
            least_contrast=self.contrast,
            colour=self.needs_colour,
        )

    def _framed(self, genome: Genome) -> tuple[Program, Window]:
        """A genome for the renderer, and its window."""
        program = compile_genome(genome)
        return program, choose_window(program, self.window)

    def checked_index(self, index: int) -> int:
        """`index` as an integer; `IndexError` if there is no such image."""
        index = operator.index(index)
        if not 0 <= index < self.count:
            raise IndexError(f"image {index} of a dataset of {self.count}; expected 0 to {self.count - 1}")
        return index

    def given_up(self, index: int) -> FractalError:
        """The error that ends a search without success."""
        return FractalError(
            f"image {index}: none of {self.attempts} {self.sampler} genomes covers {self.threshold:.0%} of the "
            f"{self.window} window with contrast, given {self.n_points} points on {self.size} x {self.size} pixels; "
            "lower the threshold or give more points"
        )


def default_points(size: int) -> int:
    """Points for an image of `size` x `size` pixels: 15 a pixel."""
    return round(POINTS_AT_64 * (size / 64) ** 2)


def _at_least(name: str, value: int, least: int) -> int:
    """`value` as an integer that is not below `least`."""
    try:
        value = operator.index(value)
    except TypeError:
        raise FractalError(f"{name} is {value!r}; expected an integer") from None
    if value < least:
        raise FractalError(f"{name} is {value}; expected at least {least}")
    return value


def _one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    """Refuse what is not known."""
    if value not in known:
        raise FractalError(f"unknown {name} {value!r}; expected one of {', '.join(known)}")
