"""Distributions of log mass from out-of-fold residuals, with intervals calibrated by star.

Windows of one star are not exchangeable with windows of another, so conformal prediction per window promises too much:
its effective sample is the number of stars. Here residuals come from predictions that never saw the star (or its whole
simulation), and each star has weight one whatever the number of its windows: hierarchical conformal prediction, Dunn,
Wasserman & Ramdas (2023, JASA 118, 2491; arXiv:1809.07441) and Lee, Barber & Willett (2023; arXiv:2306.06342). MAPIE,
the common library, uses groups for splitting only, not as the unit of exchangeability; hence this module.

What is guaranteed and what is measured:

- *Marginal coverage by star is guaranteed* in finite samples, for one window drawn at random from a new star, if the
  new star is exchangeable with the reference stars and the distributions are fixed functions (split conformal). The
  last step of `StarConformal` is that quantile over stars, with an atom of weight 1 / (K + 1) at infinity for the star
  to come. Cross-fitting, which wastes no star, adds the assumption that predictors fitted with and without one star
  are similar, as the jackknife+ does; a simulation in the tests shows no loss.
- *Coverage at a given predicted mass is empirical*. Residuals and levels are localized in the rank of the predicted
  mass (compare Guan 2023, Biometrika 110, 33), which makes it hold in all fifths of simulated stars; no finite-sample
  guarantee is possible without assumptions (Foygel Barber et al. 2021).
- *Coverage of windows* is not promised. Stars with many windows are long-lived and heavy; counting windows, coverage is
  lower than counting stars.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from scipy.ndimage import gaussian_filter1d
from sklearn.base import BaseEstimator, clone
from sklearn.utils.validation import check_is_fitted

from stellarfm.contracts import MassHead
from stellarfm.exceptions import ModelError
from stellarfm.inference.masses.distribution import MassDistribution

__all__ = ["StarConformal", "cross_fit", "star_weights", "weighted_quantile"]

#: Slack for sums of weights, which are exact only up to rounding.
ROUNDING = 1e-9

#: Width of a bin of log mass, and how far the grid extends below and above the reference masses, dex.
STEP, GRID_BELOW, GRID_ABOVE = 0.01, 0.3, 1.0

#: Windows handled at a time, which limits the memory to this many times the size of the reference set.
CHUNK = 256


def cross_fit(
    head: MassHead,
    features: np.ndarray,
    log_mass: np.ndarray,
    *,
    stars: np.ndarray,
    simulations: np.ndarray,
    by: str = "star",
    n_folds: int = 5,
    blocks: tuple[int, ...] | None = None,
    refit_features: Callable[[np.ndarray], np.ndarray] | None = None,
) -> np.ndarray:
    """Return predictions of log mass (N,) by heads that saw neither the star of a window nor, on request, its run.

    Parameters
    ----------
    head : MassHead
        Head that is cloned for each fold.
    features, log_mass : ndarray
        Features (N, D) and log10 masses (N,) [solMass].
    stars, simulations : ndarray
        Groups of shape (N,). Stars are unique over all simulations.
    by : {"star", "simulation"}
        Group that is held out whole. An observed cloud differs from the reference set as a simulation that was held
        out does.
    n_folds : int
        Number of folds of whole stars; simulations are left out one by one.
    blocks : tuple of int, optional
        Lengths of the parts of a feature vector.
    refit_features : callable, optional
        Function from the rows kept in a fold to the features (N, D) of all windows, for features that are fitted
        themselves (the scales of the maps); by default `features` in every fold.

    Raises
    ------
    ModelError
        If there are fewer than two groups, or `by` is unknown.
    """
    from sklearn.model_selection import GroupKFold

    groups = {"star": stars, "simulation": simulations}.get(by)
    if groups is None:
        raise ModelError(f"unknown calibration_by {by!r}; choose 'star' or 'simulation'")
    n_groups = len(np.unique(groups))
    if n_groups < 2:
        raise ModelError(
            f"calibration by {by} needs two or more; the reference set has {n_groups}; add map sets of other ones"
        )
    folds = GroupKFold(n_groups if by == "simulation" else min(n_folds, n_groups))
    predicted = np.empty(len(features))
    for kept, held in folds.split(features, groups=groups):
        known = features if refit_features is None else refit_features(kept)
        fitted = clone(head).fit(known[kept], log_mass[kept], stars=stars[kept], blocks=blocks)
        predicted[held] = fitted.predict(known[held])
    return predicted


def star_weights(stars: np.ndarray, power: float = 1.0) -> np.ndarray:
    """Return the weight of each window, its star's number of windows to the power of -`power`, shape (N,).

    With the default power each star has weight 1.
    """
    _, inverse, counts = np.unique(stars, return_inverse=True, return_counts=True)
    return counts[inverse] ** -float(power)


def weighted_quantile(values: np.ndarray, weights: np.ndarray, level: float, *, total: float | None = None) -> float:
    """Return the smallest value up to which the weights add up to `level` of the total; infinity if none does.

    Parameters
    ----------
    values, weights : ndarray
        Values in any order and their weights, shape (N,).
    level : float
        Fraction of the total, between 0 and 1.
    total : float, optional
        Sum of all weights, if part of it lies at infinity; by default the sum of `weights`.
    """
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weights[order])
    total = reached[-1] if total is None else total
    found = np.flatnonzero(reached >= (level - ROUNDING) * total)
    return float(values[order[found[0]]]) if len(found) else np.inf


class StarConformal(BaseEstimator):
    """Distribution of log mass about a point prediction, with intervals calibrated by star.

    1. The distribution of a star whose predicted log mass is m has atoms at m plus the out-of-fold residuals of the
       reference windows, not below the smallest reference mass. Their weights are ``n**-residual_power``, where n is
       the number of windows of the star, times a Gaussian in the difference of the ranks of the predicted masses.
       The result is smoothed.
    2. The score of a reference window is the smallest level whose interval of its own distribution, made without its
       star, holds its mass (`MassDistribution.score`).
    3. The local rank of a score is the fraction of the scores of other stars below it, each star of weight one, times a
       Gaussian in the difference of ranks.
    4. A level L is turned into the quantile L of the local ranks over the K stars of weight 1 / (K + 1) each, with the
       remaining 1 / (K + 1) at infinity, and this, for each star, into the level that has this local rank.

    Step 4 is a conformal quantile of a fixed score by star: the marginal guarantee. K stars cannot promise more than
    K / (K + 1): beyond it intervals are infinite.

    Parameters
    ----------
    residual_bandwidth : float
        Standard deviation of the Gaussian that localizes residuals, in units of rank, 0 to 1.
    level_bandwidth : float
        Standard deviation of the Gaussian that localizes levels, in units of rank.
    smoothing : float
        Standard deviation of the Gaussian that smooths the distribution, dex.
    residual_power : float
        Power of the number of windows of a star by which the weight of each of its residuals is divided: 0 counts
        windows, 1 counts stars.

    Attributes
    ----------
    predicted_ : ndarray
        Out-of-fold predictions of log mass, shape (N,).
    log_mass_ : ndarray
        True log masses, shape (N,).
    star_ : ndarray
        Number of the star of each window, int32, shape (N,).
    score_, local_rank_ : ndarray
        Results of steps 2 and 3, shape (N,).
    n_stars_ : int
        Number of stars.
    ratio_ : callable or None
        Ratio of the prior in use to that of the reference set, a function of log mass.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> predicted = rng.uniform(-1, 1, 200)
    >>> log_mass = predicted + rng.normal(0, 0.2, 200)
    >>> conformal = StarConformal().fit(predicted, log_mass, stars=np.arange(200))
    >>> lower, upper = conformal.distribution(np.array([0.0])).interval(0.68)
    >>> bool(lower[0] < 0 < upper[0])
    True
    """

    def __init__(
        self,
        *,
        residual_bandwidth: float = 0.1,
        level_bandwidth: float = 0.15,
        smoothing: float = 0.03,
        residual_power: float = 0.0,
    ) -> None:
        self.residual_bandwidth = residual_bandwidth
        self.level_bandwidth = level_bandwidth
        self.smoothing = smoothing
        self.residual_power = residual_power

    def fit(
        self,
        predicted: np.ndarray,
        log_mass: np.ndarray,
        *,
        stars: np.ndarray,
        ratio: Callable[[np.ndarray], np.ndarray] | None = None,
    ) -> StarConformal:
        """Calibrate with out-of-fold predictions.

        Parameters
        ----------
        predicted, log_mass : ndarray
            Out-of-fold predictions and true log10 masses [solMass], shape (N,).
        stars : ndarray
            Star of each window, shape (N,).
        ratio : callable, optional
            Ratio of the wanted prior to that of the reference set, a function of log10 mass. Distributions are
            multiplied by it, and reference stars are weighted by it (weighted conformal prediction under label shift,
            Tibshirani et al. 2019; Podkopaev & Ramdas 2021).

        Raises
        ------
        ModelError
            If a value is not finite.
        """
        predicted, log_mass = np.asarray(predicted, np.float64), np.asarray(log_mass, np.float64)
        if not np.all(np.isfinite(predicted) & np.isfinite(log_mass)):
            raise ModelError("a reference mass or its prediction is not finite; drop the windows without a mass")
        self._remember(predicted, log_mass, np.unique(stars, return_inverse=True)[1].astype(np.int32), ratio)
        self.score_ = np.concatenate(
            [self._raw(self.predicted_[p], self.star_[p]).score(log_mass[p]) for p in _parts(len(predicted))]
        )
        self.local_rank_ = self._local_ranks()
        return self

    def _remember(
        self,
        predicted: np.ndarray,
        log_mass: np.ndarray,
        star: np.ndarray,
        ratio: Callable[[np.ndarray], np.ndarray] | None = None,
    ) -> None:
        """Set all attributes that need no search."""
        self.predicted_, self.log_mass_, self.star_, self.ratio_ = predicted, log_mass, star, ratio
        self.n_stars_ = len(np.unique(star))
        self._residual_weight = star_weights(star, self.residual_power)
        self._star_weight = star_weights(star)
        if ratio is not None:
            shift = ratio(log_mass)
            self._star_weight = self._star_weight * shift * self.n_stars_ / np.sum(self._star_weight * shift)
        n_bins = round((np.ptp(log_mass) + GRID_BELOW + GRID_ABOVE) / STEP) + 1
        self._grid = log_mass.min() - GRID_BELOW + STEP * np.arange(n_bins)
        self._sorted, index = np.unique(predicted, return_inverse=True)
        weight = np.bincount(index, self._residual_weight)
        self._rank_of_sorted = (np.cumsum(weight) - 0.5 * weight) / weight.sum()
        self._rank = self._ranks(predicted)

    def _ranks(self, predicted: np.ndarray) -> np.ndarray:
        """Return the rank among the reference predictions, between 0 and 1."""
        return np.interp(predicted, self._sorted, self._rank_of_sorted)

    def _raw(self, predicted: np.ndarray, exclude: np.ndarray | None = None) -> MassDistribution:
        """Return uncalibrated distributions (step 1), without the residuals of the star numbers `exclude`."""
        weights = self._local_weights(self._ranks(predicted), self.residual_bandwidth, self._residual_weight, exclude)
        atoms = predicted[:, None] + (self.log_mass_ - self.predicted_)
        bins = (np.maximum(atoms, self.log_mass_.min()) - self._grid[0]) / STEP
        index = np.clip(np.rint(bins), 0, len(self._grid) - 1).astype(np.intp)
        probability = np.stack([np.bincount(i, w, len(self._grid)) for i, w in zip(index, weights, strict=True)])
        probability = gaussian_filter1d(probability, self.smoothing / STEP, axis=1, mode="constant")
        if self.ratio_ is not None:
            probability = probability * self.ratio_(self._grid)
        return MassDistribution(self._grid, probability, predicted)

    def _local_weights(
        self, rank: np.ndarray, bandwidth: float, weight: np.ndarray, exclude: np.ndarray | None
    ) -> np.ndarray:
        """Return weights (Q, N) of the reference windows for queries of these ranks."""
        weights = np.exp(-0.5 * ((rank[:, None] - self._rank) / bandwidth) ** 2) * weight
        if exclude is not None:
            weights[exclude[:, None] == self.star_] = 0
        return weights

    def _local_ranks(self) -> np.ndarray:
        """Return the fraction of the scores of other stars that lie below that of each reference window."""
        order = np.argsort(self.score_, kind="stable")
        below = np.searchsorted(self.score_[order], self.score_, side="left")
        local = np.empty(len(order))
        for part in _parts(len(order)):
            weights = self._local_weights(self._rank[part], self.level_bandwidth, self._star_weight, self.star_[part])
            reached = np.cumsum(weights[:, order], axis=1)
            total = reached[:, -1]
            reached = np.concatenate([np.zeros((len(reached), 1)), reached], axis=1)
            local[part] = reached[np.arange(len(reached)), below[part]] / total
        return local

    def distribution(self, predicted: np.ndarray) -> MassDistribution:
        """Return the distributions of new stars with these predicted log10 masses, shape (Q,)."""
        check_is_fitted(self)
        predicted = np.asarray(predicted, np.float64)
        parts = [self._raw(predicted[part]).probability for part in _parts(len(predicted))]
        probability = np.concatenate(parts) if parts else np.empty((0, len(self._grid)))
        rank = self._ranks(predicted)
        return MassDistribution(self._grid, probability, predicted, lambda level: self._calibrated_levels(level, rank))

    def reference_crps(self) -> np.ndarray:
        """Return the CRPS [dex] of each reference window under its distribution made without its star, shape (N,)."""
        check_is_fitted(self)
        parts = _parts(len(self.predicted_))
        return np.concatenate([self._raw(self.predicted_[p], self.star_[p]).crps(self.log_mass_[p]) for p in parts])

    def _calibrated_levels(self, level: float, rank: np.ndarray) -> np.ndarray:
        """Return the uncalibrated levels that hold with probability `level`, for stars of these ranks (step 4)."""
        total = self.n_stars_ + 1
        wanted = weighted_quantile(self.local_rank_, self._star_weight, level, total=total)
        if not np.isfinite(wanted):
            return np.full(len(rank), np.inf)
        order = np.argsort(self.score_, kind="stable")
        scores = np.append(self.score_[order], np.inf)
        found = []
        for part in _parts(len(rank)):
            weights = self._local_weights(rank[part], self.level_bandwidth, self._star_weight, None)
            reached = np.cumsum(weights[:, order], axis=1)
            found.append(scores[(reached <= (wanted + ROUNDING) * reached[:, -1:]).sum(axis=1)])
        return np.concatenate(found) if found else np.empty(0)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return the fitted state as arrays of shape (N,), for `from_arrays`."""
        check_is_fitted(self)
        if self.ratio_ is not None:
            raise ModelError("a calibration under another prior cannot be stored; store that of the reference set")
        return {
            "predicted": self.predicted_,
            "log_mass": self.log_mass_,
            "star": self.star_,
            "score": self.score_,
            "local_rank": self.local_rank_,
        }

    def from_arrays(self, arrays: dict[str, np.ndarray]) -> StarConformal:
        """Set the fitted state from `to_arrays` and return self; nothing is fitted again."""
        self._remember(arrays["predicted"], arrays["log_mass"], arrays["star"])
        self.score_, self.local_rank_ = arrays["score"], arrays["local_rank"]
        return self


def _parts(n: int) -> Iterator[slice]:
    """Yield slices of at most `CHUNK` of `n` rows."""
    return (slice(start, start + CHUNK) for start in range(0, n, CHUNK))
