"""Residual networks, on timm."""

from __future__ import annotations

from typing import Any

import timm
import torch
from timm.models.resnet import resnet18
from torch import nn
from torch.nn import functional

from stellarfm.contracts import Encoder, Features

__all__ = ["ResNet18", "ShallowResNet"]


def _check_input(name: str, images: torch.Tensor, mask: torch.Tensor | None, *, patch_size: int) -> None:
    """Raise `ValueError` for a mask, and for images whose side is not a multiple of `patch_size`."""
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
        Stored, but not used: a convolutional network has no native grid.
    drop_path_rate : float
        Largest rate of stochastic depth; only while training.

    Examples
    --------
    >>> import torch
    >>> from stellarfm.encoders import ResNet18
    >>> image, patches = ResNet18().encode(torch.zeros(1, 3, 32, 32))
    >>> image.shape, patches.shape
    (torch.Size([1, 512]), torch.Size([1, 4, 4, 512]))
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
        """Return the mean (B, 512) and the map (B, rows, columns, 512) of the last features; see `Encoder`."""
        _check_input("resnet18", images, mask, patch_size=self.patch_size)
        patches = self.backbone.forward_features(images).permute(0, 2, 3, 1)
        return Features(patches.mean(dim=(1, 2)), patches)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the image features, shape (B, 512)."""
        return self.encode(images).image

    def layers(self) -> list[list[nn.Parameter]]:
        """Return the parameters of the first convolution, and of each residual block; see `Encoder`."""
        stages = (self.backbone.layer1, self.backbone.layer2, self.backbone.layer3, self.backbone.layer4)
        blocks = [list(block.parameters()) for stage in stages for block in stage]
        return [[*self.stem(), *self.backbone.bn1.parameters()], *blocks]

    def stem(self) -> list[nn.Parameter]:
        """Return the parameters of the first convolution."""
        return list(self.backbone.conv1.parameters())


class ShallowResNet(nn.Module, Encoder):
    """Stem and first two stages of a ResNet-10-T (timm's ``resnet10t``; He et al. 2016, arXiv:1512.03385).

    The features of both stages, with strides of 4 and 8 pixels, are concatenated on the grid of the second. Batch
    norms, unlike layer norms, preserve the brightness of a map. The image feature is the mean of the patch features.

    Parameters
    ----------
    in_channels : int
        Number of image channels.
    image_size : int
        Stored, but not used: a convolutional network has no native grid.

    Examples
    --------
    >>> import torch
    >>> from stellarfm.encoders import ShallowResNet
    >>> image, patches = ShallowResNet().encode(torch.zeros(1, 3, 32, 32))
    >>> image.shape, patches.shape
    (torch.Size([1, 192]), torch.Size([1, 4, 4, 192]))
    """

    patch_size = 8
    #: Indices in timm's list of stages, of which the first is the stem.
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
        """Return the mean (B, 192) and the map (B, rows, columns, 192) of both stages; see `Encoder`."""
        _check_input("resnet10-shallow", images, mask, patch_size=self.patch_size)
        fine, coarse = self.backbone(images)
        both = torch.cat([functional.avg_pool2d(fine, 2), coarse], dim=1).permute(0, 2, 3, 1)
        return Features(both.mean(dim=(1, 2)), both)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the image features, shape (B, 192)."""
        return self.encode(images).image

    def layers(self) -> list[list[nn.Parameter]]:
        """Return the parameters of the stem, and of each residual block; see `Encoder`."""
        parts = dict(self.backbone.named_children())
        blocks = [list(block.parameters()) for name in ("layer1", "layer2") for block in parts[name]]
        return [[p for name in ("conv1", "bn1") for p in parts[name].parameters()], *blocks]

    def stem(self) -> list[nn.Parameter]:
        """Return the parameters of the first convolution."""
        return list(next(self.backbone["conv1"].children()).parameters())
