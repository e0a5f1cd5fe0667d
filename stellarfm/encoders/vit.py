"""Vision transformers of the DINOv2 family, on timm."""

from __future__ import annotations

from typing import ClassVar

import torch
from timm.layers import DropPath
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from stellarfm.contracts import Encoder, Features

__all__ = [
    "DinoV2Base16",
    "DinoV2Large16",
    "DinoV2Nano8",
    "DinoV2Small8",
    "DinoV2Small16",
    "DinoV2Tiny8",
    "VisionTransformerEncoder",
]


class VisionTransformerEncoder(nn.Module, Encoder):
    """A timm `VisionTransformer` as an `Encoder`; subclasses fix its dimensions.

    The image feature is the class token and the patch features are the patch tokens, all after the final layer norm
    (Oquab et al. 2023, arXiv:2304.07193). Position embeddings are learned on the grid of `image_size` and interpolated
    (bicubic) for any other. A hidden patch is replaced by a learned mask token before its position is added
    (iBOT, Zhou et al. 2021, arXiv:2111.07832, section 3.1).

    Parameters
    ----------
    in_channels : int
        Number of image channels.
    image_size : int
        Side in pixels of the native grid of position embeddings; a multiple of `patch_size`.
    drop_path_rate : float
        Rate of stochastic depth of the last block; only while training.
    drop_path_uniform : bool
        Use that rate in all blocks, as the DINOv2 code does, instead of one that increases linearly with depth from 0.
    layer_scale : float, optional
        Initial value of layer scale; 0 for none. The default is 1e-5 for ViT-B and ViT-L, and none for smaller
        encoders, so that weights exported without the option can be loaded.
    register_tokens : int
        Number of register tokens (Darcet et al. 2023, arXiv:2309.16588): additional tokens without position, whose
        outputs are discarded.

    Examples
    --------
    >>> import torch
    >>> from stellarfm.encoders import DinoV2Nano8
    >>> encoder = DinoV2Nano8(image_size=32)
    >>> mask = torch.zeros(1, 4, 4, dtype=torch.bool)
    >>> image, patches = encoder.encode(torch.zeros(1, 3, 32, 32), mask=mask)
    >>> image.shape, patches.shape
    (torch.Size([1, 128]), torch.Size([1, 4, 4, 128]))
    """

    embed_dim: int = 192
    depth: ClassVar[int] = 12
    heads: ClassVar[int] = 3
    patch_size: int = 8
    layer_scale: ClassVar[float | None] = None
    maskable: ClassVar[bool] = True

    def __init__(
        self,
        *,
        in_channels: int = 3,
        image_size: int = 64,
        drop_path_rate: float = 0.0,
        drop_path_uniform: bool = False,
        layer_scale: float | None = None,
        register_tokens: int = 0,
    ) -> None:
        super().__init__()
        if register_tokens < 0:
            raise ValueError(f"register_tokens is {register_tokens}; expected at least 0")
        if image_size < self.patch_size or image_size % self.patch_size:
            raise ValueError(f"image_size is {image_size}; expected a multiple of the patch size {self.patch_size}")
        self.in_channels = in_channels
        self.image_size = image_size
        self.backbone = VisionTransformer(
            img_size=image_size,
            patch_size=self.patch_size,
            in_chans=in_channels,
            embed_dim=self.embed_dim,
            depth=self.depth,
            num_heads=self.heads,
            init_values=(self.layer_scale if layer_scale is None else layer_scale) or None,
            drop_path_rate=drop_path_rate,
            dynamic_img_size=True,
            num_classes=0,
        )
        if drop_path_uniform and drop_path_rate:
            for block in self.backbone.blocks:
                block.drop_path1, block.drop_path2 = DropPath(drop_path_rate), DropPath(drop_path_rate)
        self.mask_token = nn.Parameter(torch.zeros(self.embed_dim))
        self.register_tokens = None
        if register_tokens:
            self.register_tokens = nn.Parameter(1e-6 * torch.randn(register_tokens, self.embed_dim))
        if not torch.cuda.is_available():
            # For tens of tokens the backward pass of the fused kernel is slower than that of plain matrix products.
            for block in self.backbone.blocks:
                block.attn.fused_attn = False  # type: ignore[union-attr]

    def encode(self, images: torch.Tensor, *, mask: torch.Tensor | None = None) -> Features:
        """Return class token (B, embed_dim) and patch tokens (B, rows, columns, embed_dim); see `Encoder`."""
        tokens = self.backbone.patch_embed(images)
        rows, columns = tokens.shape[1:3]
        if mask is not None:
            tokens = torch.where(mask.unsqueeze(-1), self.mask_token.to(tokens.dtype), tokens)
        tokens = self._with_registers(self.backbone._pos_embed(tokens))
        tokens = self.backbone.norm(self.backbone.blocks(tokens))
        return Features(tokens[:, 0], tokens[:, -rows * columns :].unflatten(1, (rows, columns)))

    def _with_registers(self, tokens: torch.Tensor) -> torch.Tensor:
        """Insert the register tokens, if any, between the class token and the patches."""
        if self.register_tokens is None:
            return tokens
        registers = self.register_tokens.to(tokens.dtype).expand(len(tokens), -1, -1)
        return torch.cat([tokens[:, :1], registers, tokens[:, 1:]], dim=1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the image features, shape (B, embed_dim)."""
        return self.encode(images).image

    def layers(self) -> list[list[nn.Parameter]]:
        """Return the parameters of the embeddings, of each block and of the final norm; see `Encoder`."""
        blocks = [list(block.parameters()) for block in self.backbone.blocks]
        norm = list(self.backbone.norm.parameters())
        later = {id(p) for layer in (*blocks, norm) for p in layer}
        return [[p for p in self.parameters() if id(p) not in later], *blocks, norm]

    def stem(self) -> list[nn.Parameter]:
        """Return the parameters of the patch projection."""
        return list(self.backbone.patch_embed.parameters())


class DinoV2Nano8(VisionTransformerEncoder):
    """Width 128, 6 layers, 4 heads, patches of 8 pixels; 1.2 million parameters, trained in minutes on a CPU.

    Options are those of `VisionTransformerEncoder`.

    Examples
    --------
    >>> DinoV2Nano8.embed_dim, DinoV2Nano8.patch_size
    (128, 8)
    """

    embed_dim = 128
    depth = 6
    heads = 4


class DinoV2Tiny8(VisionTransformerEncoder):
    """ViT-Ti/8: width 192, 12 layers, 3 heads, patches of 8 pixels; 5.4 million parameters.

    Options are those of `VisionTransformerEncoder`.

    Examples
    --------
    >>> DinoV2Tiny8.embed_dim, DinoV2Tiny8.patch_size
    (192, 8)
    """


class DinoV2Small8(VisionTransformerEncoder):
    """ViT-S/8: width 384, 12 layers, 6 heads, patches of 8 pixels; 21 million parameters.

    Options are those of `VisionTransformerEncoder`.

    Examples
    --------
    >>> DinoV2Small8.embed_dim, DinoV2Small8.patch_size
    (384, 8)
    """

    embed_dim = 384
    heads = 6


class DinoV2Small16(DinoV2Small8):
    """ViT-S/16: as ViT-S/8 with patches of 16 pixels.

    Options are those of `VisionTransformerEncoder`.

    Examples
    --------
    >>> DinoV2Small16.embed_dim, DinoV2Small16.patch_size
    (384, 16)
    """

    patch_size = 16

    def __init__(
        self,
        *,
        in_channels: int = 3,
        image_size: int = 224,
        drop_path_rate: float = 0.0,
        drop_path_uniform: bool = False,
        layer_scale: float | None = None,
        register_tokens: int = 0,
    ) -> None:
        super().__init__(
            in_channels=in_channels,
            image_size=image_size,
            drop_path_rate=drop_path_rate,
            drop_path_uniform=drop_path_uniform,
            layer_scale=layer_scale,
            register_tokens=register_tokens,
        )


class DinoV2Base16(DinoV2Small16):
    """ViT-B/16: width 768, 12 layers, 12 heads, patches of 16 pixels, layer scale; 86 million parameters.

    Options are those of `VisionTransformerEncoder`.

    Examples
    --------
    >>> DinoV2Base16.embed_dim, DinoV2Base16.patch_size
    (768, 16)
    """

    embed_dim = 768
    heads = 12
    layer_scale = 1e-5


class DinoV2Large16(DinoV2Base16):
    """ViT-L/16: width 1024, 24 layers, 16 heads, patches of 16 pixels, layer scale; 303 million parameters.

    Options are those of `VisionTransformerEncoder`.

    Examples
    --------
    >>> DinoV2Large16.embed_dim, DinoV2Large16.patch_size
    (1024, 16)
    """

    embed_dim = 1024
    depth = 24
    heads = 16
