"""Search for a batch of images on a GPU: candidates of many images are tested and rendered together.

The images are those of `stellarfm.fractals.candidate_search.render_image`: both take the first candidate that is
accepted, and counts are bit-equal on all devices. Only the logarithms and means of the tone mapping are subject to the
rounding of the device.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import NamedTuple

import torch

from stellarfm.fractals.acceptance import Stage, contrast, coverage, stages
from stellarfm.fractals.genomes.genome import Genome
from stellarfm.fractals.options import Candidate, FractalOptions
from stellarfm.fractals.rendering.dispatch import render_batch
from stellarfm.fractals.tone_mapping import tone

__all__ = ["Batch", "render_images"]

#: Candidates per image that are tested at a time: three of ten are accepted, so few images need a second round.
LOOK_AHEAD = 4
#: Candidates that a helper process draws at a time.
CHUNK = 32


class Batch(NamedTuple):
    """A batch of B images with their genomes and costs.

    Attributes
    ----------
    images : torch.Tensor of float32, shape (B, channels, size, size)
        Pixel values in [0, 1].
    genomes : list of Genome
        Genome per image.
    attempts : list of int
        Number of candidates per image, including the accepted one.
    renders : list of float
        Work per image, in units of the work for one full frame.
    """

    images: torch.Tensor
    genomes: list[Genome]
    attempts: list[int]
    renders: list[float]


@dataclass
class _Search:
    """State of the search for one image."""

    index: int
    drawn: int = 0
    work: int = 0
    passed: deque[Candidate] = field(default_factory=deque)
    found: Candidate | None = None


def render_images(
    options: FractalOptions, indices: Sequence[int], *, device: torch.device | str, helpers: Executor | None = None
) -> Batch:
    """Return the images with the given indices.

    Parameters
    ----------
    options : FractalOptions
        Options of the images, for example a `stellarfm.fractals.FlameDataset`.
    indices : sequence of int
        Indices of the B images.
    device : torch.device or str
        Device on which the images are rendered.
    helpers : concurrent.futures.Executor, optional
        Processes that draw genomes: a GPU renders faster than one process can draw.

    Raises
    ------
    IndexError
        If an index is not in 0 ... count - 1.
    FractalError
        If none of the candidates for an image is accepted.

    Examples
    --------
    >>> from stellarfm.fractals import FlameDataset
    >>> batch = render_images(FlameDataset(size=16), [4, 0], device="cpu")
    >>> batch.images.shape
    torch.Size([2, 3, 16, 16])
    """
    searches = [_Search(options.validate_index(index)) for index in indices]
    *coarse, full = stages(size=options.size, points=options.n_points, threshold=options.threshold)
    histograms: list[torch.Tensor | None] = [None] * len(searches)
    while pending := [number for number, search in enumerate(searches) if search.found is None]:
        _look_ahead(options, [searches[n] for n in pending if not searches[n].passed], coarse, device, helpers)
        ready = [n for n in pending if searches[n].passed]
        rendered = _render_next(options, [searches[n] for n in ready], full, device)
        for number, histogram in zip(ready, rendered, strict=True):
            histograms[number] = histogram
    found = [search.found for search in searches if search.found is not None]
    accepted = torch.stack([histogram for histogram in histograms if histogram is not None])
    return Batch(
        images=tone(accepted, channels=options.channels, color=options.colour, gamma=options.gamma),
        genomes=[candidate.genome for candidate in found],
        attempts=[candidate.attempt + 1 for candidate in found],
        renders=[search.work / options.full_frame.work for search in searches],
    )


def _look_ahead(
    options: FractalOptions,
    searches: list[_Search],
    coarse: Iterable[Stage],
    device: torch.device | str,
    helpers: Executor | None,
) -> None:
    """Draw the next candidates of each image, and keep those that pass the coarse stages."""
    drawn = list(_draw(options, searches, helpers))
    for stage in coarse:
        covered = coverage(_render([c for _, c in drawn], stage, device, color=False)[..., 0])
        for search, _ in drawn:
            search.work += stage.work
        passes = (covered >= stage.coverage).tolist()
        drawn = [pair for pair, passed in zip(drawn, passes, strict=True) if passed]
    for search, candidate in drawn:
        search.passed.append(candidate)


def _draw(
    options: FractalOptions, searches: list[_Search], helpers: Executor | None
) -> Iterator[tuple[_Search, Candidate]]:
    """Return the next candidates of each image, each with its search."""
    owners: list[_Search] = []
    attempts: list[int] = []
    for search in searches:
        if search.drawn >= options.attempts:
            raise options.search_failed(search.index)
        numbers = range(search.drawn, min(search.drawn + LOOK_AHEAD, options.attempts))
        search.drawn = numbers.stop
        owners += [search] * len(numbers)
        attempts += numbers
    addresses = [search.index for search in owners], attempts
    drawn = (
        helpers.map(options.candidate, *addresses, chunksize=CHUNK) if helpers else map(options.candidate, *addresses)
    )
    return zip(owners, drawn, strict=True)


def _render_next(
    options: FractalOptions, searches: list[_Search], full: Stage, device: torch.device | str
) -> list[torch.Tensor | None]:
    """Render the next candidate of each image; return its histogram, or None if it is rejected."""
    candidates = [search.passed.popleft() for search in searches]
    histograms = _render(candidates, full, device, color=options.needs_color)
    counts = histograms[..., 0]
    accepted = ((coverage(counts) >= full.coverage) & (contrast(counts) >= options.contrast)).tolist()
    for search, candidate, good in zip(searches, candidates, accepted, strict=True):
        search.work += full.work
        search.found = candidate if good else None
    return [histogram if good else None for histogram, good in zip(histograms, accepted, strict=True)]


def _render(candidates: Sequence[Candidate], stage: Stage, device: torch.device | str, *, color: bool) -> torch.Tensor:
    """Return histograms of shape (B, size, size, 3 or 1); B may be 0."""
    if not candidates:
        return torch.zeros((0, stage.size, stage.size, 1), dtype=torch.int64, device=device)
    return render_batch(
        [candidate.program for candidate in candidates],
        [candidate.window for candidate in candidates],
        size=stage.size,
        points=stage.points,
        device=device,
        color=color,
    )
