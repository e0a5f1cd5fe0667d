"""Images by the batch, on a GPU: candidates for many images are tested together, and what passes is rendered together.

Batches hold the images of `FractalDataset.image`: both take the first candidate that passes, and counts are equal to
the last bit wherever they are made. Only the logarithms and means of the tone are rounded as the device does.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import torch

from stellarfm.fractals.acceptance import Stage, contrast, coverage, stages
from stellarfm.fractals.rendering.dispatch import render_batch
from stellarfm.fractals.tone_mapping import tone

if TYPE_CHECKING:
    from stellarfm.fractals.base import Candidate, FractalDataset
    from stellarfm.fractals.genomes.genome import Genome

__all__ = ["Batch", "render_images"]

#: Candidates of an image that are tested at a time: three of ten pass, so few images need a second round.
LOOK_AHEAD = 4
#: Candidates that a helper draws at a time.
CHUNK = 32


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
        Work done for each image, in units of the work for one full frame.
    """

    images: torch.Tensor
    genomes: list[Genome]
    attempts: list[int]
    renders: list[float]


@dataclass
class _Search:
    """How far the search for one image has come."""

    index: int
    drawn: int = 0
    work: int = 0
    passed: deque[Candidate] = field(default_factory=deque)
    found: Candidate | None = None


def render_images(
    dataset: FractalDataset, indices: Sequence[int], *, device: torch.device | str, helpers: Executor | None = None
) -> Batch:
    """The images with these numbers.

    Parameters
    ----------
    dataset : FractalDataset
        Whose images to make.
    indices : sequence of int
        Their numbers.
    device : torch.device or str
        Where to render.
    helpers : concurrent.futures.Executor, optional
        Processes that draw genomes: a GPU renders faster than one process can draw.

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
        _look_ahead(dataset, [searches[n] for n in open_numbers if not searches[n].passed], cheap, device, helpers)
        ready = [n for n in open_numbers if searches[n].passed]
        for number, histogram in zip(ready, _try(dataset, [searches[n] for n in ready], full, device), strict=True):
            histograms[number] = histogram
    return _finish(dataset, searches, torch.stack([h for h in histograms if h is not None]))


def _look_ahead(
    dataset: FractalDataset,
    searches: list[_Search],
    cheap: Iterable[Stage],
    device: torch.device | str,
    helpers: Executor | None,
) -> None:
    """Draw the next candidates of each image, and keep those that pass the cheap tests."""
    drawn = list(_draw(dataset, searches, helpers))
    for stage in cheap:
        covered = coverage(_render([c for _, c in drawn], stage, device, colour=False)[..., 0])
        for search, _ in drawn:
            search.work += stage.work
        passes = (covered >= stage.coverage).tolist()
        drawn = [pair for pair, passed in zip(drawn, passes, strict=True) if passed]
    for search, candidate in drawn:
        search.passed.append(candidate)


def _draw(
    dataset: FractalDataset, searches: list[_Search], helpers: Executor | None
) -> Iterator[tuple[_Search, Candidate]]:
    """The next candidates of each image."""
    wanted = [(search, attempt) for search in searches for attempt in _attempts(dataset, search)]
    numbers = [search.index for search, _ in wanted], [attempt for _, attempt in wanted]
    drawn = helpers.map(dataset.candidate, *numbers, chunksize=CHUNK) if helpers else map(dataset.candidate, *numbers)
    return zip((search for search, _ in wanted), drawn, strict=True)


def _attempts(dataset: FractalDataset, search: _Search) -> range:
    """Numbers of the next candidates of one image."""
    if search.drawn >= dataset.attempts:
        raise dataset.given_up(search.index)
    attempts = range(search.drawn, min(search.drawn + LOOK_AHEAD, dataset.attempts))
    search.drawn = attempts.stop
    return attempts


def _try(
    dataset: FractalDataset, searches: list[_Search], full: Stage, device: torch.device | str
) -> list[torch.Tensor | None]:
    """Render the first candidate of each image that passed; the histogram where it is accepted."""
    candidates = [search.passed.popleft() for search in searches]
    histograms = _render(candidates, full, device, colour=dataset.needs_colour)
    counts = histograms[..., 0]
    accepted = ((coverage(counts) >= full.coverage) & (contrast(counts) >= dataset.contrast)).tolist()
    for search, candidate, good in zip(searches, candidates, accepted, strict=True):
        search.work += full.work
        search.found = candidate if good else None
    return [histogram if good else None for histogram, good in zip(histograms, accepted, strict=True)]


def _render(candidates: Sequence[Candidate], stage: Stage, device: torch.device | str, *, colour: bool) -> torch.Tensor:
    """Histograms of a batch, (B, size, size, 3 or 1); none for no candidates."""
    if not candidates:
        return torch.zeros((0, stage.size, stage.size, 1), dtype=torch.int64, device=device)
    return render_batch(
        [candidate.program for candidate in candidates],
        [candidate.window for candidate in candidates],
        size=stage.size,
        points=stage.points,
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
        renders=[search.work / dataset.frame.work for search in searches],
    )
