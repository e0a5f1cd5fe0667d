"""Pretraining of encoders on images, without labels or with labels.

A `Recipe` and the names of an encoder, a dataset and a method enter; a folder with the weights of the trained encoder,
its record, a log and checkpoints leaves. Start reading with `training` (`pretrain`), which puts together the parts:

- `recipe`: settings, read from TOML files; `data`: batches of images; `methods`: views and losses;
- `lightning_module`, `optimization`, `distributed`: the training step, its schedules, and several devices;
- `callbacks`, `collapse`, `diagnostics`: log, checkpoints, probes, and detection of collapsed runs;
- `export`, `probe_curve`, `cost`: what is written at the end, and what a run costs.

The names below are resolved on first use: importing this package does not load torch.
"""

from importlib import import_module
from typing import Any

_HOME = {
    "Probe": "callbacks.probe",
    "Recipe": "recipe",
    "load_recipe": "recipe",
    "pretrain": "training",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
