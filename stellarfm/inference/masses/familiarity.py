"""Familiarity of windows: whether their maps resemble those of a reference set, in four groups of properties.

The properties are computed from the maps, not from the features that masses are estimated from, so that a group names
what is unusual: the level of the column density, the smallest scale (beam, pixels, noise), the amount of structure, or
the kinematics.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from stellarfm.exceptions import ModelError
from stellarfm.inference.encoding.statistics import STATISTIC_NAMES, window_statistics
from stellarfm.inference.masses.flags import MassFlag

if TYPE_CHECKING:
    from stellarfm.maps import MapSet

__all__ = ["GROUPS", "Familiarity", "FamiliarityScores", "familiarity_features"]

#: Groups of properties, in the order of the thresholds, and the flags of windows that are unusual in them.
GROUPS = {
    "level": MassFlag.UNUSUAL_LEVEL,
    "scale": MassFlag.UNUSUAL_SCALE,
    "structure": MassFlag.UNUSUAL_STRUCTURE,
    "kinematics": MassFlag.UNUSUAL_KINEMATICS,
}

#: Group -> its regressions: the properties predicted, and those that they are predicted from (none: their mean).
_REGRESSIONS: dict[str, tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]] = {
    "level": ((("column",), ("dispersion", "scatter", "profiles")),),
    "scale": ((("fine",), ("coarse",)),),
    "structure": ((("structure",), ()),),
    "kinematics": (
        (("dispersion",), ("scatter", "profiles", "fine_all", "coarse")),
        (("scatter",), ("dispersion", "profiles", "static")),
    ),
}

#: Steps in pixels of the differences, and percentiles of their absolute values.
STEPS = (1, 2, 4)
PERCENTILES = (20, 50, 90)

#: Added to differences (dex, km/s), and to velocity dispersions (km/s), before a logarithm is taken.
DIFFERENCE_FLOOR = 1e-5
DISPERSION_FLOOR = 1e-4

#: Lower limit of the column density, cm-2.
COLUMN_FLOOR = 1e15

#: Penalty of the ridge regressions on standardized predictors, which are clipped at this many standard deviations.
RIDGE_PENALTY = 30.0
CLIP = 5.0

#: Share of the identity in the covariance of standardized residuals.
SHRINKAGE = 0.02

#: Added to standard deviations before they divide, so that constant properties do no harm.
SPREAD_FLOOR = 1e-3

_BATCH = 256


@dataclass(frozen=True, eq=False)
class FamiliarityScores:
    """Unfamiliarity of N windows in each group of properties, in units of the threshold: above 1 is unusual.

    NaN where a window has too few valid pixels.

    Attributes
    ----------
    level, scale, structure, kinematics : numpy.ndarray
        Shape (N,).
    """

    level: np.ndarray
    scale: np.ndarray
    structure: np.ndarray
    kinematics: np.ndarray

    @property
    def ood(self) -> np.ndarray:
        """Largest of the four scores, shape (N,); above 1 the window is out of distribution."""
        return np.max([getattr(self, group) for group in GROUPS], axis=0)

    @property
    def flags(self) -> np.ndarray:
        """Bits ``UNUSUAL_*`` of `MassFlag`, int, shape (N,)."""
        return np.sum([np.where(getattr(self, group) > 1, int(bit), 0) for group, bit in GROUPS.items()], axis=0)


class Familiarity(BaseEstimator):
    r"""Compares the maps of windows with those of a reference set.

    Four scores are computed per window. Each is the Mahalanobis length of residuals of one or more properties x after
    a ridge regression on other properties of the same window (see `familiarity_features`), with mean and covariance of
    the reference set, in which each star has weight one:

    - level: mean log column density, given the velocity dispersion, the velocity scatter and the shapes of profiles;
    - scale: median and 90th percentile of the curvature of each map at 1 pixel, given gradients and curvatures at 2
      and 4 pixels: larger for noise, smaller for a beam or for interpolated pixels;
    - structure: percentiles of gradients and curvatures of each map, given nothing;
    - kinematics: mean log velocity dispersion, given the velocity scatter, profiles and differences of all maps, and
      mean log velocity scatter, given the dispersion, profiles and differences of the two other maps.

    Scores of the reference set are computed by models fitted without the star in question. The thresholds of the four
    groups are quantiles at one common level, such that together they flag the `false_alarm_rate` of the reference set.

    Parameters
    ----------
    false_alarm_rate : float
        Fraction of windows like those of the reference set that are flagged in any group; each star has weight one.
    n_folds : int
        Number of folds of stars (at most the number of stars).

    Attributes
    ----------
    thresholds_ : numpy.ndarray
        Scores above which a window is unusual, shape (4,), in the order of `GROUPS`.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy import units as u
    >>> from astropy.table import QTable
    >>> from scipy.ndimage import gaussian_filter
    >>> from stellarfm.maps import MapSet
    >>> rng = np.random.default_rng(0)
    >>> maps = gaussian_filter(rng.normal(size=(3, 60, 32, 32)), (0, 0, 2, 2))
    >>> def windows(column, velocity, dispersion):
    ...     return MapSet(
    ...         10 ** (22 + column) / u.cm**2, velocity * u.km / u.s, np.exp(dispersion) * u.km / u.s,
    ...         stars=QTable({"star": np.arange(60)}), pixel_scale=0.01 * u.pc,
    ...     )
    >>> familiarity = Familiarity().fit(windows(*maps))
    >>> noisy = familiarity.score(windows(*(maps + rng.normal(0, 0.3, maps.shape))))
    >>> bool(np.mean(noisy.ood > 1) > 0.9)
    True
    """

    def __init__(self, *, false_alarm_rate: float = 0.04, n_folds: int = 5) -> None:
        self.false_alarm_rate = false_alarm_rate
        self.n_folds = n_folds

    def fit(self, windows: MapSet, *, stars: np.ndarray | None = None) -> Familiarity:
        """Learn the properties of a reference set, and the thresholds.

        Parameters
        ----------
        windows : MapSet
            N windows of the reference set; those with too few valid pixels are left out.
        stars : numpy.ndarray, optional
            Star of each window, shape (N,): windows of one star are held out together and share a weight of one. By
            default ``windows.groups``.

        Raises
        ------
        ModelError
            If there are fewer than two stars, or an option is out of range.
        """
        from sklearn.model_selection import GroupKFold

        if not 0 < self.false_alarm_rate < 1:
            raise ModelError(f"false_alarm_rate is {self.false_alarm_rate}; expected a number between 0 and 1")
        features = familiarity_features(windows)
        valid = _finite(features)
        features = {name: values[valid] for name, values in features.items()}
        stars = np.asarray(windows.groups if stars is None else stars)[valid]
        _, star, counts = np.unique(stars, return_inverse=True, return_counts=True)
        if len(counts) < 2:
            raise ModelError(f"the reference set has {len(counts)} stars with valid windows; expected at least 2")
        weights = 1 / counts[star]
        held_out = np.empty((len(star), len(GROUPS)))
        for train, test in GroupKFold(min(self.n_folds, len(counts))).split(held_out, groups=star):
            part = {name: values[train] for name, values in features.items()}
            fitted = {group: _fit_group(group, part, weights[train]) for group in GROUPS}
            part = {name: values[test] for name, values in features.items()}
            held_out[test] = np.stack([_distance(group, fitted[group], part) for group in GROUPS], axis=1)
        self.thresholds_ = _thresholds(held_out, weights, self.false_alarm_rate)
        self.groups_ = {group: _fit_group(group, features, weights) for group in GROUPS}
        return self

    def score(self, windows: MapSet) -> FamiliarityScores:
        """Return the scores of `windows`, in units of the thresholds."""
        check_is_fitted(self)
        features = familiarity_features(windows)
        valid = _finite(features)
        features = {name: np.where(valid[:, None], values, 0) for name, values in features.items()}
        scores = {}
        for group, threshold in zip(GROUPS, self.thresholds_, strict=True):
            scores[group] = np.where(valid, _distance(group, self.groups_[group], features) / threshold, np.nan)
        return FamiliarityScores(**scores)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return everything learnt as named arrays, for instance for a safetensors file."""
        check_is_fitted(self)
        arrays = {f"{group}.{name}": values for group in GROUPS for name, values in self.groups_[group].items()}
        arrays["thresholds"] = self.thresholds_
        return {name: np.ascontiguousarray(values) for name, values in arrays.items()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray], **options: Any) -> Familiarity:
        """Return a fitted `Familiarity` from the result of `to_arrays`; `options` are those of the constructor.

        Raises
        ------
        ModelError
            If an array is missing.
        """
        familiarity = cls(**options)
        familiarity.groups_ = {group: {} for group in GROUPS}
        for name, values in arrays.items():
            group, _, rest = name.partition(".")
            if group in GROUPS:
                familiarity.groups_[group][rest] = np.asarray(values)
        expected = {"precision", "center", "spread"}
        missing = [group for group in GROUPS if not expected <= set(familiarity.groups_[group])]
        if missing or "thresholds" not in arrays:
            raise ModelError(f"the arrays of the familiarity are incomplete ({', '.join(missing) or 'thresholds'})")
        familiarity.thresholds_ = np.asarray(arrays["thresholds"])
        return familiarity


def familiarity_features(windows: MapSet) -> dict[str, np.ndarray]:
    """Return the properties of windows that `Familiarity` compares.

    For a map x (log10 N, v in km/s, log10 s) and a step l of 1, 2 or 4 pixels along rows and columns, the gradient is
    (x[i + l] - x[i - l]) / 2 and the curvature x[i + l] + x[i - l] - 2 x[i]; of their absolute values the percentiles
    20, 50 and 90 over the window are taken, and log10 of these. Differences with a missing pixel are left out.
    Profiles are those of `window_statistics`.

    Parameters
    ----------
    windows : MapSet
        N windows.

    Returns
    -------
    dict of str to numpy.ndarray
        Each of shape (N, properties), NaN where a window has too few valid pixels: ``column``, ``dispersion`` and
        ``scatter`` (means over the rings of mean log column density, log dispersion and log velocity scatter),
        ``profiles`` (the same per ring, relative to these means; maxima relative to means; scatter of log N),
        ``fine`` (curvature at 1 pixel, percentiles 50 and 90), ``fine_all`` (all differences at 1 pixel), ``coarse``
        (those at 2 and 4 pixels), ``static`` (those of N and s), and ``structure`` (median and 90th percentile of
        gradients at 1 and 4 pixels, and curvature at 1 pixel).
    """
    batches = [_difference_percentiles(windows[i : i + _BATCH]) for i in range(0, len(windows), _BATCH)]
    differences = np.concatenate(batches) if batches else np.empty((0, 3, len(STEPS), 2, len(PERCENTILES)))
    gradient, curvature = differences[:, :, :, 0], differences[:, :, :, 1]
    statistics = window_statistics(windows).astype(float).reshape(len(windows), -1, len(STATISTIC_NAMES) // 11)
    column, largest_column, column_std, dispersion, largest_dispersion, scatter = np.moveaxis(statistics, 2, 0)[:6]
    scatter = scatter[:, 1:]  # the innermost ring may be a single pixel
    means = {"column": column, "dispersion": dispersion, "scatter": scatter}
    means = {name: values.mean(axis=1, keepdims=True) for name, values in means.items()}
    profiles = [
        column - means["column"],
        largest_column - column,
        column_std,
        dispersion - means["dispersion"],
        largest_dispersion - dispersion,
        scatter - means["scatter"],
    ]
    features = means | {
        "profiles": np.concatenate(profiles, axis=1),
        "fine": curvature[:, :, 0, 1:],
        "fine_all": differences[:, :, 0],
        "coarse": differences[:, :, 1:],
        "static": differences[:, ::2],
        "structure": np.concatenate([gradient[:, :, 0, 1:], gradient[:, :, 2, 1:], curvature[:, :, 0]], axis=2),
    }
    return {name: values.reshape(len(windows), int(np.prod(values.shape[1:]))) for name, values in features.items()}


def _difference_percentiles(windows: MapSet) -> np.ndarray:
    """Return log10 of percentiles of absolute differences, shape (N, maps, STEPS, 2, PERCENTILES)."""
    missing = windows.mask
    column = np.log10(np.maximum(windows.column_density.value, COLUMN_FLOOR))
    dispersion = np.log10(windows.velocity_dispersion.value + DISPERSION_FLOOR)
    maps = [np.where(missing, np.nan, values) for values in (column, windows.velocity.value, dispersion)]
    found = [[[_percentiles(d) for d in _differences(values, step)] for step in STEPS] for values in maps]
    return np.log10(np.moveaxis(np.array(found), 3, 0) + DIFFERENCE_FLOOR)


def _differences(values: np.ndarray, step: int) -> tuple[np.ndarray, np.ndarray]:
    """Return absolute gradients and curvatures of maps (N, ny, nx) along both axes, each of shape (N, differences)."""
    gradients, curvatures = [], []
    for along in (values, np.swapaxes(values, 1, 2)):
        after, before, here = along[:, 2 * step :], along[:, : -2 * step], along[:, step:-step]
        gradients.append(np.abs(after - before).reshape(len(values), -1) / 2)
        curvatures.append(np.abs(after + before - 2 * here).reshape(len(values), -1))
    return np.concatenate(gradients, axis=1), np.concatenate(curvatures, axis=1)


def _percentiles(values: np.ndarray) -> np.ndarray:
    """Return the `PERCENTILES` of each row (N, n) without NaN, interpolated linearly, shape (N, PERCENTILES)."""
    values = np.sort(values.astype(np.float32), axis=1)  # NaN last
    last = np.isfinite(values).sum(axis=1, keepdims=True) - 1
    position = np.maximum(last, 0) * np.array(PERCENTILES) / 100
    if not values.shape[1]:
        return np.full(position.shape, np.nan)
    below = position.astype(int)
    above = np.minimum(below + 1, np.maximum(last, 0))
    low, high = (np.take_along_axis(values, index, axis=1).astype(float) for index in (below, above))
    return low + (position - below) * (high - low)


def _finite(features: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return whether all properties of each window are known, shape (N,)."""
    return np.logical_and.reduce([np.isfinite(values).all(axis=1) for values in features.values()])


def _fit_group(group: str, features: Mapping[str, np.ndarray], weights: np.ndarray) -> dict[str, np.ndarray]:
    """Return regressions and the covariance of their residuals as named arrays."""
    from sklearn.linear_model import Ridge

    fitted: dict[str, np.ndarray] = {}
    for number, (_, predictors) in enumerate(_REGRESSIONS[group]):
        response, values = _regression(group, number, features)
        if predictors:
            mean, spread = np.average(values, axis=0, weights=weights), values.std(axis=0) + SPREAD_FLOOR
            ridge = Ridge(RIDGE_PENALTY).fit((values - mean) / spread, response, weights / weights.mean())
            coefficients = np.reshape(ridge.coef_, (response.shape[1], -1))
            fitted |= {f"{number}.mean": mean, f"{number}.spread": spread, f"{number}.coefficients": coefficients}
    residuals = _residuals(group, fitted, features)
    center = np.average(residuals, axis=0, weights=weights)
    spread = np.sqrt(np.average((residuals - center) ** 2, axis=0, weights=weights)) + SPREAD_FLOOR
    covariance = np.atleast_2d(np.cov(((residuals - center) / spread).T, aweights=weights))
    covariance = (1 - SHRINKAGE) * covariance + SHRINKAGE * np.eye(len(covariance))
    return fitted | {"center": center, "spread": spread, "precision": np.linalg.inv(covariance)}


def _regression(group: str, number: int, features: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return responses (N, R) and predictors (N, P) of one regression of a group."""
    responses, predictors = _REGRESSIONS[group][number]
    empty = np.empty((len(features["column"]), 0))
    return np.hstack([features[name] for name in responses]), np.hstack([empty, *(features[p] for p in predictors)])


def _residuals(group: str, fitted: Mapping[str, np.ndarray], features: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the residuals of all regressions of a group, up to a constant, shape (N, residuals)."""
    residuals = []
    for number in range(len(_REGRESSIONS[group])):
        response, values = _regression(group, number, features)
        if f"{number}.coefficients" in fitted:
            scaled = np.clip((values - fitted[f"{number}.mean"]) / fitted[f"{number}.spread"], -CLIP, CLIP)
            response = response - scaled @ fitted[f"{number}.coefficients"].T
        residuals.append(response)
    return np.hstack(residuals)


def _distance(group: str, fitted: Mapping[str, np.ndarray], features: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the Mahalanobis length of the residuals of a group, shape (N,)."""
    scaled = (_residuals(group, fitted, features) - fitted["center"]) / fitted["spread"]
    return np.sqrt(np.einsum("ni,ij,nj->n", scaled, fitted["precision"], scaled))


def _thresholds(scores: np.ndarray, weights: np.ndarray, rate: float) -> np.ndarray:
    """Return thresholds of each column of `scores` (N, G) above which together a share `rate` of the weight lies.

    The tail probability of a score is the share of the weight at scores not below it. The common level of the
    thresholds is the quantile `rate` of the smallest tail probability of each row.
    """
    order = np.argsort(-scores, axis=0, kind="stable")
    tails = np.empty_like(scores)
    for k in range(scores.shape[1]):
        tails[order[:, k], k] = np.cumsum(weights[order[:, k]]) / weights.sum()
    smallest = tails.min(axis=1)
    by_tail = np.argsort(smallest, kind="stable")
    flagged = np.cumsum(weights[by_tail]) / weights.sum() <= rate
    level = smallest[by_tail][flagged][-1] if flagged.any() else 0.0
    return np.array([np.max(scores[tails[:, k] > level, k]) for k in range(scores.shape[1])])
