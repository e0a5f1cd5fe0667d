"""Heads on the features of a frozen encoder: linear, or the votes of the nearest neighbors."""

from __future__ import annotations

from typing import ClassVar, Protocol, Self

import numpy as np
import torch

from stellarfm_galaxyzoo.dirichlet import dirichlet_multinomial_loss
from stellarfm_galaxyzoo.heads import concentrations_of
from stellarfm_galaxyzoo.schema import Schema
from stellarfm_galaxyzoo.vote_columns import question_totals

__all__ = ["HEADS", "LinearHead", "NeighborHead", "ReadoutHead", "cross_fit"]

FOLDS = 4
#: Candidates for the strength of the ridge penalty; each fit starts from the result of the previous one.
PENALTIES = (100.0, 10.0, 1.0, 0.1)


class ReadoutHead(Protocol):
    """Interface of a head that maps features (N, D) to concentrations (N, answers)."""

    kind: ClassVar[str]

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Return concentrations (N, answers) for features (N, D)."""

    def tensors(self) -> dict[str, np.ndarray]:
        """Return the state of the head."""


class LinearHead:
    """Linear head on standardized features, ``100 sigmoid(x) + 1``.

    Parameters
    ----------
    center : array
        Mean of the features, shape (D,).
    scale : array
        Standard deviation of the features, shape (D,).
    weight : array
        Weights, shape (answers, D).
    bias : array
        Biases, shape (answers,).
    """

    kind: ClassVar[str] = "linear"

    def __init__(self, center: np.ndarray, scale: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> None:
        self.center, self.scale, self.weight, self.bias = center, scale, weight, bias

    @classmethod
    def from_tensors(cls, tensors: dict[str, np.ndarray]) -> Self:
        """Return the head of a state that `tensors` returned."""
        return cls(*(tensors[name] for name in ("centre", "scale", "weight", "bias")))

    @classmethod
    def fit(
        cls, features: np.ndarray, votes: np.ndarray, schema: Schema, *, penalty: float, start: LinearHead | None = None
    ) -> LinearHead:
        """Fit the most probable head, given votes (N, answers) and a normal prior on the weights, with L-BFGS.

        `penalty` multiplies half the sum of the squared weights in the loss per galaxy. `start`, the initial head, must
        have been fitted to the same features.
        """
        center, scale = features.mean(axis=0), features.std(axis=0)
        scale = np.where(scale > 1e-6, scale, 1.0)
        x, k = (torch.as_tensor(values, dtype=torch.float32) for values in ((features - center) / scale, votes))
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
        return cls(center, scale, weight.detach().numpy(), bias.detach().numpy())

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Return concentrations (N, answers), between 1 and 101."""
        logits = (features - self.center) / self.scale @ self.weight.T + self.bias
        return concentrations_of(torch.as_tensor(logits)).numpy().astype(float)

    def tensors(self) -> dict[str, np.ndarray]:
        """Return the state of the head; its keys are those of stored models."""
        return {"centre": self.center, "scale": self.scale, "weight": self.weight, "bias": self.bias}


class NeighborHead:
    """Votes on the 100 nearest galaxies with known votes, weighted by ``exp(cosine similarity / 0.1)``.

    Concentrations are one plus the weighted sum of the votes, where the nearest galaxy has the weight one, scaled to a
    sum of at most 100 per question. This is the monitor of the hybrid system (arXiv:2206.11927) with K = 100.

    Parameters
    ----------
    features : array
        Features of the galaxies with known votes, shape (M, D).
    votes : array
        Numbers of votes on these galaxies, shape (M, answers).
    question_of : array
        Number of the question of each answer, shape (answers,).
    """

    kind: ClassVar[str] = "knn"
    n_neighbors: ClassVar[int] = 100
    temperature: ClassVar[float] = 0.1

    def __init__(self, features: np.ndarray, votes: np.ndarray, question_of: np.ndarray) -> None:
        self.features = features.astype(np.float32)
        self.votes, self.question_of = votes.astype(np.float32), question_of
        self.center = self.features.mean(axis=0)

    @classmethod
    def from_tensors(cls, tensors: dict[str, np.ndarray]) -> Self:
        """Return the head of a state that `tensors` returned."""
        return cls(**tensors)

    def predict(self, features: np.ndarray, *, exclude_self: bool = False) -> np.ndarray:
        """Return concentrations (N, answers).

        With `exclude_self`, `features` are those of the known galaxies, and each is excluded from its own neighbors.
        """
        similarity = _unit(features - self.center) @ _unit(self.features - self.center).T
        if exclude_self:
            np.fill_diagonal(similarity, -np.inf)
        count = min(self.n_neighbors, similarity.shape[1] - exclude_self)
        nearest = np.argpartition(-similarity, count - 1, axis=1)[:, :count]
        close = np.take_along_axis(similarity, nearest, axis=1)
        weights = np.exp((close - close.max(axis=1, keepdims=True)) / self.temperature)
        sums = np.einsum("nk,nka->na", weights, self.votes[nearest]).astype(float)
        totals = question_totals(sums, self.question_of)
        return 1.0 + sums * np.minimum(1.0, 100.0 / np.maximum(totals, 1e-12))

    def tensors(self) -> dict[str, np.ndarray]:
        """Return features, votes and the numbers of the questions."""
        return {"features": self.features, "votes": self.votes, "question_of": self.question_of}


HEADS: dict[str, type[LinearHead] | type[NeighborHead]] = {"linear": LinearHead, "knn": NeighborHead}


def cross_fit(
    kind: str, features: np.ndarray, votes: np.ndarray, schema: Schema, *, seed: int = 0
) -> tuple[LinearHead | NeighborHead, np.ndarray]:
    """Fit a head to all galaxies, and predict each galaxy with a head that was not fitted to it.

    The penalty of a linear head is the one with the largest likelihood of held-out galaxies.

    Parameters
    ----------
    kind : {"linear", "knn"}
        Kind of head.
    features : array
        Features, shape (N, D).
    votes : array
        Numbers of votes, shape (N, answers).
    schema : Schema
        Questions of the answers.
    seed : int
        Seed of the folds.

    Returns
    -------
    head : LinearHead or NeighborHead
        Head fitted to all galaxies.
    concentrations : numpy.ndarray
        Out-of-fold concentrations, shape (N, answers), for the calibration.
    """
    if kind == "knn":
        neighbors = NeighborHead(features, votes, schema.question_of)
        return neighbors, neighbors.predict(features, exclude_self=True)
    fold = np.random.default_rng(seed).permutation(len(features)) % min(FOLDS, len(features))
    held_out = np.zeros((len(PENALTIES), *votes.shape))
    for number in np.unique(fold):
        rest, head = fold != number, None
        for row, penalty in enumerate(PENALTIES):
            head = LinearHead.fit(features[rest], votes[rest], schema, penalty=penalty / rest.sum(), start=head)
            held_out[row, ~rest] = head.predict(features[~rest])
    index = torch.as_tensor(schema.question_of)
    k = torch.as_tensor(votes)
    losses = [float(dirichlet_multinomial_loss(torch.as_tensor(a), k, index).mean()) for a in held_out]
    best, head = int(np.argmin(losses)), None
    for penalty in PENALTIES[: best + 1]:
        head = LinearHead.fit(features, votes, schema, penalty=penalty / len(features), start=head)
    assert head is not None
    return head, held_out[best]


def _unit(values: np.ndarray) -> np.ndarray:
    return values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12)
