"""Missing pixels as NaN, and warnings of other libraries as log messages."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

__all__ = ["blank_infinities", "blank_zeros", "logged_warnings"]

logger = logging.getLogger("stellarfm")


def blank_zeros(values: np.ndarray, *, where: str, only: np.ndarray | None = None) -> np.ndarray:
    """Replace exact zeros by NaN and log their number.

    Parameters
    ----------
    values : ndarray
        Floating-point numbers; not modified.
    where : str
        File (and extension) for the log message.
    only : ndarray, optional
        Boolean, shape of `values`; zeros elsewhere are kept.

    Returns
    -------
    ndarray
        `values` itself if no pixel is replaced, else a copy.
    """
    zero = values == 0 if only is None else (values == 0) & only
    if not zero.any():
        return values
    logger.info("%s: %d pixels are exactly zero and taken as missing", where, zero.sum())
    return np.where(zero, np.nan, values)


def blank_infinities(values: np.ndarray, *, where: str) -> np.ndarray:
    """Replace infinities by NaN and log a warning with their number; parameters are those of `blank_zeros`."""
    infinite = np.isinf(values)
    if not infinite.any():
        return values
    logger.warning("%s: %d pixels are infinite and taken as missing", where, infinite.sum())
    return np.where(infinite, np.nan, values)


@contextmanager
def logged_warnings(where: str) -> Iterator[None]:
    """Log every Python warning raised inside the context, prefixed with `where`."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    for text in dict.fromkeys(" ".join(str(warning.message).split()) for warning in caught):
        logger.info("%s: %s", where, text)
