"""Batch norms that begin with the statistics of the images they will see."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.modules.batchnorm import _BatchNorm

if TYPE_CHECKING:
    from stellarfm.contracts import Encoder

__all__ = ["calibrate_batch_norms"]


@torch.no_grad()
def calibrate_batch_norms(encoder: Encoder, batches: Iterable[torch.Tensor]) -> None:
    """Give all batch norms of `encoder` that are in training mode the mean statistics of `batches`; others keep theirs.

    New batch norms have the statistics 0 and 1, which fit no images. Encoders of random weights are to be compared, and
    heads fitted before a training, with those of the images: features that are tens of times too small or too large
    saturate a head, and nothing ever learns again.

    Parameters
    ----------
    encoder : Encoder
        Its mode is left as it is.
    batches : iterable of torch.Tensor
        Images as `encode` takes them, (B, channels, side, side) each; they count alike.
    """
    module: Any = encoder
    norms = [part for part in module.modules() if isinstance(part, _BatchNorm) and part.training]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean of all batches
    for images in batches:
        encoder.encode(images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
