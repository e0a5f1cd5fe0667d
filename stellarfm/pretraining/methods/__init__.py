"""Pretraining methods: views of a batch of images, losses, and updates after a step.

Images (B, channels, size, size) enter, named losses leave. Start reading with `dinov2`; `supervised` is the baseline
with labels. The parts of which a method is made are public and may be used by the methods of other packages:
`augmentations`, `masks`, `heads`, `losses` and `centering`, and `parameter_groups`, which is exported here. Random
numbers and reductions over several devices are in `stellarfm.pretraining.distributed`.
"""

from importlib import import_module
from typing import Any

_HOME = {
    "DinoV2": "stellarfm.pretraining.methods.dinov2",
    "Supervised": "stellarfm.pretraining.methods.supervised",
    "parameter_groups": "stellarfm.pretraining.optimization",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
