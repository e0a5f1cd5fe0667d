"""Sharding of the weights, gradients and moments of a large model over devices (FSDP)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

from stellarfm.contracts import Encoder

__all__ = ["full_state_dict", "initialize_moments", "shard_parameters"]


def shard_parameters(learner: nn.Module, *, mesh: Any) -> None:
    """Shard the parameters of `learner` over the devices of `mesh`, in place.

    Each block of each encoder, each encoder and each other part with weights becomes a unit: only the weights of one
    unit at a time are gathered on a device (Zhao et al. 2023, arXiv:2304.11277), and none outside its forward and
    backward pass. Resharding after the forward pass is necessary for a teacher, which has no backward pass: its
    gathered weights could not be updated.

    Parameters
    ----------
    learner : torch.nn.Module
        Module returned by a method's `build`.
    mesh : torch.distributed.device_mesh.DeviceMesh
        One-dimensional mesh.
    """
    for encoder in [part for part in learner.modules() if isinstance(part, Encoder)]:
        module: Any = encoder
        for block in _blocks(module):
            fully_shard(block, mesh=mesh, reshard_after_forward=True)
        fully_shard(module, mesh=mesh, reshard_after_forward=True)
        register_fsdp_forward_method(module, "encode")
    for part in _parts_without_encoder(learner):
        fully_shard(part, mesh=mesh, reshard_after_forward=True)


def _blocks(module: nn.Module) -> Iterator[nn.Module]:
    """Yield the members with weights of sequences of modules of one type, such as the blocks of a transformer."""
    for part in module.modules():
        children = list(part.children())
        uniform = isinstance(part, (nn.Sequential, nn.ModuleList)) and len({type(child) for child in children}) == 1
        if uniform and len(children) > 1:
            yield from (child for child in children if any(True for _ in child.parameters()))


def _parts_without_encoder(module: nn.Module) -> Iterator[nn.Module]:
    """Yield the largest parts with weights that contain no encoder, each once."""
    for child in dict.fromkeys(module.children()):
        if isinstance(child, Encoder) or not any(True for _ in child.parameters()):
            continue
        if any(isinstance(part, Encoder) for part in child.modules()):
            yield from _parts_without_encoder(child)
        else:
            yield child


def initialize_moments(optimizer: torch.optim.Optimizer) -> None:
    """Set Adam's moments of all parameters to zero, as its first step would.

    A checkpoint of sharded weights must contain them for all parameters, including those frozen at the start.
    """
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            optimizer.state[parameter] = {
                "step": torch.zeros((), dtype=torch.float32, device=parameter.device),
                "exp_avg": torch.zeros_like(parameter),
                "exp_avg_sq": torch.zeros_like(parameter),
            }


def full_state_dict(module: nn.Module | Encoder) -> dict[str, torch.Tensor]:
    """Return the state dictionary with whole tensors; all processes must call this together."""
    assert isinstance(module, nn.Module)
    return {
        name: tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
        for name, tensor in module.state_dict().items()
    }
