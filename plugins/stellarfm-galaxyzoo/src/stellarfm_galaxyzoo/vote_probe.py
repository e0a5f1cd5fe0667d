"""The monitor of a pretraining run: how well frozen features find galaxies that were voted on alike."""

from __future__ import annotations

import numpy as np
import torch

from stellarfm.contracts import Encoder, LabelledDataset
from stellarfm_galaxyzoo.dirichlet import dirichlet_multinomial_loss
from stellarfm_galaxyzoo.exceptions import CatalogueError
from stellarfm_galaxyzoo.model import features_of
from stellarfm_galaxyzoo.readout_heads import NeighbourHead
from stellarfm_galaxyzoo.vote_columns import question_numbers

__all__ = ["VoteProbe"]


class VoteProbe:
    """Votes on a few galaxies, foretold by their nearest neighbours among the others.

    Give it to `stellarfm.pretraining.callbacks.probe.Probe` as `ask`; scores are written to ``probe.csv`` of the run.

    Parameters
    ----------
    dataset : LabelledDataset
        With votes. The first `count` galaxies are asked about; a run had better be pretrained on others.
    count : int
        Number of galaxies.
    """

    about = "votes foretold by nearest neighbours: loss against that of ignorance, and error of the fractions"

    def __init__(self, dataset: LabelledDataset, *, count: int = 500) -> None:
        self.dataset = dataset
        self.count = min(count, len(dataset))
        self.question_of = np.array(question_numbers(dataset.label_names))
        self.votes = np.stack([dataset.label(index) for index in range(self.count)])
        if (self.votes.sum(axis=1) > 0).sum() < 3:
            raise CatalogueError(f"fewer than 3 of {self.count} galaxies have votes; a probe needs more")

    def __len__(self) -> int:
        return self.count

    def image(self, index: int) -> np.ndarray:
        """Image of galaxy `index`."""
        return self.dataset.image(index)

    def __call__(self, encoder: Encoder) -> dict[str, float]:
        """``gain``: nats a galaxy by which the votes are more probable than with concentrations of one; ``error``."""
        features = features_of(encoder, self)
        encoder.train()  # type: ignore[attr-defined]
        found = NeighbourHead(features, self.votes, self.question_of).predict(features, itself=True)
        index, votes = torch.as_tensor(self.question_of), torch.as_tensor(self.votes)
        ignorant, learnt = (
            dirichlet_multinomial_loss(torch.as_tensor(a), votes, index).mean().item()
            for a in (np.ones_like(found), found)
        )
        said, seen = self._fractions(found), self._fractions(self.votes)
        return {"gain": ignorant - learnt, "error": float(np.nanmean(np.abs(said - seen)))}

    def _fractions(self, values: np.ndarray) -> np.ndarray:
        first = np.flatnonzero(np.diff(self.question_of, prepend=-1))
        totals = np.add.reduceat(np.asarray(values, float), first, axis=1)[:, self.question_of]
        return np.divide(values, totals, out=np.full(values.shape, np.nan), where=totals > 0)
