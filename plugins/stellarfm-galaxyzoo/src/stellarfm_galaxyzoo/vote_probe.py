"""Probe of a pretraining run: prediction of votes from the nearest neighbors in feature space."""

from __future__ import annotations

import numpy as np
import torch

from stellarfm.contracts import Encoder, LabelledDataset
from stellarfm_galaxyzoo.dirichlet import dirichlet_multinomial_loss
from stellarfm_galaxyzoo.exceptions import CatalogueError
from stellarfm_galaxyzoo.model import features_of
from stellarfm_galaxyzoo.readout_heads import NeighborHead
from stellarfm_galaxyzoo.vote_columns import question_numbers, question_totals

__all__ = ["VoteProbe"]


class VoteProbe:
    """Prediction of the votes on each galaxy from its nearest neighbors among the others.

    Pass it to `stellarfm.pretraining.callbacks.probe.Probe` as `ask`; scores are written to ``probe.csv`` of the run.

    Parameters
    ----------
    dataset : LabelledDataset
        Dataset with votes, whose first `count` galaxies are used; pretrain the run on other galaxies.
    count : int
        Number of galaxies.

    Examples
    --------
    >>> from stellarfm_galaxyzoo import SyntheticSurvey, VoteProbe
    >>> probe = VoteProbe(SyntheticSurvey(size=16, count=30, labelled=1.0), count=10)
    >>> len(probe)
    10
    """

    about = "votes predicted by nearest neighbors: gain in loss over a uniform prediction, and error of the fractions"

    def __init__(self, dataset: LabelledDataset, *, count: int = 500) -> None:
        self.dataset = dataset
        self.count = min(count, len(dataset))
        self.question_of = np.array(question_numbers(dataset.label_names))
        self.votes = np.stack([dataset.label(index) for index in range(self.count)])
        if (self.votes.sum(axis=1) > 0).sum() < 3:
            raise CatalogueError(f"fewer than 3 of {self.count} galaxies have votes; expected at least 3")

    def __len__(self) -> int:
        return self.count

    def image(self, index: int) -> np.ndarray:
        """Return the image of galaxy `index`."""
        return self.dataset.image(index)

    def __call__(self, encoder: Encoder) -> dict[str, float]:
        """Return ``gain``, the decrease of the loss from concentrations of one in nats per galaxy, and ``error``."""
        features = features_of(encoder, self)
        encoder.train()  # type: ignore[attr-defined]
        predicted = NeighborHead(features, self.votes, self.question_of).predict(features, exclude_self=True)
        index, votes = torch.as_tensor(self.question_of), torch.as_tensor(self.votes)
        uniform_loss, loss = (
            dirichlet_multinomial_loss(torch.as_tensor(a), votes, index).mean().item()
            for a in (np.ones_like(predicted), predicted)
        )
        error = np.nanmean(np.abs(self._fractions(predicted) - self._fractions(self.votes)))
        return {"gain": uniform_loss - loss, "error": float(error)}

    def _fractions(self, values: np.ndarray) -> np.ndarray:
        totals = question_totals(np.asarray(values, float), self.question_of)
        return np.divide(values, totals, out=np.full(values.shape, np.nan), where=totals > 0)
