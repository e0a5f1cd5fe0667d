"""Statistics of batch norms from the images they will see."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import update_bn

if TYPE_CHECKING:
    from stellarfm.contracts import Encoder

__all__ = ["calibrate_batch_norms"]


class _TrainingNorms(torch.nn.Module):
    """Batch norms of an encoder that are in training mode, and only these; its forward pass is the encoder's."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        module: Any = encoder
        parts = [part for part in module.modules() if isinstance(part, _BatchNorm) and part.training]
        self.norms = torch.nn.ModuleList(parts)
        self.encode = encoder.encode

    def forward(self, images: torch.Tensor) -> Any:
        """Encode `images`."""
        return self.encode(images)


def calibrate_batch_norms(encoder: Encoder, batches: Iterable[torch.Tensor]) -> None:
    """Set batch norms in training mode to the mean statistics of `batches`; those in evaluation mode keep theirs.

    New batch norms have mean 0 and variance 1, which fit no images. Random encoders that are compared, and heads that
    are fitted before training, need the statistics of the images: features that are tens of times too small or too
    large saturate a head, which then never learns.

    Parameters
    ----------
    encoder : Encoder
        Encoder whose batch norms are changed in place; its mode is kept.
    batches : iterable of torch.Tensor
        Images as `encode` takes them, (B, channels, side, side) each, all of equal weight.

    Examples
    --------
    >>> import torch
    >>> from stellarfm.encoders.resnet import ResNet18
    >>> encoder = ResNet18()
    >>> calibrate_batch_norms(encoder, [torch.rand(4, 3, 32, 32)])
    >>> encoder.training
    True
    """
    update_bn(batches, _TrainingNorms(encoder))
