"""What is missing is NaN, and what is strange is said: shared by everything that reads."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

__all__ = ["blank_zeros", "logged_warnings"]

logger = logging.getLogger("stellarfm")


def blank_zeros(values: np.ndarray, *, where: str, only: np.ndarray | None = None) -> np.ndarray:
    """A copy with exact zeros (of the pixels `only`, if given) turned into NaN; the log says how many."""
    zero = values == 0 if only is None else (values == 0) & only
    if not zero.any():
        return values
    logger.info("%s: %d pixels are exactly zero and taken as missing", where, zero.sum())
    return np.where(zero, np.nan, values)


@contextmanager
def logged_warnings(where: str) -> Iterator[None]:
    """Turn every Python warning raised inside into a log message about `where`."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    for text in dict.fromkeys(" ".join(str(warning.message).split()) for warning in caught):
        logger.info("%s: %s", where, text)
