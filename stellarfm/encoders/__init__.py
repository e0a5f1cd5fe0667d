"""Encoders: networks that turn images into one feature vector per image and one per patch.

Images (B, channels, side, side) enter, `stellarfm.contracts.Features` leave. Start reading with `vit` (vision
transformers), then `resnet`; `weights` reads and writes safetensors files, `batch_norm` calibrates batch norms.
Encoders are usually created by name, ``stellarfm.registry.create("encoders", "resnet18")``. The names below are
resolved on first use: importing this package loads neither torch nor timm.
"""

from importlib import import_module
from typing import Any

_HOME = {
    **dict.fromkeys(("ResNet18", "ShallowResNet"), "resnet"),
    **dict.fromkeys(("bundled_weights", "load_weights", "read_metadata", "save_weights"), "weights"),
    **dict.fromkeys(
        (
            "DinoV2Base16",
            "DinoV2Large16",
            "DinoV2Nano8",
            "DinoV2Small8",
            "DinoV2Small16",
            "DinoV2Tiny8",
            "VisionTransformerEncoder",
        ),
        "vit",
    ),
    "calibrate_batch_norms": "batch_norm",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
