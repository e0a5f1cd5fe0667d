"""Schedules, which are functions of the step and need no state, and parameter groups of the optimizer."""

from __future__ import annotations

import math
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from stellarfm.contracts import Encoder

__all__ = ["cosine", "linear", "parameter_groups", "warmup_cosine"]


def linear(step: int, *, start: float, end: float, steps: int) -> float:
    """Interpolate linearly from `start` at step 0 to `end` at step `steps`; constant afterwards.

    Examples
    --------
    >>> from stellarfm.pretraining.optimization import linear
    >>> linear(5, start=0.0, end=1.0, steps=10)
    0.5
    """
    if step >= steps:
        return end
    return start + (end - start) * step / steps


def cosine(step: int, *, start: float, end: float, steps: int) -> float:
    """Interpolate by half a cosine from `start` at step 0 to `end` at step `steps`; constant afterwards.

    ``end + (start - end) (1 + cos(pi step / steps)) / 2`` (Loshchilov & Hutter 2017, arXiv:1608.03983, equation 5).

    Examples
    --------
    >>> from stellarfm.pretraining.optimization import cosine
    >>> round(cosine(5, start=1.0, end=0.0, steps=10), 6)
    0.5
    """
    if step >= steps:
        return end
    return end + 0.5 * (start - end) * (1.0 + math.cos(math.pi * step / steps))


def warmup_cosine(step: int, *, peak: float, end: float, warmup_steps: int, steps: int) -> float:
    """Rise linearly to `peak` within `warmup_steps`, then decrease by half a cosine to `end` at step `steps`.

    Step 0 has the value ``peak / warmup_steps``, because a step with learning rate zero would be wasted.

    Examples
    --------
    >>> from stellarfm.pretraining.optimization import warmup_cosine
    >>> [warmup_cosine(step, peak=1.0, end=0.0, warmup_steps=2, steps=10) for step in (0, 1, 10)]
    [0.5, 1.0, 0.0]
    """
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    return cosine(step - warmup_steps, start=peak, end=end, steps=steps - warmup_steps)


def parameter_groups(
    module: nn.Module, encoder: Encoder, *, layer_decay: float = 1.0, stem_rate: float = 1.0
) -> list[dict[str, Any]]:
    """Group the trainable parameters of `module` by learning rate and weight decay.

    Weight decay applies to all parameters except biases, normalization layers and layer scales: to class, mask and
    register tokens and position embeddings as well, as in DINOv2's code (``get_params_groups_with_decay``).

    Layer ``i`` of the ``n`` layers of `encoder` learns at ``layer_decay ** (n - 1 - i)`` times the rate (BEiT,
    arXiv:2106.08254, appendix H), so that the final norm and all parts but the encoder learn at the full rate; the
    patch projection at `stem_rate` times that of its layer (DINOv2's code, ``patch_embed_lr_mult``).

    Parameters
    ----------
    module : torch.nn.Module
        Module whose parameters with a gradient are grouped.
    encoder : Encoder
        Part of `module` whose layers have different rates.
    layer_decay, stem_rate : float
        Factors on the learning rate; with 1 for both there are two groups, with and without weight decay.

    Returns
    -------
    list of dict
        Groups with keys ``params``, ``lr_scale`` and ``decay_scale``; see
        `stellarfm.contracts.PretrainingMethod.parameter_groups`.

    Examples
    --------
    >>> from stellarfm.encoders.resnet import ShallowResNet
    >>> from stellarfm.pretraining.methods import parameter_groups
    >>> encoder = ShallowResNet()
    >>> [group["decay_scale"] for group in parameter_groups(encoder, encoder)]
    [1.0, 0.0]
    """
    rates, exempt = _rates(encoder, layer_decay, stem_rate), _without_decay(module)
    groups: dict[tuple[float, float], list[nn.Parameter]] = {(1.0, 1.0): [], (1.0, 0.0): []}
    for parameter in module.parameters():
        if parameter.requires_grad:
            decay = 0.0 if id(parameter) in exempt else 1.0
            groups.setdefault((rates.get(id(parameter), 1.0), decay), []).append(parameter)
    return [{"params": members, "lr_scale": rate, "decay_scale": decay} for (rate, decay), members in groups.items()]


def _without_decay(module: nn.Module) -> set[int]:
    """Return the identities of the parameters without weight decay.

    The rule of DINOv2's code, by name; batch norms, which that code does not support, are recognized by type.
    """
    exempt = {id(p) for part in module.modules() if isinstance(part, _BatchNorm) for p in part.parameters()}
    for name, parameter in module.named_parameters():
        if name.endswith("bias") or "norm" in name or "gamma" in name:
            exempt.add(id(parameter))
    return exempt


def _rates(encoder: Encoder, layer_decay: float, stem_rate: float) -> dict[int, float]:
    """Return the factors on the learning rate of the encoder's parameters, by identity."""
    layers = encoder.layers()
    rates = {
        id(parameter): layer_decay ** (len(layers) - 1 - number)
        for number, layer in enumerate(layers)
        for parameter in layer
    }
    for parameter in encoder.stem():
        rates[id(parameter)] = rates.get(id(parameter), 1.0) * stem_rate
    return rates
