"""Sums, means and concatenations over the processes of a run; identities in a single process."""

from __future__ import annotations

from typing import Any

import torch
from torch import distributed

__all__ = ["all_gather", "all_reduce_mean", "all_reduce_sum", "rank_and_world_size"]


def rank_and_world_size() -> tuple[int, int]:
    """Return the rank of this process and the number of processes.

    Examples
    --------
    >>> from stellarfm.pretraining.distributed import rank_and_world_size
    >>> rank_and_world_size()
    (0, 1)
    """
    if not (distributed.is_available() and distributed.is_initialized()):
        return 0, 1
    return distributed.get_rank(), distributed.get_world_size()


class _Gather(torch.autograd.Function):
    """Concatenation over processes; the gradient of a process's part is the sum of the gradients of all processes."""

    @staticmethod
    def forward(ctx: Any, values: torch.Tensor) -> torch.Tensor:
        parts = [torch.empty_like(values) for _ in range(rank_and_world_size()[1])]
        distributed.all_gather(parts, values.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        gradient = gradient.contiguous()
        distributed.all_reduce(gradient)
        rank, world_size = rank_and_world_size()
        return gradient.chunk(world_size)[rank]


def all_gather(values: torch.Tensor) -> torch.Tensor:
    """Concatenate the rows of all processes, in order of rank; gradients flow back to each.

    Parameters
    ----------
    values : torch.Tensor
        Shape (N, ...), the same on all processes.

    Returns
    -------
    torch.Tensor
        Shape (world_size N, ...).

    Examples
    --------
    >>> import torch
    >>> from stellarfm.pretraining.distributed import all_gather
    >>> all_gather(torch.ones(2))
    tensor([1., 1.])
    """
    return values if rank_and_world_size()[1] == 1 else _Gather.apply(values)


def all_reduce_sum(values: torch.Tensor) -> torch.Tensor:
    """Sum a tensor over processes, in place and without gradient; return it.

    Examples
    --------
    >>> import torch
    >>> from stellarfm.pretraining.distributed import all_reduce_sum
    >>> all_reduce_sum(torch.ones(2))
    tensor([1., 1.])
    """
    if rank_and_world_size()[1] > 1:
        distributed.all_reduce(values)
    return values


def all_reduce_mean(values: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the means of named scalars over processes.

    Examples
    --------
    >>> import torch
    >>> from stellarfm.pretraining.distributed import all_reduce_mean
    >>> all_reduce_mean({"loss": torch.tensor(2.0)})
    {'loss': tensor(2.)}
    """
    world_size = rank_and_world_size()[1]
    if world_size == 1 or not values:
        return values
    means = all_reduce_sum(torch.stack([value.float() for value in values.values()])) / world_size
    return dict(zip(values, means, strict=True))
