"""Differences between numpy and torch, so that one formula serves an image and a batch on a GPU."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np

__all__ = ["Array", "namespace", "quantile"]

#: A numpy array or a torch tensor.
Array = Any


def namespace(array: Array) -> Any:
    """Return the module of an array, `numpy` or `torch`; torch is not loaded for numpy arrays.

    Examples
    --------
    >>> namespace(np.zeros(3)).__name__
    'numpy'
    """
    return np if isinstance(array, np.ndarray) else import_module("torch")


def quantile(values: Array, q: float) -> Array:
    """Return a quantile along the last axis, with linear interpolation; `torch.quantile` is limited to 2^24 values.

    Parameters
    ----------
    values : ndarray or torch.Tensor, shape (..., n)
        Finite numbers.
    q : float
        Quantile, 0 to 1; for a tensor the memory required is proportional to 1 - q.

    Returns
    -------
    ndarray or torch.Tensor, shape (...)
        Quantiles.

    Examples
    --------
    >>> float(quantile(np.arange(11.0), 0.25))
    2.5
    """
    if isinstance(values, np.ndarray):
        return np.quantile(values, q, axis=-1)
    position = q * (values.shape[-1] - 1)
    below = int(position)
    top = values.topk(values.shape[-1] - below, dim=-1).values
    lower, upper = top[..., -1], top[..., max(top.shape[-1] - 2, 0)]
    return lower + (position - below) * (upper - lower)
