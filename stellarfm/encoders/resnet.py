"""Residual networks, on timm."""

from __future__ import annotations

import torch
from timm.models.resnet import resnet18
from torch import nn

from stellarfm.contracts import Encoder, Features

__all__ = ["ResNet18", "check_input"]


def check_input(name: str, images: torch.Tensor, mask: torch.Tensor | None, *, patch_size: int) -> None:
    """Raise `ValueError` for a mask, and for images whose side is no multiple of `patch_size`."""
    if mask is not None:
        raise ValueError(f"{name} cannot hide patches; call encode without a mask")
    side = images.shape[-1]
    if side % patch_size:
        raise ValueError(f"images are {side} pixels wide; expected a multiple of {patch_size}")


class ResNet18(nn.Module, Encoder):
    """ResNet-18 (He et al. 2016, arXiv:1512.03385) as an `Encoder`.

    The last two stages are dilated instead of strided, so that the feature map has a stride of 8 pixels and not 32: a
    window of 64 pixels gives 8 x 8 patches instead of 2 x 2. The image feature is the mean of the patch features.

    Parameters
    ----------
    in_channels : int
        Number of image channels.
    image_size : int
        Kept for the record; a convolutional network has no native grid.
    drop_path_rate : float
        Largest rate of stochastic depth; only while training.
    """

    embed_dim = 512
    patch_size = 8

    def __init__(self, *, in_channels: int = 3, image_size: int = 64, drop_path_rate: float = 0.0) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.image_size = image_size
        self.backbone = resnet18(
            in_chans=in_channels, num_classes=0, output_stride=self.patch_size, drop_path_rate=drop_path_rate
        )

    def encode(self, images: torch.Tensor, *, mask: torch.Tensor | None = None) -> Features:
        """Mean (B, 512) and map (B, rows, columns, 512) of the last features; a mask raises `ValueError`."""
        check_input("resnet18", images, mask, patch_size=self.patch_size)
        patches = self.backbone.forward_features(images).permute(0, 2, 3, 1)
        return Features(patches.mean(dim=(1, 2)), patches)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Image features alone, shape (B, 512)."""
        return self.encode(images).image

    def layers(self) -> list[list[nn.Parameter]]:
        """The first convolution, and each residual block; see `Encoder`."""
        stages = (self.backbone.layer1, self.backbone.layer2, self.backbone.layer3, self.backbone.layer4)
        blocks = [list(block.parameters()) for stage in stages for block in stage]
        return [[*self.stem(), *self.backbone.bn1.parameters()], *blocks]

    def stem(self) -> list[nn.Parameter]:
        """The first convolution."""
        return list(self.backbone.conv1.parameters())
