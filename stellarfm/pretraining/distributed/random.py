"""Random numbers for a batch that is divided among several devices.

Each device draws the numbers of the whole batch and keeps those of its own images, so that views depend on the seed and
on the position of an image in the batch, but not on the number of devices.
"""

from __future__ import annotations

import torch

__all__ = ["ShardedGenerator", "n_devices", "normal", "own_share", "uniform"]


class ShardedGenerator(torch.Generator):
    """Random number generator with the same state on all devices.

    Attributes
    ----------
    share : tuple of int
        Rank of this device and number of devices; each holds an equal part of every batch, in order.

    Examples
    --------
    >>> import torch
    >>> from stellarfm.pretraining.distributed import ShardedGenerator, uniform
    >>> halves = []
    >>> for rank in range(2):
    ...     generator = ShardedGenerator()
    ...     _ = generator.manual_seed(1)
    ...     generator.share = (rank, 2)
    ...     halves.append(uniform((3,), 0.0, 1.0, generator=generator))
    >>> whole = uniform((6,), 0.0, 1.0, generator=torch.Generator().manual_seed(1))
    >>> torch.equal(torch.cat(halves), whole)
    True
    """

    share: tuple[int, int] = (0, 1)


def n_devices(generator: torch.Generator) -> int:
    """Return the number of devices that share the random numbers; one for a plain generator.

    Examples
    --------
    >>> import torch
    >>> from stellarfm.pretraining.distributed import n_devices
    >>> n_devices(torch.Generator())
    1
    """
    return getattr(generator, "share", (0, 1))[1]


def own_share(values: torch.Tensor, *, generator: torch.Generator, axis: int = 0) -> torch.Tensor:
    """Return this device's part of values of the whole batch.

    Parameters
    ----------
    values : torch.Tensor
        Values of the whole batch.
    generator : torch.Generator
        Generator that knows the rank of this device.
    axis : int
        Axis of the images.

    Returns
    -------
    torch.Tensor
        Equal part of `values` along `axis`.

    Examples
    --------
    >>> import torch
    >>> from stellarfm.pretraining.distributed import ShardedGenerator, own_share
    >>> generator = ShardedGenerator()
    >>> generator.share = (1, 2)
    >>> own_share(torch.arange(6), generator=generator)
    tensor([3, 4, 5])
    """
    rank, devices = getattr(generator, "share", (0, 1))
    return values if devices == 1 else values.chunk(devices, dim=axis)[rank]


def uniform(
    shape: tuple[int, ...], low: float, high: float, *, generator: torch.Generator, axis: int = 0
) -> torch.Tensor:
    """Draw uniform random numbers in [low, high) for this device's images.

    Parameters
    ----------
    shape : tuple of int
        Shape of the result; ``shape[axis]`` is the number of images on this device.
    low, high : float
        Limits.
    generator : torch.Generator
        Source of randomness; its device is that of the result.
    axis : int
        Axis of the images.

    Returns
    -------
    torch.Tensor
        Random numbers, float32.

    Examples
    --------
    >>> import torch
    >>> from stellarfm.pretraining.distributed import uniform
    >>> uniform((4, 1), -1.0, 1.0, generator=torch.Generator().manual_seed(0)).shape
    torch.Size([4, 1])
    """
    whole = torch.empty(_whole_shape(shape, axis, generator), device=generator.device)
    return own_share(whole.uniform_(low, high, generator=generator), generator=generator, axis=axis)


def normal(shape: tuple[int, ...], *, generator: torch.Generator) -> torch.Tensor:
    """Draw standard normal random numbers for this device's images.

    Parameters
    ----------
    shape : tuple of int
        Shape of the result; its first axis is that of the images.
    generator : torch.Generator
        Source of randomness; its device is that of the result.

    Returns
    -------
    torch.Tensor
        Random numbers, float32.

    Examples
    --------
    >>> import torch
    >>> from stellarfm.pretraining.distributed import normal
    >>> normal((2, 3), generator=torch.Generator().manual_seed(0)).shape
    torch.Size([2, 3])
    """
    whole = torch.randn(_whole_shape(shape, 0, generator), generator=generator, device=generator.device)
    return own_share(whole, generator=generator)


def _whole_shape(shape: tuple[int, ...], axis: int, generator: torch.Generator) -> list[int]:
    """Return the shape of the numbers of all devices."""
    return [n * n_devices(generator) if number == axis else n for number, n in enumerate(shape)]
