"""Pretraining datasets of fractal images: a sampler each, with a suitable default window and threshold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from stellarfm.contracts import PretrainingDataset
from stellarfm.exceptions import FractalError
from stellarfm.fractals.candidate_search import FractalImage, render_image
from stellarfm.fractals.genomes.genome import Genome
from stellarfm.fractals.options import FractalOptions

if TYPE_CHECKING:
    import torch

__all__ = ["FlameDataset", "FractalDBDataset", "FractalDataset", "GenomeDataset", "IFSDataset", "read_genomes"]


@dataclass(kw_only=True, eq=False)
class FractalDataset(FractalOptions, PretrainingDataset):
    """Base class of the fractal datasets; its options are those of `FractalOptions`.

    Examples
    --------
    >>> class Ferns(FractalDataset):
    ...     sampler = "ifs"
    >>> Ferns(size=16, threshold=0.1, count=10).image(0).shape
    (3, 16, 16)
    """

    def __len__(self) -> int:
        return self.count

    def image(self, index: int) -> np.ndarray:
        """Return image number `index`, float32 in [0, 1] of shape (channels, size, size).

        Raises
        ------
        IndexError
            If `index` is not in 0 ... len - 1.
        FractalError
            If none of the candidates is accepted.
        """
        return self.render(index).image

    def render(self, index: int) -> FractalImage:
        """Return image number `index` with its genome and cost; raise the errors of `image`."""
        return render_image(self, index)

    def images(self, indices: Sequence[int], *, device: torch.device | str) -> torch.Tensor:
        """Return a batch of images on `device`, rendered there unless it is the CPU."""
        if str(device).startswith("cpu"):
            return super().images(indices, device=device)
        from stellarfm.fractals.batch_search import render_images

        return render_images(self, indices, device=device).images


@dataclass(kw_only=True, eq=False)
class FlameDataset(FractalDataset):
    """Fractal flames with nonlinear variations, after the mass paper (arXiv:2510.24159, section 2).

    The paper keeps frames with a coverage of 0.8, and finds that 0.5 yields better features on natural images; it does
    not define the frame. Here it is the square [-1, 1]^2, in which three random flames in ten are accepted at 0.8; in
    the bounding box of a flame almost none is. Options: see `FractalOptions`.

    Examples
    --------
    >>> dataset = FlameDataset(size=16, seed=7)
    >>> dataset.image(4).shape
    (3, 16, 16)
    """

    sampler: ClassVar[str] = "flames"


@dataclass(kw_only=True, eq=False)
class IFSDataset(FractalDataset):
    """Affine iterated function systems with controlled singular values (Anderson & Farrell 2022, arXiv:2110.03091).

    By default the window is the square around the central 96 % of the attractor along each axis and the threshold is
    0.2, because affine attractors are thin and entirely inside the window. Options: see `FractalOptions`.

    Examples
    --------
    >>> IFSDataset(size=16, channels=1).image(0).shape
    (1, 16, 16)
    """

    sampler: ClassVar[str] = "ifs"

    threshold: float = 0.2
    window: str = "quantile"


@dataclass(kw_only=True, eq=False)
class FractalDBDataset(FractalDataset):
    """FractalDB: affine systems with uniform coefficients (Kataoka et al. 2020, arXiv:2101.08515).

    In the publication a genome is a category and is accepted if its filling rate is at least 0.2 of the frame spanned
    by the fractal itself; these are the default threshold and window. Here each index is a category of its own: the
    instances that the publication derives from a category by small changes of the coefficients are left to the
    augmentations of the pretraining method, and no labels are needed. Options: see `FractalOptions`.

    Examples
    --------
    >>> FractalDBDataset(size=16, count=100).image(99).shape
    (3, 16, 16)
    """

    sampler: ClassVar[str] = "fractaldb"

    threshold: float = 0.2
    window: str = "box"


@dataclass(kw_only=True, eq=False)
class GenomeDataset(FractalDataset):
    """Images of given genomes, one per genome, none of which is rejected by default.

    Parameters
    ----------
    genomes : tuple of Genome
        Genomes to render, at least one.

    Notes
    -----
    The other options are those of `FractalOptions`; `count` is the number of genomes, and `seed` has no effect.

    Examples
    --------
    >>> from stellarfm.fractals import sample_genome
    >>> dataset = GenomeDataset(genomes=(sample_genome("ifs", seed=0, index=1),), size=16, window="box")
    >>> len(dataset), dataset.image(0).shape
    (1, (3, 16, 16))
    """

    sampler: ClassVar[str] = "given"

    genomes: tuple[Genome, ...]
    threshold: float = 0.0
    contrast: float = 0.0
    attempts: int = 1

    def __post_init__(self) -> None:
        if not self.genomes:
            raise FractalError("genomes is empty; expected at least one genome")
        self.count = len(self.genomes)
        super().__post_init__()

    def genome(self, index: int, *, attempt: int = 0) -> Genome:
        """Return genome number `index`."""
        return self.genomes[index]


def read_genomes(path: Path) -> tuple[Genome, ...]:
    """Read the genomes of a file: one JSON object, or JSON Lines (``.jsonl``) as written by ``stellarfm fractals``.

    Parameters
    ----------
    path : Path
        Genome file.

    Raises
    ------
    FractalError
        If a genome is invalid; the message names the file and, in JSON Lines, the line.

    Examples
    --------
    >>> import tempfile
    >>> from stellarfm.fractals import sample_genome
    >>> genome = sample_genome("flames", seed=0, index=3)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "genome.json")
    ...     _ = path.write_text(genome.to_json())
    ...     read_genomes(path) == (genome,)
    True
    """
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise FractalError(f"{path}: not a text file; expected a genome in JSON") from None
    if path.suffix != ".jsonl":
        return (_read_genome(text, where=str(path)),)
    lines = enumerate(text.splitlines(), start=1)
    return tuple(_read_genome(line, where=f"{path}, line {number}") for number, line in lines if line.strip())


def _read_genome(text: str, *, where: str) -> Genome:
    """Return the genome in `text`; raise `FractalError` naming `where` it is if it is invalid."""
    try:
        return Genome.from_json(text)
    except FractalError as error:
        raise FractalError(f"{where}: {error}") from error
