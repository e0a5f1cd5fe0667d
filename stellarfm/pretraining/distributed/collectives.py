"""Sums and means over the processes of a run; with a single process, nothing happens."""

from __future__ import annotations

from typing import Any

import torch
from torch import distributed

__all__ = ["all_gather", "all_reduce_mean", "all_reduce_sum", "rank_and_world_size"]


def rank_and_world_size() -> tuple[int, int]:
    """Number of this process and of all processes."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return 0, 1
    return distributed.get_rank(), distributed.get_world_size()


class _Gather(torch.autograd.Function):
    """Concatenate over processes; the gradient of a process's part is the sum of what all processes say of it."""

    @staticmethod
    def forward(ctx: Any, values: torch.Tensor) -> torch.Tensor:
        parts = [torch.empty_like(values) for _ in range(rank_and_world_size()[1])]
        distributed.all_gather(parts, values.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        gradient = gradient.contiguous()
        distributed.all_reduce(gradient)
        number, n_processes = rank_and_world_size()
        return gradient.chunk(n_processes)[number]


def all_gather(values: torch.Tensor) -> torch.Tensor:
    """Rows of all processes in their order, shape (processes N, ...) for (N, ...); gradients flow back to each."""
    return values if rank_and_world_size()[1] == 1 else _Gather.apply(values)


def all_reduce_sum(values: torch.Tensor) -> torch.Tensor:
    """Sum over processes, in place, without gradient."""
    if rank_and_world_size()[1] > 1:
        distributed.all_reduce(values)
    return values


def all_reduce_mean(values: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Mean of named scalars over processes."""
    n_processes = rank_and_world_size()[1]
    if n_processes == 1 or not values:
        return values
    return dict(
        zip(
            values, all_reduce_sum(torch.stack([value.float() for value in values.values()])) / n_processes, strict=True
        )
    )
