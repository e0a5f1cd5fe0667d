"""The projection head of DINO, iBOT and DINOv2."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

__all__ = ["PrototypeHead"]


class PrototypeHead(nn.Module):
    """Three-layer perceptron, normalisation, and cosine similarity to learnt prototypes.

    "A 3-layer multi-layer perceptron with hidden dimension 2048 followed by l2 normalization and a weight normalized
    fully connected layer with K dimensions" (Caron et al. 2021, arXiv:2104.14294, section 3.1). The similarities are
    computed in float32: divided by a temperature of 0.04, the rounding of bfloat16 would be 0.1.

    Parameters
    ----------
    features : int
        Length D of the input vectors.
    prototypes : int
        Number K of prototypes.
    hidden, bottleneck : int
        Widths of the perceptron and of the space in which the prototypes live.
    """

    def __init__(self, features: int, *, prototypes: int, hidden: int, bottleneck: int) -> None:
        super().__init__()
        self.perceptron = nn.Sequential(
            nn.Linear(features, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, bottleneck)
        )
        self.prototypes = nn.Parameter(torch.empty(prototypes, bottleneck))
        self.apply(_initialise)
        nn.init.normal_(self.prototypes)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Similarities (N, K) in [-1, 1], float32, of features (N, D)."""
        embedded = self.perceptron(features)
        with torch.autocast(features.device.type, enabled=False):
            unit = functional.normalize(embedded.float(), dim=-1, eps=1e-6)
            return functional.linear(unit, functional.normalize(self.prototypes, dim=-1))


def _initialise(module: nn.Module) -> None:
    """Truncated normal weights of standard deviation 0.02, zero biases (as the authors of DINO)."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)
