"""Search for one image on the CPU: candidates are rendered one after the other until one is accepted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from stellarfm.fractals.acceptance import MINIMUM_CONTRAST, contrast, coverage, stages
from stellarfm.fractals.genomes.genome import Genome
from stellarfm.fractals.options import Candidate, FractalOptions
from stellarfm.fractals.rendering.cpu import render
from stellarfm.fractals.rendering.program import Program, Window
from stellarfm.fractals.tone_mapping import tone

__all__ = ["FractalImage", "Trial", "render_image", "try_candidate", "try_frame"]


@dataclass(frozen=True)
class FractalImage:
    """An image with its genome and its cost.

    Attributes
    ----------
    image : ndarray of float32, shape (channels, size, size)
        Pixel values in [0, 1].
    genome : Genome or None
        Genome of the image; None for images of other datasets.
    attempts : int
        Number of candidates that were tried, including the accepted one.
    renders : float
        Work for all candidates, in units of the work for one full frame.

    Examples
    --------
    >>> from stellarfm.fractals import FlameDataset
    >>> item = FlameDataset(size=16).render(4)
    >>> item.image.shape, item.attempts
    ((3, 16, 16), 2)
    """

    image: np.ndarray
    genome: Genome | None
    attempts: int = 1
    renders: float = 1.0


class Trial(NamedTuple):
    """Result of rendering a candidate.

    Attributes
    ----------
    histogram : ndarray of int64, shape (size, size, 3 or 1), or None
        Histogram of the full frame; None if the candidate was rejected.
    work : int
        Number of steps of walkers, including the burn-in.
    """

    histogram: np.ndarray | None
    work: int


def render_image(options: FractalOptions, index: int) -> FractalImage:
    """Return image number `index`, made of the first candidate that is accepted.

    Raises
    ------
    IndexError
        If `index` is not in 0 ... count - 1.
    FractalError
        If none of the candidates is accepted.

    Examples
    --------
    >>> from stellarfm.fractals import FlameDataset
    >>> render_image(FlameDataset(size=16), 4).image.dtype
    dtype('float32')
    """
    index = options.validate_index(index)
    work = 0
    for attempt in range(options.attempts):
        candidate = options.candidate(index, attempt)
        trial = try_candidate(options, candidate)
        work += trial.work
        if trial.histogram is not None:
            image = tone(trial.histogram, channels=options.channels, color=options.colour, gamma=options.gamma)
            return FractalImage(image, candidate.genome, attempt + 1, work / options.full_frame.work)
    raise options.search_failed(index)


def try_candidate(options: FractalOptions, candidate: Candidate) -> Trial:
    """Render a candidate as `options` specify, unless a coarse frame already rejects it."""
    return try_frame(
        candidate.program,
        candidate.window,
        size=options.size,
        points=options.n_points,
        threshold=options.threshold,
        minimum_contrast=options.contrast,
        color=options.needs_color,
    )


def try_frame(
    program: Program,
    window: Window,
    *,
    size: int,
    points: int,
    threshold: float,
    minimum_contrast: float = MINIMUM_CONTRAST,
    color: bool = True,
) -> Trial:
    """Render a program stage by stage, from the coarsest test to the full frame, until it is rejected.

    Parameters
    ----------
    program : Program
        Compiled genome.
    window : Window
        Part of the plane to show.
    size : int
        Side of the full frame in pixels.
    points : int
        Number of points of the full frame.
    threshold : float
        Minimum coverage, 0 to 1.
    minimum_contrast : float
        Minimum contrast of the full frame.
    color : bool
        Accumulate the color of the points as well.
    """
    work = 0
    for stage in (cascade := stages(size=size, points=points, threshold=threshold)):
        with_color = color and stage is cascade[-1]
        histogram = render(program, window, size=stage.size, points=stage.points, color=with_color)
        work += stage.work
        if coverage(histogram[..., 0]) < stage.coverage:
            return Trial(None, work)
    return Trial(histogram if contrast(histogram[..., 0]) >= minimum_contrast else None, work)
