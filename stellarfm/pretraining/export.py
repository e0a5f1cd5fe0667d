"""Export of the encoder of a run: weights, a record and a card."""

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
from stellarfm.pretraining.recipe import Recipe, encoder_options
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
## Scores during pretraining

{about}

{table}
All scores are in `encoder.json` and `probe.csv`; `probe.png` shows them.
"""


@dataclass(frozen=True)
class Export:
    """Writer of ``encoder.safetensors``, ``encoder.json`` and ``README.md`` in the folder of a run.

    Attributes
    ----------
    folder : pathlib.Path
        Folder of the run.
    recipe : Recipe
        Recipe of the run, with its plugin names.
    init : str or None
        File of the weights from which the run was started.
    labels : tuple of str
        Names of the labels that were learned; empty for a method without labels.
    probe : str
        Description of the scores in ``probe.csv``, if there are any.
    """

    folder: Path
    recipe: Recipe
    init: str | None = None
    labels: tuple[str, ...] = ()
    probe: str = ""

    @cached_property
    def flops(self) -> float | None:
        """Number of operations per image-step, or None if they cannot be counted; see `stellarfm.pretraining.cost`."""
        try:
            return count_flops(self.recipe, label_names=self.labels)
        except PretrainingError:
            return None

    def write(self, encoder: Encoder, state: dict[str, torch.Tensor], *, steps: int, hours: float) -> None:
        """Write the three files, replacing older ones; `state` is the encoder's state dictionary.

        The record is written last, so that it marks a complete export.
        """
        assert isinstance(encoder, nn.Module)
        record = self.record(steps=steps, hours=hours)
        metadata = {"encoder": self.recipe.plugin("encoder"), "steps": str(steps), "format": "pt"}
        save_weights(state, self.folder / "encoder.safetensors", overwrite=True, metadata=metadata)
        with new_file(self.folder / "README.md", overwrite=True) as path:
            path.write_text(self._card(record, encoder))
        with new_file(self.folder / "encoder.json", overwrite=True) as path:
            path.write_text(json.dumps(record, indent=2) + "\n")

    def exported_steps(self) -> int | None:
        """Return the number of steps of the exported encoder, or None if there is none."""
        path = self.folder / "encoder.json"
        return json.loads(path.read_text())["training"]["steps"] if path.is_file() else None

    def record(self, *, steps: int, hours: float) -> dict[str, Any]:
        """Return the content of ``encoder.json``: the encoder with its options, and how it was trained."""
        training = {
            "dataset": self.recipe.plugin("dataset"),
            "method": self.recipe.plugin("method"),
            "steps": steps,
            "images": steps * self.recipe.batch_size,
            "hours": round(hours, 4),
            "flops_per_image": self.flops,
            "labels": list(self.labels),
            "seed": self.recipe.seed,
            "init": self.init,
            "machine": _machine(),
            "versions": package_versions(*PACKAGES),
            "recipe": self.recipe.as_dict(),
        }
        if (curve := curve_record(self.folder, about=self.probe)) is not None:
            training["probe"] = curve
        options = encoder_options(self.recipe)
        return {"encoder": self.recipe.plugin("encoder"), "options": options, "training": training}

    def _card(self, record: dict[str, Any], encoder: nn.Module) -> str:
        """Return the text of ``README.md``."""
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
        """Return the number of operations, and their time and energy on a reference device."""
        if self.flops is None:
            return "not counted"
        cost, (device, *_) = Cost(self.flops, images), HARDWARE.values()
        return (
            f"{cost.flops:.3g} an image-step, {cost.total:.3g} in all "
            f"({cost.hours(device):.2g} hours and {cost.energy(device):.2g} kWh at 40% of one {device.about})"
        )


def _machine() -> str:
    """Return a description of the processor, its cores and the GPU."""
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return f"{platform.machine()}, {os.cpu_count()} cores, {device}"
