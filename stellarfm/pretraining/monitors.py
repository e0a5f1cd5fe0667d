"""Numbers that show a collapse early, and the guard that stops a hopeless run."""

from __future__ import annotations

import math

import torch
from torch.nn import functional

from stellarfm.exceptions import PretrainingError

__all__ = ["check_health", "effective_rank", "entropy", "feature_spread"]


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


def check_health(values: dict[str, float], *, step: int, prototypes: int | None = None) -> None:
    """Stop a run that cannot recover.

    Parameters
    ----------
    values : dict
        Losses and monitors by name; ``dino`` and ``rank`` are looked at where they exist.
    step : int
        For the message.
    prototypes : int, optional
        The number K behind the loss ``dino``; without it, a collapse is not looked for.

    Raises
    ------
    PretrainingError
        If a loss is not finite, or the DINO loss is stuck at ln K while the features have an effective rank below 1.5.
    """
    broken = [name for name, value in values.items() if not math.isfinite(value)]
    if broken:
        raise PretrainingError(
            f"step {step}: {', '.join(broken)} is not finite; start anew with a lower learning_rate or "
            "precision = '32-true'"
        )
    if prototypes is None or not {"dino", "rank"} <= values.keys():
        return
    stuck = 0.99 * math.log(prototypes)
    if values["dino"] > stuck and values["rank"] < 1.5:
        raise PretrainingError(
            f"step {step}: collapse: the DINO loss {values['dino']:.2f} is stuck at ln K = {math.log(prototypes):.2f} "
            f"and the features have rank {values['rank']:.1f}; lower learning_rate or raise koleo_weight"
        )
