"""Prediction intervals that hold for a new star, although each star is seen many times.

Windows of one star are not exchangeable with windows of another, so conformal prediction per window promises too
much: its effective sample is the number of stars. Here residuals come from predictions that never saw the star (or
its whole simulation), and each star has weight one whatever the number of its windows: hierarchical conformal
prediction, Dunn, Wasserman & Ramdas (2023, JASA 118, 2491; arXiv:1809.07441) and Lee, Barber & Willett (2023;
arXiv:2306.06342). MAPIE, the usual library, knows groups for splitting only, not as the unit of exchangeability;
hence this module.

With one fixed predictor (split conformal) the guarantee is exact in finite samples. Cross-fitting, which wastes no
star, adds the assumption that the final predictor, fitted on all stars, is no worse than those that left some out.
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

#: Added to a neighbour spread before it divides a residual, in dex: neighbours may agree by chance.
SPREAD_FLOOR = 0.1

#: Slack for sums of weights, which are exact only up to rounding.
ROUNDING = 1e-9


class CrossFit(NamedTuple):
    """Out-of-sample predictions of a reference set, arrays of shape (N,).

    `residual` is true minus predicted log10 mass [dex], `spread` that of the neighbours that voted [dex].
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
        Cloned for each fold.
    X, mass : ndarray
        Features (N, D) and masses (N,) [solMass].
    stars, simulations : ndarray
        Shape (N,): groups. Stars are unique over all simulations.
    by : {"star", "simulation"}
        What is held out whole. ``"simulation"`` is what an observer needs to know, whose cloud is none of the
        simulations.
    n_folds : int
        Folds of whole stars; simulations are left out one by one.
    refit_features : callable, optional
        From the rows kept in a fold to the features (N, D) of all windows, for features that have learnt something
        themselves (the scales of the maps); `X` is used where it is not given.

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
        said = clone(regressor).fit(known[kept], mass[kept], stars=stars[kept]).predict_log_mass(known[held])
        residual[held], spread[held] = np.log10(mass[held]) - said.value, said.spread
    return CrossFit(residual, spread)


def star_weights(stars: np.ndarray) -> np.ndarray:
    """Weight of each window, shape (N,), such that each star weighs 1."""
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
    """Conformal intervals of log10 mass whose unit is the star.

    The quantiles are those of the distribution that gives each of the n_k residuals of each of the K stars the weight
    1 / ((K + 1) n_k), and the weight 1 / (K + 1) to infinity: the star to come (Lee et al. 2023). Where that atom is
    reached the interval is infinite: K stars cannot promise more than K / (K + 1).

    Parameters
    ----------
    symmetric : bool
        One quantile of the absolute residual, instead of one for each side. Needs fewer stars: 19 for 95 %, where two
        sides need 39.
    scaled : bool
        Divide residuals by the spread of the neighbours, so that a mass on which they disagree gets a wider interval.

    Attributes
    ----------
    scores_ : ndarray
        Residuals (scaled, if asked for), ascending, shape (N,).
    weights_ : ndarray
        Their weights; they add up to K / (K + 1).
    n_stars_ : int
        K.
    """

    def __init__(self, *, symmetric: bool = False, scaled: bool = False) -> None:
        self.symmetric = symmetric
        self.scaled = scaled

    def fit(self, residual: np.ndarray, spread: np.ndarray, *, stars: np.ndarray) -> StarConformal:
        """Learn from out-of-sample residuals and neighbour spreads [dex] and the star of each, all of shape (N,)."""
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
        """Offsets from a predicted log10 mass to the ends of its interval.

        Parameters
        ----------
        level : float
            Wanted probability, between 0 and 1.
        spread : ndarray
            Shape (Q,): spread of the neighbours of each prediction [dex].

        Returns
        -------
        lower, upper : ndarray
            Shape (Q,), dex; -inf and inf where K is too small for `level`.
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
        """What residuals are measured in, shape of `spread`."""
        return spread + SPREAD_FLOOR if self.scaled else np.ones_like(spread)
