"""Heads on frozen features: linear, or the votes of the nearest neighbours."""

from __future__ import annotations

from typing import ClassVar, Protocol

import numpy as np
import torch

from stellarfm_galaxyzoo.dirichlet import dirichlet_multinomial_loss
from stellarfm_galaxyzoo.heads import concentrations_of
from stellarfm_galaxyzoo.schema import Schema

__all__ = ["HEADS", "FrozenHead", "LinearHead", "NeighbourHead", "cross_fit"]

FOLDS = 4
#: Strengths of the ridge penalty that are tried, strongest first: each starts from the one before.
PENALTIES = (100.0, 10.0, 1.0, 0.1)


class FrozenHead(Protocol):
    """What turns features (N, D) into concentrations (N, answers)."""

    kind: ClassVar[str]

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Concentrations."""

    def tensors(self) -> dict[str, np.ndarray]:
        """All that is needed to make it again."""


class LinearHead:
    """Standardised features, one linear layer, ``100 sigmoid(x) + 1``.

    Parameters
    ----------
    centre, scale : array
        Of the features, shape (D,).
    weight, bias : array
        Shapes (answers, D) and (answers,).
    """

    kind: ClassVar[str] = "linear"

    def __init__(self, centre: np.ndarray, scale: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> None:
        self.centre, self.scale, self.weight, self.bias = centre, scale, weight, bias

    @classmethod
    def fit(
        cls, features: np.ndarray, votes: np.ndarray, schema: Schema, *, penalty: float, start: LinearHead | None = None
    ) -> LinearHead:
        """The most probable head, given votes (N, answers) and a normal prior on the weights, by L-BFGS.

        `penalty` is the weight of half the sum of the squared weights, for each galaxy. `start` must stem from the same
        features.
        """
        centre, scale = features.mean(axis=0), features.std(axis=0)
        scale = np.where(scale > 1e-6, scale, 1.0)
        x, k = (torch.as_tensor(values, dtype=torch.float32) for values in ((features - centre) / scale, votes))
        weight = torch.zeros(schema.n_answers, x.shape[1]) if start is None else torch.as_tensor(start.weight).clone()
        bias = torch.full((schema.n_answers,), -3.0) if start is None else torch.as_tensor(start.bias).clone()
        index = torch.as_tensor(schema.question_of)
        parameters = [weight.requires_grad_(), bias.requires_grad_()]
        optimizer = torch.optim.LBFGS(parameters, max_iter=40, line_search_fn="strong_wolfe", tolerance_change=1e-7)

        def closure() -> torch.Tensor:
            optimizer.zero_grad()
            concentrations = concentrations_of(torch.nn.functional.linear(x, weight, bias))
            loss = dirichlet_multinomial_loss(concentrations, k, index).mean() + 0.5 * penalty * weight.square().sum()
            loss.backward()
            return loss

        optimizer.step(closure)
        return cls(centre, scale, weight.detach().numpy(), bias.detach().numpy())

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Concentrations (N, answers), between 1 and 101."""
        logits = (features - self.centre) / self.scale @ self.weight.T + self.bias
        return concentrations_of(torch.as_tensor(logits)).numpy().astype(float)

    def tensors(self) -> dict[str, np.ndarray]:
        """Centre, scale, weight and bias."""
        return {"centre": self.centre, "scale": self.scale, "weight": self.weight, "bias": self.bias}


class NeighbourHead:
    """The votes on the nearest galaxies of known votes, weighted by ``exp(cosine similarity / 0.1)``.

    The concentrations are one plus the weighted sum of the votes, the nearest galaxy having the weight one, and reduced
    to a sum of at most 100 a question. (The monitor of the hybrid system, arXiv:2206.11927, with K = 100.)

    Parameters
    ----------
    features : array
        Of the known galaxies, shape (M, D).
    votes : array
        Shape (M, answers).
    question_of : array
        Number of the question of each answer.
    """

    kind: ClassVar[str] = "knn"
    n_neighbours: ClassVar[int] = 100
    temperature: ClassVar[float] = 0.1

    def __init__(self, features: np.ndarray, votes: np.ndarray, question_of: np.ndarray) -> None:
        self.features = features.astype(np.float32)
        self.votes, self.question_of = votes.astype(np.float32), question_of
        self.centre = self.features.mean(axis=0)

    def predict(self, features: np.ndarray, *, itself: bool = False) -> np.ndarray:
        """Concentrations (N, answers); `itself`: these are the known galaxies, none of which may vote on itself."""
        similarity = _unit(features - self.centre) @ _unit(self.features - self.centre).T
        if itself:
            np.fill_diagonal(similarity, -np.inf)
        count = min(self.n_neighbours, similarity.shape[1] - itself)
        nearest = np.argpartition(-similarity, count - 1, axis=1)[:, :count]
        close = np.take_along_axis(similarity, nearest, axis=1)
        weights = np.exp((close - close.max(axis=1, keepdims=True)) / self.temperature)
        sums = np.einsum("nk,nka->na", weights, self.votes[nearest]).astype(float)
        first = np.flatnonzero(np.diff(self.question_of, prepend=-1))
        totals = np.add.reduceat(sums, first, axis=1)[:, self.question_of]
        return 1.0 + sums * np.minimum(1.0, 100.0 / np.maximum(totals, 1e-12))

    def tensors(self) -> dict[str, np.ndarray]:
        """Features, votes and the numbers of the questions."""
        return {"features": self.features, "votes": self.votes, "question_of": self.question_of}


HEADS = {"linear": LinearHead, "knn": NeighbourHead}


def cross_fit(
    kind: str, features: np.ndarray, votes: np.ndarray, schema: Schema, *, seed: int = 0
) -> tuple[LinearHead | NeighbourHead, np.ndarray]:
    """A head on all galaxies, and what heads that had not seen a galaxy say of it.

    A linear head has the penalty under which galaxies of other folds are most probable.

    Returns
    -------
    tuple
        The head, and concentrations (N, answers) to calibrate with.
    """
    if kind == "knn":
        neighbours = NeighbourHead(features, votes, schema.question_of)
        return neighbours, neighbours.predict(features, itself=True)
    fold = np.random.default_rng(seed).permutation(len(features)) % min(FOLDS, len(features))
    outside = np.zeros((len(PENALTIES), *votes.shape))
    for number in np.unique(fold):
        rest, head = fold != number, None
        for row, penalty in enumerate(PENALTIES):
            head = LinearHead.fit(features[rest], votes[rest], schema, penalty=penalty / rest.sum(), start=head)
            outside[row, ~rest] = head.predict(features[~rest])
    index = torch.as_tensor(schema.question_of)
    k = torch.as_tensor(votes)
    losses = [float(dirichlet_multinomial_loss(torch.as_tensor(a), k, index).mean()) for a in outside]
    best, head = int(np.argmin(losses)), None
    for penalty in PENALTIES[: best + 1]:
        head = LinearHead.fit(features, votes, schema, penalty=penalty / len(features), start=head)
    assert head is not None
    return head, outside[best]


def _unit(values: np.ndarray) -> np.ndarray:
    return values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12)
