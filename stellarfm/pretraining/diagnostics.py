"""Numbers that show early whether a run learns."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import nn
from torch.nn import functional

__all__ = ["effective_rank", "entropy", "feature_spread", "gradient_norm", "images_differ", "is_finite"]

#: Standard deviation between the images of a batch (in [0, 1]) below which they are all the same.
ALIKE = 1e-4


@torch.no_grad()
def feature_spread(features: torch.Tensor) -> torch.Tensor:
    """Mean standard deviation of the normalised features (N, D), times sqrt(D): one if isotropic, zero if collapsed."""
    unit = functional.normalize(features.float(), dim=1)
    return unit.std(dim=0, correction=0).mean() * math.sqrt(features.shape[1])


@torch.no_grad()
def effective_rank(features: torch.Tensor) -> torch.Tensor:
    """Participation ratio ``(tr C)^2 / tr C^2`` of the covariance C of features (N, D): between 1 and min(N - 1, D).

    It needs no decomposition, so that it costs nothing beside a training step.
    """
    centred = features.float() - features.float().mean(dim=0)
    with torch.autocast(features.device.type, enabled=False):
        gram = centred @ centred.T
    return gram.trace() ** 2 / gram.square().sum().clamp(min=1e-30)


@torch.no_grad()
def entropy(assignments: torch.Tensor) -> torch.Tensor:
    """Mean entropy (nats) of assignments (N, K)."""
    return torch.special.entr(assignments.float()).sum(dim=-1).mean()


@torch.no_grad()
def gradient_norm(parameters: Iterable[nn.Parameter]) -> torch.Tensor:
    """Euclidean norm of all gradients together, a scalar; zero if there is none."""
    norms = _norms([p.grad for p in parameters if p.grad is not None])
    return torch.linalg.vector_norm(torch.stack(norms)) if norms else torch.zeros(())


def _norms(tensors: list[torch.Tensor]) -> list[torch.Tensor]:
    """Euclidean norm of each tensor, whole also where weights are spread over devices."""
    norms = torch._foreach_norm(tensors) if tensors else []
    return [norm.full_tensor() if hasattr(norm, "full_tensor") else norm for norm in norms]


@torch.no_grad()
def images_differ(images: torch.Tensor) -> bool:
    """Whether the images (N, C, side, side) of a batch are anything but copies of each other; true for one image."""
    return len(images) < 2 or float(images.float().std(dim=0, correction=0).mean()) > ALIKE


@torch.no_grad()
def is_finite(module: nn.Module) -> bool:
    """Whether every weight and every buffer of `module` is finite."""
    tensors = [t for t in (*module.parameters(), *module.buffers()) if t.is_floating_point() and t.numel()]
    return not tensors or bool(torch.isfinite(torch.stack(_norms(tensors))).all())
