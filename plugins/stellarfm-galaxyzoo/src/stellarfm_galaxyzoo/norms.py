"""Batch norms that begin with the statistics of the images they will see."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn.modules.batchnorm import _BatchNorm

from stellarfm_galaxyzoo.views import standardise

if TYPE_CHECKING:
    from stellarfm.contracts import Encoder
    from stellarfm_galaxyzoo.model import ImageSource

__all__ = ["settle_norms"]

BATCH = 64


@torch.no_grad()
def settle_norms(encoder: Encoder, images: ImageSource) -> None:
    """Give all batch norms of `encoder` that are in training mode the mean statistics of `images`.

    Without it a head is fitted to other features than the first batch of a training brings. With random weights, whose
    statistics are 0 and 1, these are tens of times larger; the head saturates, and nothing ever learns again.
    """
    module: Any = encoder
    norms = [part for part in module.modules() if isinstance(part, _BatchNorm) and part.training]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean of all batches
    device = next(module.parameters()).device
    for rows in np.array_split(np.arange(len(images)), -(-len(images) // BATCH)):
        stack = np.stack([images.image(int(row)) for row in rows])
        encoder.encode(standardise(torch.from_numpy(stack).to(device)))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
