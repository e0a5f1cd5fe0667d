"""Scores of predicted masses, with uncertainties from resampling stars.

All numbers are over windows, pooled over the held-out folds, as in the tables of the model card: R2 compares with the
mean over all windows of all folds. Uncertainties resample whole stars, because windows of one star
are not independent; resampling windows would give error bars several times too small.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

__all__ = ["Difference", "Score", "bootstrap_counts", "coverage", "r2_difference", "score", "star_sums"]

#: Number of bootstrap resamplings.
N_BOOTSTRAP = 2000


class Score(NamedTuple):
    """Scores of one predictor; lengths in dex of mass, intervals of `r2` and `rmse` hold 95 % of the bootstrap."""

    r2: float
    r2_low: float
    r2_high: float
    rmse: float
    rmse_low: float
    rmse_high: float
    bias: float


class Difference(NamedTuple):
    """R2 of one predictor minus that of another, on the same windows and the same resampled stars."""

    difference: float
    low: float
    high: float
    probability: float


def star_sums(truth: np.ndarray, predicted: np.ndarray, stars: np.ndarray) -> np.ndarray:
    """Return the sums over the windows of each star from which R2, RMSE and bias follow.

    With them, resampling stars is a matrix product.

    Parameters
    ----------
    truth, predicted : numpy.ndarray
        Logarithms (base 10) of the masses, shape (N,).
    stars : numpy.ndarray
        Star of each window, shape (N,).

    Returns
    -------
    numpy.ndarray
        Shape (stars, 5): number of windows, sums of the truth and of its square (about the mean of all), sums of the
        error and of its square.
    """
    _, star = np.unique(stars, return_inverse=True)
    centered, error = truth - truth.mean(), predicted - truth
    terms = (np.ones_like(error), centered, centered**2, error, error**2)
    return np.stack([np.bincount(star, weights=term) for term in terms], axis=1)


def bootstrap_counts(n_stars: int, *, n_bootstrap: int = N_BOOTSTRAP, seed: int = 0) -> np.ndarray:
    """Return how often each star is drawn in each resampling, shape (`n_bootstrap`, `n_stars`)."""
    return np.random.default_rng(seed).multinomial(n_stars, np.full(n_stars, 1 / n_stars), size=n_bootstrap)


def _r2(sums: np.ndarray) -> np.ndarray:
    """Return 1 - SSE / SST of sums over stars, shape (..., 5)."""
    n, truth, truth2, _, error2 = np.moveaxis(sums, -1, 0)
    total = truth2 - truth**2 / n
    return np.where(total > 0, 1 - error2 / np.where(total > 0, total, 1.0), np.nan)


def _rmse(sums: np.ndarray) -> np.ndarray:
    """Return the root mean square error of sums over stars, shape (..., 5)."""
    return np.sqrt(sums[..., 4] / sums[..., 0])


def _interval(values: np.ndarray) -> tuple[float, float]:
    """Return the ends of the central 95 % of the resampled values; NaN without any (a single star)."""
    values = values[np.isfinite(values)]
    low, high = np.quantile(values, [0.025, 0.975]) if len(values) else (np.nan, np.nan)
    return float(low), float(high)


def score(truth: np.ndarray, predicted: np.ndarray, stars: np.ndarray, *, seed: int = 0) -> Score:
    """Return R2, RMSE and bias of predicted log10 masses, over windows, with 95 % intervals from resampling stars.

    Parameters
    ----------
    truth, predicted : numpy.ndarray
        Logarithms (base 10) of the masses, shape (N,).
    stars : numpy.ndarray
        Star of each window, shape (N,).
    seed : int
        Seed of the resampling; the same seed draws the same stars for every predictor.

    Examples
    --------
    >>> import numpy as np
    >>> truth = np.array([-1.0, 0.0, 1.0])
    >>> score(truth, truth, np.array(["1", "2", "3"])).r2
    1.0
    """
    sums = star_sums(truth, predicted, stars)
    total, resampled = sums.sum(axis=0), bootstrap_counts(len(sums), seed=seed) @ sums
    return Score(
        float(_r2(total)),
        *_interval(_r2(resampled)),
        float(_rmse(total)),
        *_interval(_rmse(resampled)),
        float(total[3] / total[0]),
    )


def r2_difference(
    truth: np.ndarray, first: np.ndarray, second: np.ndarray, stars: np.ndarray, *, seed: int = 0
) -> Difference:
    """Return R2(`first`) - R2(`second`) with its uncertainty from a paired bootstrap over stars.

    Parameters
    ----------
    truth, first, second : numpy.ndarray
        True and predicted log10 masses, shape (N,).
    stars : numpy.ndarray
        Star of each window, shape (N,).
    seed : int
        Seed of the resampling.

    Returns
    -------
    Difference
        Difference, its 95 % interval, and the fraction of the resamplings in which `first` is better.
    """
    pair = [star_sums(truth, predicted, stars) for predicted in (first, second)]
    counts = bootstrap_counts(len(pair[0]), seed=seed)
    resampled = _r2(counts @ pair[0]) - _r2(counts @ pair[1])
    difference = _r2(pair[0].sum(axis=0)) - _r2(pair[1].sum(axis=0))
    return Difference(float(difference), *_interval(resampled), float(np.mean(resampled > 0)))


def coverage(truth: np.ndarray, lower: np.ndarray, upper: np.ndarray, *, weights: np.ndarray | None = None) -> float:
    """Return the fraction of the true values inside their intervals, ends included, by default of equal weights."""
    return float(np.average((truth >= lower) & (truth <= upper), weights=weights))
