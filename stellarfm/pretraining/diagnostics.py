"""Monitors that show early whether a run learns: rank and spread of features, gradient norm, finite values."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import nn
from torch.nn import functional

__all__ = ["effective_rank", "entropy", "feature_spread", "gradient_norm", "images_differ", "is_finite"]

#: Standard deviation between the images of a batch (in [0, 1]) below which they count as identical.
MIN_DIFFERENCE = 1e-4


@torch.no_grad()
def feature_spread(features: torch.Tensor) -> torch.Tensor:
    """Return the spread of features: one if they are isotropic, zero if they have collapsed to a point.

    Parameters
    ----------
    features : torch.Tensor
        Shape (N, D).

    Returns
    -------
    torch.Tensor
        Scalar: mean standard deviation of the normalized features, times ``sqrt(D)``.

    Examples
    --------
    >>> import torch
    >>> from stellarfm.pretraining.diagnostics import feature_spread
    >>> float(feature_spread(torch.ones(4, 3)))
    0.0
    """
    unit = functional.normalize(features.float(), dim=1)
    return unit.std(dim=0, correction=0).mean() * math.sqrt(features.shape[1])


@torch.no_grad()
def effective_rank(features: torch.Tensor) -> torch.Tensor:
    """Return the effective rank of features, between 1 and min(N - 1, D).

    It is the participation ratio ``(tr C)^2 / tr C^2`` of the covariance C of the features, which needs no
    decomposition, so that its cost is negligible compared with that of a training step.

    Parameters
    ----------
    features : torch.Tensor
        Shape (N, D).

    Returns
    -------
    torch.Tensor
        Scalar.

    Examples
    --------
    >>> import torch
    >>> from stellarfm.pretraining.diagnostics import effective_rank
    >>> round(float(effective_rank(torch.cat([torch.eye(3), -torch.eye(3)]))), 3)
    3.0
    """
    centered = features.float() - features.float().mean(dim=0)
    with torch.autocast(features.device.type, enabled=False):
        gram = centered @ centered.T
    return gram.trace() ** 2 / gram.square().sum().clamp(min=1e-30)


@torch.no_grad()
def entropy(assignments: torch.Tensor) -> torch.Tensor:
    """Return the mean entropy of assignments, shape (N, K), in nats."""
    return torch.special.entr(assignments.float()).sum(dim=-1).mean()


@torch.no_grad()
def gradient_norm(parameters: Iterable[nn.Parameter]) -> torch.Tensor:
    """Return the Euclidean norm of all gradients together, a scalar; zero if there are none."""
    norms = _norms([p.grad for p in parameters if p.grad is not None])
    return torch.linalg.vector_norm(torch.stack(norms)) if norms else torch.zeros(())


def _norms(tensors: list[torch.Tensor]) -> list[torch.Tensor]:
    """Return the Euclidean norm of each tensor, summed over devices for sharded tensors."""
    norms = torch._foreach_norm(tensors) if tensors else []
    return [norm.full_tensor() if hasattr(norm, "full_tensor") else norm for norm in norms]


@torch.no_grad()
def images_differ(images: torch.Tensor) -> bool:
    """Return whether a batch of images, shape (N, C, side, side), is more than copies of one; true for N = 1."""
    return len(images) < 2 or float(images.float().std(dim=0, correction=0).mean()) > MIN_DIFFERENCE


@torch.no_grad()
def is_finite(module: nn.Module) -> bool:
    """Return whether all weights and buffers of `module` are finite."""
    tensors = [t for t in (*module.parameters(), *module.buffers()) if t.is_floating_point() and t.numel()]
    return not tensors or bool(torch.isfinite(torch.stack(_norms(tensors))).all())
