"""Images by the batch, on a GPU: candidates for many images are tested together, and what passes is rendered together.

Batches give the images of `FractalDataset.image`, up to the rounding of the device; both take the first candidate that
passes. What must be quick in Python - drawing genomes - is a few calls a candidate; the rest is tensors.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import torch

from stellarfm.fractals.acceptance import Stage, contrast, coverage, stages
from stellarfm.fractals.render_cpu import Program, Window, choose_window, compile_genome
from stellarfm.fractals.render_gpu import render_batch
from stellarfm.fractals.tone import needs_colour, tone

if TYPE_CHECKING:
    from stellarfm.fractals.base import FractalDataset
    from stellarfm.fractals.genome import Genome

__all__ = ["Batch", "render_images"]

#: Candidates of an image that are tested at a time: three of ten pass, so few images need a second round.
LOOK_AHEAD = 4


class Batch(NamedTuple):
    """Images and where they come from.

    Attributes
    ----------
    images : torch.Tensor
        Float32 in [0, 1], shape (B, channels, size, size).
    genomes : list of Genome
        What was rendered.
    attempts : list of int
        Candidates up to the accepted one.
    renders : list of float
        Points rendered for each image, in units of the points of one image.
    """

    images: torch.Tensor
    genomes: list[Genome]
    attempts: list[int]
    renders: list[float]


class _Candidate(NamedTuple):
    """A genome that may become an image."""

    attempt: int
    genome: Genome
    program: Program
    window: Window


@dataclass
class _Search:
    """How far the search for one image has come."""

    index: int
    drawn: int = 0
    spent: int = 0
    passed: deque[_Candidate] = field(default_factory=deque)
    found: _Candidate | None = None


def render_images(dataset: FractalDataset, indices: Sequence[int], *, device: torch.device | str) -> Batch:
    """The images with these numbers.

    Parameters
    ----------
    dataset : FractalDataset
        Whose images to make.
    indices : sequence of int
        Their numbers.
    device : torch.device or str
        Where to render.

    Raises
    ------
    IndexError
        If there is no image of some number.
    FractalError
        If none of the candidates for an image is accepted.
    """
    searches = [_Search(dataset.checked_index(index)) for index in indices]
    *cheap, full = stages(size=dataset.size, points=dataset.n_points, threshold=dataset.threshold)
    histograms: list[torch.Tensor | None] = [None] * len(searches)
    while open_numbers := [number for number, search in enumerate(searches) if search.found is None]:
        _look_ahead(dataset, [searches[n] for n in open_numbers if not searches[n].passed], cheap, device)
        ready = [n for n in open_numbers if searches[n].passed]
        for number, histogram in zip(ready, _try(dataset, [searches[n] for n in ready], full, device), strict=True):
            histograms[number] = histogram
    return _finish(dataset, searches, torch.stack([h for h in histograms if h is not None]))


def _look_ahead(
    dataset: FractalDataset, searches: list[_Search], cheap: Iterable[Stage], device: torch.device | str
) -> None:
    """Draw the next candidates of each image, and keep those that pass the cheap tests."""
    drawn = [(search, candidate) for search in searches for candidate in _draw(dataset, search)]
    for stage in cheap:
        covered = coverage(_render([c for _, c in drawn], stage, device, colour=False)[..., 0])
        for search, _ in drawn:
            search.spent += stage.points
        passes = (covered >= stage.coverage).tolist()
        drawn = [pair for pair, passed in zip(drawn, passes, strict=True) if passed]
    for search, candidate in drawn:
        search.passed.append(candidate)


def _draw(dataset: FractalDataset, search: _Search) -> list[_Candidate]:
    """The next candidates of one image."""
    if search.drawn >= dataset.attempts:
        raise dataset.given_up(search.index)
    attempts = range(search.drawn, min(search.drawn + LOOK_AHEAD, dataset.attempts))
    search.drawn = attempts.stop
    return [_candidate(dataset, search.index, attempt) for attempt in attempts]


def _candidate(dataset: FractalDataset, index: int, attempt: int) -> _Candidate:
    """One candidate, ready to be rendered."""
    genome = dataset.genome(index, attempt=attempt)
    program = compile_genome(genome)
    return _Candidate(attempt, genome, program, choose_window(program, dataset.window))


def _try(
    dataset: FractalDataset, searches: list[_Search], full: Stage, device: torch.device | str
) -> list[torch.Tensor | None]:
    """Render the first candidate of each image that passed; the histogram where it is accepted."""
    candidates = [search.passed.popleft() for search in searches]
    colour = needs_colour(dataset.colour, channels=dataset.channels)
    histograms = _render(candidates, full, device, colour=colour)
    counts = histograms[..., 0]
    accepted = ((coverage(counts) >= full.coverage) & (contrast(counts) >= dataset.contrast)).tolist()
    for search, candidate, good in zip(searches, candidates, accepted, strict=True):
        search.spent += full.points
        search.found = candidate if good else None
    return [histogram if good else None for histogram, good in zip(histograms, accepted, strict=True)]


def _render(
    candidates: Sequence[_Candidate], stage: Stage, device: torch.device | str, *, colour: bool
) -> torch.Tensor:
    """Histograms of a batch, (B, size, size, 3); none for no candidates."""
    if not candidates:
        return torch.zeros((0, stage.size, stage.size, 3), dtype=torch.int64, device=device)
    return render_batch(
        [candidate.program for candidate in candidates],
        [candidate.window for candidate in candidates],
        size=stage.size,
        points=stage.points,
        seeds=[0] * len(candidates),
        device=device,
        colour=colour,
    )


def _finish(dataset: FractalDataset, searches: list[_Search], histograms: torch.Tensor) -> Batch:
    """Images out of histograms, and what they cost."""
    images = tone(histograms, channels=dataset.channels, colour=dataset.colour, gamma=dataset.gamma)
    found = [search.found for search in searches if search.found is not None]
    return Batch(
        images=images,
        genomes=[candidate.genome for candidate in found],
        attempts=[candidate.attempt + 1 for candidate in found],
        renders=[search.spent / dataset.n_points for search in searches],
    )
