"""The small networks on top of an encoder."""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["VoteHead", "concentrations_of", "mlp"]

#: Range of the concentrations: ``100 sigmoid(x) + 1`` (arXiv:2206.11927).
LEAST, RANGE = 1.0, 100.0


def mlp(features: int, hidden: int, out: int) -> nn.Sequential:
    """Linear, batch norm, ReLU, linear: projector and predictor of BYOL (Grill et al. 2020, arXiv:2006.07733)."""
    return nn.Sequential(nn.Linear(features, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Linear(hidden, out))


def concentrations_of(logits: torch.Tensor) -> torch.Tensor:
    """Concentrations between 1 and 101, float32, of any numbers."""
    return RANGE * torch.sigmoid(logits.float()) + LEAST


class VoteHead(nn.Module):
    """Dropout and a linear layer: concentrations of the votes, between 1 and 101.

    The bias begins where all concentrations are about 4, not 51, so that the loss starts near that of ignorance.

    Parameters
    ----------
    features, answers : int
        Lengths of what comes in and of what goes out.
    dropout : float
        Share of features that are left out while training.
    """

    def __init__(self, features: int, answers: int, *, dropout: float = 0.2) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(features, answers)
        nn.init.constant_(self.linear.bias, -3.5)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Concentrations (B, answers) of features (B, features)."""
        return concentrations_of(self.linear(self.dropout(features)))
