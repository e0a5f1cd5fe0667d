"""Conformal prediction intervals with the star as the unit of exchangeability.

Windows of one star are not exchangeable with windows of another, so conformal prediction per window is overconfident:
its effective sample is the number of stars. Here residuals come from predictions that never saw the star (or its whole
simulation), and each star has weight one whatever the number of its windows: hierarchical conformal prediction, Dunn,
Wasserman & Ramdas (2023, JASA 118, 2491; arXiv:1809.07441) and Lee, Barber & Willett (2023; arXiv:2306.06342). MAPIE
supports groups for splitting only, not as the unit of exchangeability.

With one fixed predictor (split conformal) the guarantee is exact in finite samples. Cross-fitting, which uses every
star for both purposes, adds the assumption that the final predictor, fitted to all stars, is no worse than those that
left some out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.model_selection import GroupKFold
from sklearn.utils.validation import check_is_fitted

from stellarfm.exceptions import ModelError
from stellarfm.inference.masses.regression import MassRegressor

__all__ = ["CrossFit", "StarConformal", "cross_fit", "star_weights", "weighted_quantile"]

#: Added to the spread of the neighbors before it divides a residual, dex: neighbors may agree by chance.
SPREAD_FLOOR = 0.1

#: Tolerance of sums of weights, which are exact only up to rounding.
ROUNDING = 1e-9


class CrossFit(NamedTuple):
    """Out-of-sample predictions of a reference set, arrays of shape (N,).

    `residual` is true minus predicted log10 mass [dex], `spread` the scatter among the neighbors [dex].
    """

    residual: np.ndarray
    spread: np.ndarray


def cross_fit(
    regressor: MassRegressor,
    X: np.ndarray,
    mass: np.ndarray,
    *,
    stars: np.ndarray,
    simulations: np.ndarray,
    by: str = "star",
    n_folds: int = 10,
    refit_features: Callable[[np.ndarray], np.ndarray] | None = None,
) -> CrossFit:
    """Predict each window with a regressor that saw neither its star nor, with ``by="simulation"``, its simulation.

    Parameters
    ----------
    regressor : MassRegressor
        Regressor that is cloned for each fold.
    X, mass : ndarray
        Features (N, D) and masses (N,) [solMass].
    stars, simulations : ndarray
        Star and simulation of each window, shape (N,); star names are unique over all simulations.
    by : {"star", "simulation"}
        Unit that is held out whole. ``"simulation"`` corresponds to an observed cloud, which is none of the
        simulations.
    n_folds : int
        Number of folds of whole stars; simulations are left out one by one.
    refit_features : callable, optional
        Function from the rows kept in a fold to the features (N, D) of all windows, for features that were fitted to
        windows themselves (the scales of the maps); `X` is used by default.

    Returns
    -------
    CrossFit
        Residual and spread of each window.

    Raises
    ------
    ModelError
        If there are fewer than two groups, or `by` is unknown.
    """
    groups = {"star": stars, "simulation": simulations}.get(by)
    if groups is None:
        raise ModelError(f"calibration by {by!r} is not known; choose 'star' or 'simulation'")
    n_groups = len(np.unique(groups))
    if n_groups < 2:
        raise ModelError(f"calibration by {by} needs two or more; the reference set has {n_groups}; add map sets")
    folds = GroupKFold(n_groups if by == "simulation" else min(n_folds, n_groups))
    residual, spread = np.empty(len(X)), np.empty(len(X))
    for kept, held in folds.split(X, groups=groups):
        known = X if refit_features is None else refit_features(kept)
        fitted = clone(regressor).fit(known[kept], mass[kept], stars=stars[kept])
        prediction = fitted.predict_log_mass(known[held])
        residual[held], spread[held] = np.log10(mass[held]) - prediction.value, prediction.spread
    return CrossFit(residual, spread)


def star_weights(stars: np.ndarray) -> np.ndarray:
    """Return the weight of each window, shape (N,), such that the weights of each star add up to 1."""
    _, inverse, counts = np.unique(stars, return_inverse=True, return_counts=True)
    return 1 / counts[inverse]


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
    """Conformal intervals of log10 mass with the star as the unit.

    The quantiles are those of the distribution that gives each of the n_k residuals of each of the K stars the weight
    1 / ((K + 1) n_k), and infinity, for the new star, the weight 1 / (K + 1) (Lee et al. 2023). Where that atom is
    reached the interval is infinite: K stars cannot guarantee more than K / (K + 1).

    Parameters
    ----------
    symmetric : bool
        Use one quantile of the absolute residual instead of one for each side. This needs fewer stars: 19 for 95 %,
        where two sides need 39.
    scaled : bool
        Divide residuals by the spread of the neighbors, so that intervals are wider where these disagree.

    Attributes
    ----------
    scores_ : ndarray
        Residuals, scaled with ``scaled=True``, in ascending order, shape (N,).
    weights_ : ndarray
        Weights of the residuals, which add up to K / (K + 1).
    n_stars_ : int
        Number of stars, K.

    Examples
    --------
    >>> import numpy as np
    >>> residual = np.random.default_rng(0).normal(0, 0.3, 200)
    >>> intervals = StarConformal().fit(residual, np.zeros(200), stars=np.arange(200))
    >>> lower, upper = intervals.interval(0.68, np.zeros(1))
    >>> bool(lower[0] < 0 < upper[0])
    True
    """

    def __init__(self, *, symmetric: bool = False, scaled: bool = False) -> None:
        self.symmetric = symmetric
        self.scaled = scaled

    def fit(self, residual: np.ndarray, spread: np.ndarray, *, stars: np.ndarray) -> StarConformal:
        """Fit to out-of-sample residuals and spreads of the neighbors [dex] and the star of each window, shape (N,)."""
        scores = residual / self._scale(spread)
        if not np.all(np.isfinite(scores)):
            raise ModelError("a calibration residual is not finite; drop the windows without a mass")
        scores = np.abs(scores) if self.symmetric else scores
        order = np.argsort(scores, kind="stable")
        self.n_stars_ = len(np.unique(stars))
        self.scores_ = scores[order]
        self.weights_ = star_weights(stars)[order] / (self.n_stars_ + 1)
        return self

    def interval(self, level: float, spread: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the offsets from a predicted log10 mass to the ends of its interval.

        Parameters
        ----------
        level : float
            Probability of the interval, between 0 and 1.
        spread : ndarray
            Spread of the neighbors of each prediction, dex, shape (Q,).

        Returns
        -------
        lower, upper : ndarray
            Offsets in dex, shape (Q,); -inf and inf where K is too small for `level`.
        """
        check_is_fitted(self)
        if not 0 < level < 1:
            raise ModelError(f"interval level {level} is not between 0 and 1; give 0.68 for 68 %")
        if self.symmetric:
            upper = weighted_quantile(self.scores_, self.weights_, level, total=1)
            lower = -upper
        else:
            upper = weighted_quantile(self.scores_, self.weights_, (1 + level) / 2, total=1)
            lower = -weighted_quantile(-self.scores_, self.weights_, (1 + level) / 2, total=1)
        scale = self._scale(np.asarray(spread, dtype=np.float64))
        return lower * scale, upper * scale

    def _scale(self, spread: np.ndarray) -> np.ndarray:
        """Return the unit of the residuals, of the shape of `spread`."""
        return spread + SPREAD_FLOOR if self.scaled else np.ones_like(spread)
