"""The first stages of a residual network, side by side, on timm."""

from __future__ import annotations

from typing import Any

import timm
import torch
from torch import nn
from torch.nn import functional

from stellarfm.contracts import Encoder, Features
from stellarfm.encoders.resnet import check_input

__all__ = ["ShallowResNet"]


class ShallowResNet(nn.Module, Encoder):
    """The stem and the first two stages of a ResNet-10-T (timm's ``resnet10t``; He et al. 2016, arXiv:1512.03385).

    Their features, of strides 4 and 8 pixels, stand side by side on the grid of the second. Batch norms, unlike layer
    norms, keep how bright a map is. The image feature is the mean of the patch features.

    Parameters
    ----------
    in_channels : int
        Number of image channels.
    image_size : int
        Kept for the record; a convolutional network has no native grid.
    """

    patch_size = 8
    #: Of timm's list of stages, the first being the stem.
    stages = (1, 2)
    backbone: Any

    def __init__(self, *, in_channels: int = 3, image_size: int = 64) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.image_size = image_size
        self.backbone = timm.create_model(
            "resnet10t", features_only=True, out_indices=self.stages, in_chans=in_channels
        )
        self.embed_dim = sum(self.backbone.feature_info.channels())

    def encode(self, images: torch.Tensor, *, mask: torch.Tensor | None = None) -> Features:
        """Mean (B, 192) and map (B, rows, columns, 192) of both stages; a mask raises `ValueError`."""
        check_input("resnet10-shallow", images, mask, patch_size=self.patch_size)
        fine, coarse = self.backbone(images)
        both = torch.cat([functional.avg_pool2d(fine, 2), coarse], dim=1).permute(0, 2, 3, 1)
        return Features(both.mean(dim=(1, 2)), both)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Image features alone, shape (B, 192)."""
        return self.encode(images).image

    def layers(self) -> list[list[nn.Parameter]]:
        """The stem, and each residual block; see `Encoder`."""
        parts = dict(self.backbone.named_children())
        blocks = [list(block.parameters()) for name in ("layer1", "layer2") for block in parts[name]]
        return [[p for name in ("conv1", "bn1") for p in parts[name].parameters()], *blocks]

    def stem(self) -> list[nn.Parameter]:
        """The first convolution."""
        return list(next(self.backbone["conv1"].children()).parameters())
