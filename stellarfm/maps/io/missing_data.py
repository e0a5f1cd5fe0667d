"""Missing pixels as NaN, and warnings of other libraries as log messages."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from stellarfm.maps.decisions import DecisionLog

__all__ = ["blank_infinities", "blank_sentinels", "blank_zeros", "logged_warnings"]

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


#: Numbers that stand for a missing value in public maps; taken so wherever they lie far outside the other values.
SENTINELS = (-1, -99, -100, -999, -1000, -9999, -99999, -32768, -2147483648, 99, 999, 9999, 99999)

#: Magnitude above which a value is not that of a map in any unit.
HUGE = 1e29

#: Number of equal extreme values that are taken as one sentinel.
MIN_REPEATS = 3

#: Distance of a sentinel from the median, in units of the range of the middle 98 % of the other values.
FAR = 5.0


def blank_sentinels(
    values: np.ndarray, *, where: str, log: DecisionLog, positive: bool = False, missing: float | None = None
) -> np.ndarray:
    """Replace infinities and numbers that stand for a missing value by NaN, and record what they were.

    A sentinel is an extreme value that lies far outside all others and is repeated exactly, or is one of the numbers
    common for this; of quantities that cannot be negative, any negative number of that kind; and any number above 1e29.

    Parameters
    ----------
    values : ndarray
        Floating-point numbers; not modified.
    where : str
        File (and extension), for the record.
    log : DecisionLog
        Receives what is taken as missing.
    positive : bool
        The quantity is positive and spans decades (a linear column density).
    missing : float, optional
        Number that the caller names as missing.

    Returns
    -------
    ndarray
        `values` itself if no pixel is replaced, else a copy.
    """
    result = values
    if missing is not None:
        result = _blank(
            result, np.isclose(result, missing, rtol=1e-6, atol=0), f"of {missing:g}", "missing_value=", where, log
        )
    result = _blank(result, np.isinf(result), "infinite", "infinities are missing values", where, log)
    for _ in range(8):
        finite = np.isfinite(result)
        if not finite.any():
            break
        found = _sentinel(result[finite], positive)
        if found is None:
            break
        value, reason = found
        result = _blank(result, result == value, f"of {value:g}", reason, where, log)
    return result


def _blank(values: np.ndarray, chosen: np.ndarray, words: str, reason: str, where: str, log: DecisionLog) -> np.ndarray:
    if not chosen.any():
        return values
    log.add(f"{where}: missing", f"{chosen.sum()} pixels {words}", reason, announce=True)
    return np.where(chosen, np.nan, values)


def _sentinel(values: np.ndarray, positive: bool) -> tuple[float, str] | None:
    """Return a value that stands for missing pixels, and the reason; None without one."""
    for value in (values.min(), values.max()):
        if value == 0:
            continue  # zeros are treated role by role
        same = values == value
        count, rest = int(same.sum()), values[~same]
        if abs(value) >= HUGE:
            return float(value), "no value of a map is as large"
        common = any(np.isclose(value, sentinel, rtol=1e-4) for sentinel in SENTINELS)
        if not rest.size or (count < MIN_REPEATS and not common):
            continue
        if positive and value < 0:
            return float(value), "a repeated negative number in a map of a positive quantity"
        if positive:
            rest = np.log10(rest[rest > 0])
            value_ = np.log10(value) if value > 0 else -np.inf
            if value == 0 or not rest.size:
                continue
        else:
            value_ = float(value)
        low, median, high = np.percentile(rest, [1, 50, 99])
        if high > low and abs(value_ - median) > FAR * (high - low) and abs(value_ - median) > 3:
            return float(value), "a repeated or common number far outside all others"
    return None


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
