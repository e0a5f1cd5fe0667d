"""Networks on top of an encoder: projector, predictor and head of the votes."""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["VoteHead", "concentrations_of", "mlp"]

#: Range of the concentrations: ``100 sigmoid(x) + 1`` (arXiv:2206.11927).
LEAST, RANGE = 1.0, 100.0


def mlp(features: int, hidden: int, out: int) -> nn.Sequential:
    """Return linear, batch norm, ReLU, linear: projector and predictor of BYOL (arXiv:2006.07733)."""
    return nn.Sequential(nn.Linear(features, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Linear(hidden, out))


def concentrations_of(logits: torch.Tensor) -> torch.Tensor:
    """Return concentrations between 1 and 101, float32, for any logits."""
    return RANGE * torch.sigmoid(logits.float()) + LEAST


class VoteHead(nn.Module):
    """Dropout and a linear layer that predict the concentrations of the votes, between 1 and 101.

    The initial bias corresponds to concentrations of about 4 instead of 51, so that the loss starts near that of a
    uniform prediction.

    Parameters
    ----------
    features : int
        Length of a feature vector.
    answers : int
        Number of answers.
    dropout : float
        Fraction of features that are dropped during training.
    """

    def __init__(self, features: int, answers: int, *, dropout: float = 0.2) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(features, answers)
        nn.init.constant_(self.linear.bias, -3.5)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return concentrations (B, answers) for features (B, features)."""
        return concentrations_of(self.linear(self.dropout(features)))
