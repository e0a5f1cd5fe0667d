"""Scores of predicted masses, with uncertainties from resampling stars.

All numbers are over windows, pooled over the held-out folds, as in the tables of the model card: R2 compares with the
mean over all windows of all folds. Uncertainties resample whole stars, because windows of one star
are not independent; resampling windows would give error bars several times too small.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.stats import binom

__all__ = [
    "Difference",
    "MeanScore",
    "Score",
    "binomial_range",
    "bootstrap_counts",
    "coverage",
    "fifths",
    "mean_by_star",
    "mean_difference",
    "r2",
    "r2_difference",
    "score",
    "star_sums",
]

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


class MeanScore(NamedTuple):
    """Mean over windows and its 95 % interval, and the same with weight one for each star."""

    mean: float
    low: float
    high: float
    star_mean: float
    star_low: float
    star_high: float


class Difference(NamedTuple):
    """Score of one predictor minus that of another, on the same windows and the same resampled stars.

    `probability` is the fraction of the resamplings in which the first predictor is the better one.
    """

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


def r2(truth: np.ndarray, predicted: np.ndarray) -> float:
    """Return R2 of predicted log10 masses, both of shape (N,)."""
    return float(_r2(star_sums(truth, predicted, np.zeros(len(truth)))[0]))


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


def mean_by_star(values: np.ndarray, stars: np.ndarray, *, seed: int = 0) -> MeanScore:
    """Return the mean of a score over windows and over stars, with 95 % intervals from resampling stars.

    Parameters
    ----------
    values : numpy.ndarray
        Score of each window, shape (N,).
    stars : numpy.ndarray
        Star of each window, shape (N,).
    seed : int
        Seed of the resampling.

    Examples
    --------
    >>> import numpy as np
    >>> found = mean_by_star(np.array([0.1, 0.1, 0.1, 0.5]), np.array(["1", "1", "1", "2"]))
    >>> print(f"{found.mean:.1f} {found.star_mean:.1f}")
    0.2 0.3
    """
    total, number = _sums_by_star(values, stars)
    means = total / number
    counts = bootstrap_counts(len(total), seed=seed)
    over_windows, over_stars = (counts @ total) / (counts @ number), counts @ means / len(means)
    return MeanScore(
        float(total.sum() / number.sum()), *_interval(over_windows), float(means.mean()), *_interval(over_stars)
    )


def mean_difference(first: np.ndarray, second: np.ndarray, stars: np.ndarray, *, seed: int = 0) -> Difference:
    """Return the mean over stars of `first` - `second`, from a paired bootstrap over stars; lower scores are better.

    Parameters
    ----------
    first, second : numpy.ndarray
        Scores of the same windows by two predictors, shape (N,).
    stars : numpy.ndarray
        Star of each window, shape (N,).
    seed : int
        Seed of the resampling.
    """
    total, number = _sums_by_star(first - second, stars)
    means = total / number
    resampled = bootstrap_counts(len(means), seed=seed) @ means / len(means)
    return Difference(float(means.mean()), *_interval(resampled), float(np.mean(resampled < 0)))


def _sums_by_star(values: np.ndarray, stars: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the sum of the values and the number of windows of each star."""
    _, star = np.unique(stars, return_inverse=True)
    return np.bincount(star, weights=values), np.bincount(star)


def fifths(predicted: np.ndarray, stars: np.ndarray) -> np.ndarray:
    """Return the fifth, 0 to 4, of each window's star in the order of the mean prediction of the stars, shape (N,).

    Parameters
    ----------
    predicted : numpy.ndarray
        Predicted log10 masses, shape (N,).
    stars : numpy.ndarray
        Star of each window, shape (N,). All windows of a star are in the same fifth.

    Examples
    --------
    >>> import numpy as np
    >>> fifths(np.array([0.5, 0.1, 0.2, 0.3, 0.4]), np.arange(5)).tolist()
    [4, 0, 1, 2, 3]
    """
    total, number = _sums_by_star(predicted, stars)
    order = np.argsort(total / number, kind="stable")
    fifth = np.empty(len(order), dtype=int)
    for k, part in enumerate(np.array_split(order, 5)):
        fifth[part] = k
    return fifth[np.unique(stars, return_inverse=True)[1]]


def binomial_range(n: int | np.ndarray, level: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the range that holds at least 95 % of the fractions of `n` stars inside intervals of probability `level`.

    Examples
    --------
    >>> low, high = binomial_range(25, 0.68)
    >>> print(f"{low:.2f} {high:.2f}")
    0.48 0.84
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        low, high = (binom.ppf(p, n, level) / np.asarray(n, dtype=float) for p in (0.025, 0.975))
    return low, high
