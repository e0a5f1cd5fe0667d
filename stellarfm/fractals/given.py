"""Images of genomes that are given, not drawn."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from stellarfm.exceptions import FractalError
from stellarfm.fractals.base import FractalDataset
from stellarfm.fractals.genomes.genome import Genome

__all__ = ["GenomeDataset", "read_genomes"]


@dataclass(kw_only=True, eq=False)
class GenomeDataset(FractalDataset):
    """One image for each genome of a list, whatever it looks like: nothing is refused.

    Parameters
    ----------
    genomes : tuple of Genome
        What to render, at least one.

    Notes
    -----
    The other options are those of `FractalDataset`; `count` follows from the genomes, `seed` changes nothing.
    """

    sampler: ClassVar[str] = "given"

    genomes: tuple[Genome, ...]
    threshold: float = 0.0
    contrast: float = 0.0
    attempts: int = 1

    def __post_init__(self) -> None:
        if not self.genomes:
            raise FractalError("genomes is empty; give at least one")
        self.count = len(self.genomes)
        super().__post_init__()

    def genome(self, index: int, *, attempt: int = 0) -> Genome:
        """Genome number `index` of the list."""
        return self.genomes[index]


def read_genomes(path: Path) -> tuple[Genome, ...]:
    """The genomes of a file: one JSON object, or JSON Lines as ``stellarfm fractals`` writes them.

    Raises
    ------
    FractalError
        If the file holds no genome, naming the file and, of several, the line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise FractalError(f"{path}: not a text file; expected a genome in JSON") from None
    if path.suffix != ".jsonl":
        return (_genome(text, where=str(path)),)
    lines = enumerate(text.splitlines(), start=1)
    return tuple(_genome(line, where=f"{path}, line {number}") for number, line in lines if line.strip())


def _genome(text: str, *, where: str) -> Genome:
    """A genome, or an error that says where it stands."""
    try:
        return Genome.from_json(text)
    except FractalError as error:
        raise FractalError(f"{where}: {error}") from error
