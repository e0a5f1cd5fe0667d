"""The encoder as a run gives it away: weights, a record and a card."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from stellarfm.contracts import Encoder
from stellarfm.encoders.weights import save_weights
from stellarfm.exceptions import PretrainingError
from stellarfm.output import new_file
from stellarfm.pretraining.cost import HARDWARE, Cost, count_flops
from stellarfm.pretraining.probe_curve import curve_record, curve_table
from stellarfm.pretraining.recipe import Recipe
from stellarfm.provenance import package_versions

__all__ = ["Export"]

PACKAGES = ("stellarfm", "torch", "timm", "lightning", "numpy")

CARD = """# {name}, pretrained on {dataset}

An encoder of stellarfm, trained {labels} by the method `{method}` on images of the dataset `{dataset}`.

| | |
|---|---|
| encoder | `{name}` {options} |
| parameters | {parameters:,} |
| steps | {steps:,} of {total:,} |
| images seen | {images:,} of {size} x {size} pixels |
| hours | {hours:.2f} |
| operations | {cost} |
| seed | {seed} |
| machine | {machine} |
| versions | {versions} |

Weights: `encoder.safetensors` (float32). The whole recipe is in `encoder.json`.
{probe}"""

PROBE = """
## What it knew along the way

{about}

{table}
All scores are in `encoder.json` and `probe.csv`; `probe.png` shows them.
"""


@dataclass(frozen=True)
class Export:
    """Writes ``encoder.safetensors``, ``encoder.json`` and ``README.md`` into the folder of a run.

    Attributes
    ----------
    folder : pathlib.Path
        The run's output.
    plugins : dict of str
        Names of the ``encoder``, the ``dataset`` and the ``method``.
    options : dict
        Options with which the encoder was made.
    recipe : Recipe
        The run's recipe.
    start : str or None
        File of the weights that the run started from.
    labels : tuple of str
        What it learnt to predict; empty for a method without labels.
    probe : str
        What the scores in the run's ``probe.csv`` are, if there are any.
    """

    folder: Path
    plugins: dict[str, str]
    options: dict[str, Any]
    recipe: Recipe
    start: str | None = None
    labels: tuple[str, ...] = ()
    probe: str = ""

    @cached_property
    def flops(self) -> float | None:
        """Operations an image-step, or None if they cannot be counted; see `stellarfm.pretraining.cost`."""
        try:
            return count_flops(self.plugins, self.recipe, label_names=self.labels)
        except PretrainingError:
            return None

    def write(self, encoder: Encoder, state: dict[str, torch.Tensor], *, steps: int, hours: float) -> None:
        """Write the three files, in place of older ones; `state` is what the encoder's state dictionary holds."""
        assert isinstance(encoder, nn.Module)
        record = self.record(steps=steps, hours=hours)
        save_weights(state, self.folder / "encoder.safetensors", overwrite=True, metadata=self._words(steps))
        with new_file(self.folder / "encoder.json", overwrite=True) as path:
            path.write_text(json.dumps(record, indent=2) + "\n")
        with new_file(self.folder / "README.md", overwrite=True) as path:
            path.write_text(self._card(record, encoder))

    def record(self, *, steps: int, hours: float) -> dict[str, Any]:
        """What ``encoder.json`` holds: the encoder with its options, and how it was trained."""
        training = {
            "dataset": self.plugins["dataset"],
            "method": self.plugins["method"],
            "steps": steps,
            "images": steps * self.recipe.batch_size,
            "hours": round(hours, 4),
            "flops_per_image": self.flops,
            "labels": list(self.labels),
            "seed": self.recipe.seed,
            "init": self.start,
            "machine": _machine(),
            "versions": package_versions(*PACKAGES),
            "recipe": self.recipe.as_dict(),
        }
        if (curve := curve_record(self.folder, about=self.probe)) is not None:
            training["probe"] = curve
        return {"encoder": self.plugins["encoder"], "options": self.options, "training": training}

    def _words(self, steps: int) -> dict[str, str]:
        return {"encoder": self.plugins["encoder"], "steps": str(steps), "format": "pt"}

    def _card(self, record: dict[str, Any], encoder: nn.Module) -> str:
        training = record["training"]
        return CARD.format(
            name=record["encoder"],
            options=json.dumps(record["options"]) if record["options"] else "",
            dataset=training["dataset"],
            method=training["method"],
            parameters=sum(p.numel() for p in encoder.parameters()),
            steps=training["steps"],
            total=self.recipe.steps,
            images=training["images"],
            size=self.recipe.size,
            hours=training["hours"],
            labels=f"to predict {', '.join(self.labels)}" if self.labels else "without labels",
            cost=self._cost(training["images"]),
            seed=training["seed"],
            machine=training["machine"],
            versions=", ".join(f"{name} {number}" for name, number in training["versions"].items()),
            probe=PROBE.format(about=self.probe, table=curve_table(curve)) if (curve := training.get("probe")) else "",
        )

    def _cost(self, images: int) -> str:
        """What was spent, and what that is on a well-known device."""
        if self.flops is None:
            return "not counted"
        cost, (device, *_) = Cost(self.flops, images), HARDWARE.values()
        return (
            f"{cost.flops:.3g} an image-step, {cost.total:.3g} in all "
            f"({cost.hours(device):.2g} hours and {cost.energy(device):.2g} kWh at 40% of one {device.about})"
        )


def _machine() -> str:
    """Processor, number of cores and accelerator, in words."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return f"{platform.machine()}, {os.cpu_count()} cores, {device}"
