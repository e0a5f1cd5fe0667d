"""Projection head of DINO, iBOT and DINOv2."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

__all__ = ["PrototypeHead"]


class PrototypeHead(nn.Module):
    """Three-layer perceptron, l2 normalization and a weight-normalized linear layer without bias.

    Head of DINO (Caron et al. 2021, arXiv:2104.14294, section 3.1) in the form of the DINOv2 code (``DINOHead``). A
    prototype is the product of a magnitude, initially 1, and the direction of a vector that is initialized as the
    weights of `torch.nn.Linear`: uniform in ``+-1 / sqrt(bottleneck)``, with a norm of about 0.58. The norm of that
    vector sets how fast its direction can change at a given learning rate. The last layer is computed in float32: with
    bfloat16, the rounding error of a logit divided by a temperature of 0.04 would be 0.1.

    Parameters
    ----------
    features : int
        Length D of the input vectors.
    prototypes : int
        Number K of prototypes.
    hidden, bottleneck : int
        Widths of the hidden layers, and of the space of the prototypes.
    frozen_norm : bool
        Fix the magnitudes at 1 (``norm_last_layer`` of DINO) instead of learning them (DINOv2).

    Examples
    --------
    >>> import torch
    >>> from stellarfm.pretraining.methods.heads import PrototypeHead
    >>> PrototypeHead(32, prototypes=16, hidden=64, bottleneck=8)(torch.zeros(2, 32)).shape
    torch.Size([2, 16])
    """

    def __init__(
        self, features: int, *, prototypes: int, hidden: int, bottleneck: int, frozen_norm: bool = False
    ) -> None:
        super().__init__()
        self.perceptron = nn.Sequential(
            nn.Linear(features, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, bottleneck)
        )
        self.apply(_initialize)
        self.prototypes = nn.Parameter(torch.empty(prototypes, bottleneck))
        bound = bottleneck**-0.5
        nn.init.uniform_(self.prototypes, -bound, bound)
        self.magnitudes = nn.Parameter(torch.ones(prototypes, 1), requires_grad=not frozen_norm)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return logits (N, K), float32, of features (N, D): cosine similarities times the prototypes' magnitudes."""
        embedded = self.perceptron(features)
        with torch.autocast(features.device.type, enabled=False):
            unit = functional.normalize(embedded.float(), dim=-1)
            return functional.linear(unit, functional.normalize(self.prototypes, dim=-1) * self.magnitudes)

    def last_layer(self) -> list[nn.Parameter]:
        """Return the parameters of the prototypes."""
        return [self.prototypes, self.magnitudes]


def _initialize(module: nn.Module) -> None:
    """Draw truncated normal weights with a standard deviation of 0.02 and set biases to zero, as in the DINOv2 code."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)
