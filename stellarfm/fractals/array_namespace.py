"""The little that numpy and torch name differently, so that one formula serves an image and a batch on a GPU."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np

__all__ = ["Array", "namespace", "quantile"]

#: A numpy array or a torch tensor.
Array = Any


def namespace(array: Array) -> Any:
    """The module `numpy` or `torch`, whichever `array` belongs to; torch is not loaded for numpy arrays."""
    return np if isinstance(array, np.ndarray) else import_module("torch")


def quantile(values: Array, q: float) -> Array:
    """Quantile of the last axis, linear between neighbours; `torch.quantile` refuses more than 2^24 values.

    Parameters
    ----------
    values : ndarray or torch.Tensor, shape (..., n)
        Finite numbers.
    q : float
        0 to 1; a tensor costs memory in proportion to 1 - q.
    """
    if isinstance(values, np.ndarray):
        return np.quantile(values, q, axis=-1)
    position = q * (values.shape[-1] - 1)
    below = int(position)
    top = values.topk(values.shape[-1] - below, dim=-1).values
    lower, upper = top[..., -1], top[..., max(top.shape[-1] - 2, 0)]
    return lower + (position - below) * (upper - lower)
