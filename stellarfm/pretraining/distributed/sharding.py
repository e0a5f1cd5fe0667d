"""Spreading the weights, gradients and moments of a large model over devices (FSDP)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

from stellarfm.contracts import Encoder

__all__ = ["full_state_dict", "initialize_moments", "shard_parameters"]


def shard_parameters(learner: nn.Module, *, mesh: Any) -> None:
    """Spread the parameters of `learner` over the devices of `mesh`, in place.

    Each block of each encoder, each encoder and each other part that learns or follows becomes a unit: the weights of
    one unit at a time are whole on a device (Zhao et al. 2023, arXiv:2304.11277), and none outside its forward and
    backward pass: a teacher, which has no backward pass, would else stay whole and could not follow.

    Parameters
    ----------
    learner : torch.nn.Module
        What a method's `build` gave.
    mesh : torch.distributed.device_mesh.DeviceMesh
        One-dimensional.
    """
    for encoder in [part for part in learner.modules() if isinstance(part, Encoder)]:
        module: Any = encoder
        for block in _blocks(module):
            fully_shard(block, mesh=mesh, reshard_after_forward=True)
        fully_shard(module, mesh=mesh, reshard_after_forward=True)
        register_fsdp_forward_method(module, "encode")
    for part in _rest(learner):
        fully_shard(part, mesh=mesh, reshard_after_forward=True)


def _blocks(module: nn.Module) -> Iterator[nn.Module]:
    """Members of sequences of alike modules that hold weights: the blocks of a transformer, say."""
    for part in module.modules():
        children = list(part.children())
        alike = isinstance(part, (nn.Sequential, nn.ModuleList)) and len({type(child) for child in children}) == 1
        if alike and len(children) > 1:
            yield from (child for child in children if any(True for _ in child.parameters()))


def _rest(module: nn.Module) -> Iterator[nn.Module]:
    """The largest parts with weights that hold no encoder, once each."""
    for child in dict.fromkeys(module.children()):
        if isinstance(child, Encoder) or not any(True for _ in child.parameters()):
            continue
        if any(isinstance(part, Encoder) for part in child.modules()):
            yield from _rest(child)
        else:
            yield child


def initialize_moments(optimizer: torch.optim.Optimizer) -> None:
    """Give every parameter the moments (zero) that Adam would give it at its first step.

    A spread checkpoint must hold them for all parameters, also for those that are held at the start.
    """
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            optimizer.state[parameter] = {
                "step": torch.zeros((), dtype=torch.float32, device=parameter.device),
                "exp_avg": torch.zeros_like(parameter),
                "exp_avg_sq": torch.zeros_like(parameter),
            }


def full_state_dict(module: nn.Module | Encoder) -> dict[str, torch.Tensor]:
    """State dictionary with whole tensors, on every process; all must call it together."""
    assert isinstance(module, nn.Module)
    return {
        name: tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
        for name, tensor in module.state_dict().items()
    }
