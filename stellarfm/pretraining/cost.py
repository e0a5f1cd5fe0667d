"""What a run costs, before it is begun: operations counted on tensors without data, then time and energy."""

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

#: Images that are counted: their masks have the mean number of hidden patches, to a few per cent.
COUNTED = 4


@dataclass(frozen=True)
class Hardware:
    """A processor: peak of dense matrix products without sparsity [FLOP/s], and power of the board or core [W]."""

    about: str
    peak: float
    power: float


#: From the vendors' data sheets, in bfloat16 with float32 sums; the core in float32.
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
    """Operations of a run.

    Attributes
    ----------
    flops : float
        Floating-point operations an image-step: forward and backward pass of all that learns, forward pass of a
        teacher, with heads and losses. Matrix products and convolutions; a multiplication with its addition is two.
    images : int
        Image-steps: steps times images a step.
    """

    flops: float
    images: int

    @property
    def total(self) -> float:
        """Operations of the whole run."""
        return self.flops * self.images

    def hours(self, hardware: Hardware, *, utilisation: float = 0.4) -> float:
        """Hours of one device, or device-hours of several, if it spends this share of its peak on them."""
        if not 0.0 < utilisation <= 1.0:
            raise PretrainingError(f"utilisation is {utilisation}; expected a share of the peak, above 0 and up to 1")
        return self.total / (hardware.peak * utilisation) / 3600

    def energy(self, hardware: Hardware, *, utilisation: float = 0.4) -> float:
        """Kilowatt hours at the full power of the devices, without the machines around them."""
        return self.hours(hardware, utilisation=utilisation) * hardware.power / 1000

    def describe(self, device: str, *, utilisation: float = 0.4) -> str:
        """Four lines of words; raises `PretrainingError` for a device that is not known."""
        if device not in HARDWARE:
            raise PretrainingError(f"unknown device {device!r}; expected one of {', '.join(HARDWARE)}")
        hours, energy = (get(HARDWARE[device], utilisation=utilisation) for get in (self.hours, self.energy))
        return (
            f"image-steps         {self.images:,}\n"
            f"FLOP an image-step  {self.flops:.3g}\n"
            f"FLOP in all         {self.total:.3g}\n"
            f"{device:<19} {hours:,.3g} hours and {energy:,.3g} kWh at {utilisation:.0%} of {HARDWARE[device].about}"
        )


def cost_of(names: dict[str, str], recipe: Recipe, *, label_names: tuple[str, ...] = ("label",)) -> Cost:
    """Cost of a run; see `count_flops`."""
    return Cost(count_flops(names, recipe, label_names=label_names), recipe.steps * recipe.batch_size)


def count_flops(names: dict[str, str], recipe: Recipe, *, label_names: tuple[str, ...] = ("label",)) -> float:
    """Operations of one image in one step, counted by running a step on tensors that hold no data.

    Parameters
    ----------
    names : dict
        Of the ``encoder`` and the ``method``.
    recipe : Recipe
        Their options, and the size of the images.
    label_names : tuple of str
        Of the numbers that come with an image, for a method that learns from them.

    Returns
    -------
    float
        See `Cost.flops`.

    Raises
    ------
    PretrainingError
        If options do not fit, or what the method does depends on the data.
    """
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        encoder = make_encoder(names, recipe)
        method = make_method(names, recipe)
        if method.labelled:
            method.accept_labels(label_names)
        module = method.build(encoder, image_size=recipe.size, total_steps=recipe.steps).train()
    images = torch.zeros(COUNTED, encoder.in_channels, recipe.size, recipe.size)
    views = method.views(images, generator=torch.Generator().manual_seed(recipe.seed))
    given = {"labels": torch.zeros(COUNTED, len(label_names))} if method.labelled else {}
    try:
        return _count(method, module, views, given) / COUNTED
    except RuntimeError as error:
        raise PretrainingError(f"the cost of {names['method']} cannot be counted: {error}") from error


def _count(method: Any, module: nn.Module, views: Any, given: dict[str, torch.Tensor]) -> int:
    """Operations of a whole step."""
    for part in module.modules():
        if hasattr(part, "fused_attn"):
            setattr(part, "fused_attn", False)  # noqa: B010 - counted as the products that it is, on every machine
    with FakeTensorMode(allow_non_fake_inputs=True) as mode, FlopCounterMode(display=False) as counter:
        module = module.to_empty(device="cpu")
        views, given = tree_map_only(torch.Tensor, mode.from_tensor, (views, given))
        method.losses(module, views, step=0, **given)["loss"].backward()
    return counter.get_total_flops()
