"""Centering of the teacher's logits, which keeps self-distillation from collapsing onto one prototype."""

from __future__ import annotations

import torch
from torch import distributed, nn

from stellarfm.pretraining.distributed.collectives import all_reduce_sum, rank_and_world_size

__all__ = ["MovingMeanCentering", "SinkhornCentering", "sinkhorn_knopp"]


def sinkhorn_knopp(logits: torch.Tensor, *, temperature: float, iterations: int = 3) -> torch.Tensor:
    """Assign N samples to K prototypes evenly, by Sinkhorn-Knopp iterations in the log domain.

    Starting from ``Q = exp(logits / temperature)``, each iteration scales Q so that every prototype has an equal share
    of the samples, and then so that the assignments of every sample sum to one (Caron et al. 2020, arXiv:2006.09882,
    appendix A; used for the teacher in DINOv2, arXiv:2304.07193, section 4). Working with log Q avoids the
    overflow of the exponential form for logits / temperature > 88.

    Parameters
    ----------
    logits : torch.Tensor
        Shape (N, K). With several processes, N is the number of samples of this process.
    temperature : float
        Temperature of the assignments.
    iterations : int
        Number of iterations.

    Returns
    -------
    torch.Tensor
        Shape (N, K), float32 (float64 for float64 logits), rows summing to one.

    Examples
    --------
    >>> import torch
    >>> from stellarfm.pretraining.methods.centering import sinkhorn_knopp
    >>> sinkhorn_knopp(torch.zeros(4, 2), temperature=0.1)[0]
    tensor([0.5000, 0.5000])
    """
    log_q = (logits if logits.dtype == torch.float64 else logits.float()) / temperature
    for _ in range(iterations):
        log_q = log_q - _logsumexp_over_samples(log_q)
        log_q = log_q - torch.logsumexp(log_q, dim=1, keepdim=True)
    return log_q.exp()


def _logsumexp_over_samples(values: torch.Tensor) -> torch.Tensor:
    """Return the log of the sum of exponentials over the samples of all processes, shape (1, K)."""
    if rank_and_world_size()[1] == 1:
        return torch.logsumexp(values, dim=0, keepdim=True)
    lowest = values.new_full((1, values.shape[1]), -torch.inf)  # a process may have no samples
    largest = torch.cat([values, lowest]).amax(dim=0, keepdim=True)
    distributed.all_reduce(largest, op=distributed.ReduceOp.MAX)
    return largest + all_reduce_sum((values - largest).exp().sum(dim=0, keepdim=True)).log()


class SinkhornCentering(nn.Module):
    """Teacher assignments by `sinkhorn_knopp`; stateless.

    Parameters
    ----------
    iterations : int
        Number of iterations.
    """

    def __init__(self, *, iterations: int = 3) -> None:
        super().__init__()
        self.iterations = iterations

    def forward(self, logits: torch.Tensor, *, temperature: float) -> torch.Tensor:
        """Return assignments (N, K) of logits (N, K)."""
        return sinkhorn_knopp(logits, temperature=temperature, iterations=self.iterations)


class MovingMeanCentering(nn.Module):
    """Teacher assignments ``softmax((logits - c) / temperature)`` with c a moving mean of past logits.

    ``c <- m c + (1 - m) mean(logits)`` after use (DINO, Caron et al. 2021, arXiv:2104.14294, equation 4).

    Parameters
    ----------
    prototypes : int
        Number K of prototypes.
    momentum : float
        Weight m of the past.
    """

    centre: torch.Tensor  # the name of the tensor in a checkpoint

    def __init__(self, prototypes: int, *, momentum: float = 0.9) -> None:
        super().__init__()
        self.momentum = momentum
        self.register_buffer("centre", torch.zeros(1, prototypes))

    @torch.no_grad()
    def forward(self, logits: torch.Tensor, *, temperature: float) -> torch.Tensor:
        """Return assignments (N, K) of logits (N, K), and update the moving mean."""
        logits = logits.float()
        assignments = torch.softmax((logits - self.centre) / temperature, dim=1)
        self.centre.lerp_(_mean_over_samples(logits), 1.0 - self.momentum)
        return assignments


def _mean_over_samples(values: torch.Tensor) -> torch.Tensor:
    """Return the mean over the samples of all processes, shape (1, K)."""
    sums = all_reduce_sum(torch.cat([values.sum(dim=0), values.new_tensor([float(len(values))])]))
    return (sums[:-1] / sums[-1].clamp(min=1.0)).unsqueeze(0)
