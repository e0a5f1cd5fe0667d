"""Cost of a run before it is started: operations counted on tensors without data, then time and energy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._pytree import tree_map_only
from torch.utils.flop_counter import FlopCounterMode

from stellarfm.exceptions import PretrainingError
from stellarfm.pretraining.recipe import Recipe, make_encoder, make_method

__all__ = ["HARDWARE", "Cost", "Hardware", "cost_of", "count_flops"]

#: Number of images that are counted; the number of their hidden patches is within a few per cent of the mean.
IMAGES = 4


@dataclass(frozen=True)
class Hardware:
    """Processor with its peak rate of dense matrix products [FLOP/s] and the power of its board or core [W]."""

    about: str
    peak: float
    power: float


#: Values of the vendors' data sheets, in bfloat16 with float32 accumulation; of the core in float32.
HARDWARE = {
    "h200": Hardware("NVIDIA H200 SXM", 989.5e12, 700.0),
    "h100": Hardware("NVIDIA H100 SXM", 989.5e12, 700.0),
    "a100": Hardware("NVIDIA A100 SXM 80 GB", 312e12, 400.0),
    "l40s": Hardware("NVIDIA L40S", 362e12, 350.0),
    "rtx4090": Hardware("NVIDIA GeForce RTX 4090", 165.2e12, 450.0),
    "cpu-core": Hardware("one core with two AVX-512 units at 3 GHz", 192e9, 7.0),
}


@dataclass(frozen=True)
class Cost:
    """Number of floating-point operations of a run.

    Attributes
    ----------
    flops : float
        Operations per image-step: forward and backward pass of the student, forward pass of a teacher, heads and
        losses. Matrix products and convolutions are counted; a multiplication with its addition counts as two.
    images : int
        Number of image-steps: steps times images per step.

    Examples
    --------
    >>> from stellarfm.pretraining.cost import HARDWARE, Cost
    >>> cost = Cost(flops=1e12, images=1_000_000)
    >>> round(cost.hours(HARDWARE["h200"], utilisation=0.5), 2)
    0.56
    """

    flops: float
    images: int

    @property
    def total(self) -> float:
        """Number of operations of the whole run."""
        return self.flops * self.images

    def hours(self, hardware: Hardware, *, utilisation: float = 0.4) -> float:
        """Return the device-hours at a sustained fraction `utilisation` of the peak rate."""
        if not 0.0 < utilisation <= 1.0:
            raise PretrainingError(
                f"utilisation is {utilisation}; expected a fraction of the peak, above 0 and at most 1"
            )
        return self.total / (hardware.peak * utilisation) / 3600

    def energy(self, hardware: Hardware, *, utilisation: float = 0.4) -> float:
        """Return the energy in kWh at the full power of the devices, without their host machines."""
        return self.hours(hardware, utilisation=utilisation) * hardware.power / 1000

    def describe(self, device: str, *, utilisation: float = 0.4) -> str:
        """Return a description in four lines; raise `PretrainingError` for an unknown device."""
        if device not in HARDWARE:
            raise PretrainingError(f"unknown device {device!r}; expected one of {', '.join(HARDWARE)}")
        hours, energy = (get(HARDWARE[device], utilisation=utilisation) for get in (self.hours, self.energy))
        return (
            f"image-steps         {self.images:,}\n"
            f"FLOP an image-step  {self.flops:.3g}\n"
            f"FLOP in all         {self.total:.3g}\n"
            f"{device:<19} {hours:,.3g} hours and {energy:,.3g} kWh at {utilisation:.0%} of {HARDWARE[device].about}"
        )


def cost_of(recipe: Recipe, *, label_names: tuple[str, ...] = ("label",)) -> Cost:
    """Return the cost of a run; see `count_flops`."""
    return Cost(count_flops(recipe, label_names=label_names), recipe.steps * recipe.batch_size)


def count_flops(recipe: Recipe, *, label_names: tuple[str, ...] = ("label",)) -> float:
    """Count the operations per image-step by running one step on tensors without data.

    Parameters
    ----------
    recipe : Recipe
        Recipe that names an encoder; the dataset is not needed.
    label_names : tuple of str
        Names of the labels, for a method that needs labels.

    Returns
    -------
    float
        See `Cost.flops`.

    Raises
    ------
    PretrainingError
        If the recipe names no encoder, options do not fit, or the operations of the method depend on the data.

    Examples
    --------
    >>> from stellarfm.pretraining import load_recipe
    >>> from stellarfm.pretraining.cost import count_flops
    >>> 1e9 < count_flops(load_recipe("nano8-64")) < 1e10
    True
    """
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        encoder = make_encoder(recipe)
        method = make_method(recipe)
        if method.labelled:
            method.accept_labels(label_names)
        module = method.build(encoder, image_size=recipe.size, total_steps=recipe.steps).train()
    images = torch.zeros(IMAGES, encoder.in_channels, recipe.size, recipe.size)
    views = method.views(images, generator=torch.Generator().manual_seed(recipe.seed))
    given = {"labels": torch.zeros(IMAGES, len(label_names))} if method.labelled else {}
    try:
        return _count(method, module, views, given) / IMAGES
    except RuntimeError as error:
        raise PretrainingError(f"the cost of {recipe.plugin('method')} cannot be counted: {error}") from error


def _count(method: Any, module: nn.Module, views: Any, given: dict[str, torch.Tensor]) -> int:
    """Return the number of operations of a step."""
    for part in module.modules():
        if hasattr(part, "fused_attn"):
            setattr(part, "fused_attn", False)  # noqa: B010 - fused kernels are not counted
    with FakeTensorMode(allow_non_fake_inputs=True) as mode, FlopCounterMode(display=False) as counter:
        module = module.to_empty(device="cpu")
        views, given = tree_map_only(torch.Tensor, mode.from_tensor, (views, given))
        method.losses(module, views, step=0, **given)["loss"].backward()
    return counter.get_total_flops()
