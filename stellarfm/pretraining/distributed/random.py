"""Random numbers of a batch that several devices share: each draws the whole batch's and keeps its own.

Views then depend on the seed and the place of an image in the batch, never on the number of devices.
"""

from __future__ import annotations

import torch

__all__ = ["ShardedGenerator", "n_devices", "normal", "own_share", "uniform"]


class ShardedGenerator(torch.Generator):
    """A generator that all devices seed alike.

    Attributes
    ----------
    share : tuple of int
        Number of this device and of all devices; each holds an equal part of every batch, in order.
    """

    share: tuple[int, int] = (0, 1)


def n_devices(generator: torch.Generator) -> int:
    """Number of devices that share what is drawn; one for a plain generator."""
    return getattr(generator, "share", (0, 1))[1]


def own_share(values: torch.Tensor, *, generator: torch.Generator, axis: int = 0) -> torch.Tensor:
    """What of the whole batch belongs to this device, cut along the axis of the images."""
    device, devices = getattr(generator, "share", (0, 1))
    return values if devices == 1 else values.chunk(devices, dim=axis)[device]


def uniform(
    shape: tuple[int, ...], low: float, high: float, *, generator: torch.Generator, axis: int = 0
) -> torch.Tensor:
    """Even random numbers in [low, high), of this device's `shape`, on the generator's device.

    Parameters
    ----------
    shape : tuple of int
        Shape of the result; ``shape[axis]`` is the number of this device's images.
    low, high : float
        Limits.
    generator : torch.Generator
        The only source of randomness.
    axis : int
        Which axis counts the images.
    """
    whole = torch.empty(_whole(shape, axis, generator), device=generator.device)
    return own_share(whole.uniform_(low, high, generator=generator), generator=generator, axis=axis)


def normal(shape: tuple[int, ...], *, generator: torch.Generator) -> torch.Tensor:
    """Normal random numbers of this device's `shape`, whose first axis counts the images."""
    whole = torch.randn(_whole(shape, 0, generator), generator=generator, device=generator.device)
    return own_share(whole, generator=generator)


def _whole(shape: tuple[int, ...], axis: int, generator: torch.Generator) -> list[int]:
    """Shape of the numbers of all devices."""
    return [n * n_devices(generator) if number == axis else n for number, n in enumerate(shape)]
