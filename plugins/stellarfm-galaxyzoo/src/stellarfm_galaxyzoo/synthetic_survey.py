"""The dataset `galaxyzoo-synthetic`: a survey of simulated galaxies, some of which have votes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from stellarfm.contracts import LabelledDataset
from stellarfm_galaxyzoo.exceptions import CatalogueError
from stellarfm_galaxyzoo.schema import Schema
from stellarfm_galaxyzoo.simulated_galaxies import Galaxy, draw_galaxy, render
from stellarfm_galaxyzoo.simulated_votes import concentrations, draw_votes, is_ring

__all__ = ["SyntheticSurvey"]

SHAPE, NOISE, VOTES, CAMPAIGN = range(4)


class SyntheticSurvey(LabelledDataset):
    """Galaxies of known shape with simulated votes; a pure function of the seed and the index.

    A fraction `labelled` of the galaxies belongs to one campaign each and has votes on its questions; all other votes
    are zero. The truth is known for every galaxy: `galaxy`, `concentrations` and `fractions`.

    Parameters
    ----------
    size : int
        Side of an image in pixels.
    seed : int
        Seed of the survey.
    channels : int
        Number of bands, reddest first.
    count : int
        Number of galaxies.
    schema : sequence of str
        Campaigns, see `stellarfm_galaxyzoo.schema.Schema.load`. ``rings`` adds a single vote of an expert for
        every labelled galaxy.
    labelled : float
        Fraction of galaxies with votes.
    volunteers : int
        Number of volunteers per galaxy.
    agreement : float
        Similarity of the votes on galaxies of one shape, see `stellarfm_galaxyzoo.simulated_votes.concentrations`.
    first : int
        Number of the galaxy with index 0.

    Examples
    --------
    >>> from stellarfm_galaxyzoo import SyntheticSurvey
    >>> survey = SyntheticSurvey(size=32, count=10, labelled=1.0, schema=["rings"])
    >>> survey.image(0).shape
    (3, 32, 32)
    >>> float(survey.label(0).sum())
    1.0
    """

    def __init__(
        self,
        *,
        size: int = 64,
        seed: int = 0,
        channels: int = 3,
        count: int = 10_000,
        schema: Sequence[str] = ("dr12", "dr5", "gz2"),
        labelled: float = 0.5,
        volunteers: int = 40,
        agreement: float = 25.0,
        first: int = 0,
    ) -> None:
        if not 0.0 <= labelled <= 1.0:
            raise CatalogueError(f"labelled is {labelled}; expected a fraction between 0 and 1")
        if count < 1 or volunteers < 1:
            raise CatalogueError(f"count is {count}, volunteers {volunteers}; expected at least 1 of each")
        self.size, self.seed, self.channels, self.count, self.first = size, seed, channels, count, first
        self.campaigns = tuple(schema)
        self.schema = Schema.load(*self.campaigns)
        self.labelled, self.volunteers, self.agreement = labelled, volunteers, agreement
        sizes = [len(Schema.load(name).questions) for name in self.campaigns]
        self._campaign_of = np.repeat(np.arange(len(sizes)), sizes)
        self.label_names = self.schema.columns
        self.concentrations(0)

    def __len__(self) -> int:
        return self.count

    def _rng(self, index: int, purpose: int) -> np.random.Generator:
        return np.random.default_rng((self.seed, self.first + index, purpose))

    def galaxy(self, index: int) -> Galaxy:
        """Return the true parameters of galaxy `index`."""
        return draw_galaxy(self._rng(index, SHAPE))

    def image(self, index: int) -> np.ndarray:
        """Return image number `index`: float32 in [0, 1], shape (channels, size, size)."""
        return render(self.galaxy(index), size=self.size, channels=self.channels, rng=self._rng(index, NOISE))

    def concentrations(self, index: int) -> np.ndarray:
        """Return the true concentrations of all answers, asked or not, shape (answers,)."""
        return concentrations(self.galaxy(index), self.schema, agreement=self.agreement)

    def fractions(self, index: int) -> np.ndarray:
        """Return the fraction of each answer for infinitely many volunteers, shape (answers,)."""
        # gamma deviates, normalized per question, are a draw from the true Dirichlet distribution
        weights = self._rng(index, VOTES).gamma(self.concentrations(index))
        return self.schema.fractions(weights)

    def label(self, index: int) -> np.ndarray:
        """Return the votes on galaxy `index`: float32, shape (answers,), zero for questions that were not asked."""
        rng = self._rng(index, CAMPAIGN)
        has_votes, chosen = rng.uniform() < self.labelled, int(rng.integers(1 << 30))
        campaigns = [number for number, name in enumerate(self.campaigns) if name != "rings"]
        votes = np.zeros(self.schema.n_answers)
        if has_votes and campaigns:
            asked = self._campaign_of == campaigns[chosen % len(campaigns)]
            votes = draw_votes(self.fractions(index), self.schema, volunteers=self.volunteers, asked=asked, rng=rng)
        if has_votes and "ring_yes" in self.label_names:
            votes[self.schema.index("ring_yes" if is_ring(self.galaxy(index)) else "ring_no")] = 1.0
        return votes.astype(np.float32)

    def write(self, folder: str | os.PathLike) -> Path:
        """Write all galaxies as PNG files with a table ``catalogue.csv``, and return the path of the table.

        The folder must exist.
        """
        from astropy.table import Table
        from PIL import Image

        folder = Path(folder)
        (folder / "images").mkdir()
        if self.channels not in (1, 3):
            raise CatalogueError(f"channels is {self.channels}; expected 1 or 3")
        names = [f"synthetic-{self.seed}-{self.first + index:06d}" for index in range(len(self))]
        for index, name in enumerate(names):
            pixels = np.round(self.image(index) * 255).astype(np.uint8)
            picture = pixels[0] if self.channels == 1 else np.moveaxis(pixels, 0, 2)
            Image.fromarray(picture).save(folder / "images" / f"{name}.png")
        votes = np.stack([self.label(index) for index in range(len(self))]).astype(int)
        table = Table({"id_str": names, "file_loc": [f"images/{name}.png" for name in names]})
        for number, column in enumerate(self.label_names):
            table[column] = votes[:, number]
        table.write(folder / "catalogue.csv", format="ascii.csv")
        return folder / "catalogue.csv"
