"""Features to masses: the head of a model, fitted to windows of stars of known mass.

The rest of the package uses a head through `MassHead.fit`, `MassHead.predict` and the pair `MassHead.to_arrays` and
`MassHead.from_arrays` only; what is inside (regressor, conformal intervals, reference set) can be replaced here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.metrics import r2_score

from stellarfm.exceptions import ModelError
from stellarfm.inference.masses.conformal import StarConformal, cross_fit
from stellarfm.inference.masses.out_of_distribution import ood_threshold
from stellarfm.inference.masses.reference_set import ReferenceSet
from stellarfm.inference.masses.regression import MassRegressor

__all__ = ["DEFAULT_COMPONENTS", "DEFAULT_HEAD", "MassDistribution", "MassHead", "default_regressor"]

#: Regressor of the bundled model: kind of head, and number of principal components of each part of the features.
DEFAULT_HEAD, DEFAULT_COMPONENTS = "kernel", 24

#: Masses beyond which fewer reference stars than this lie are outside the trusted range.
STARS_AT_EDGE = 5


def default_regressor() -> MassRegressor:
    """Return the unfitted regressor of the bundled model: support-vector regression on whitened components."""
    return MassRegressor(head=DEFAULT_HEAD, n_components=DEFAULT_COMPONENTS)


@dataclass(frozen=True, eq=False)
class MassDistribution:
    """Predicted masses of Q windows with their intervals.

    Attributes
    ----------
    log_mass : ndarray
        Predicted log10 of the mass in solMass, shape (Q,).
    spread : ndarray
        Scatter of the log mass among the neighbors, dex, shape (Q,).
    ood : ndarray
        Distance to the reference set in units of `MassHead.ood_threshold`, shape (Q,); above 1 out of distribution.
    intervals : StarConformal
        Fitted conformal intervals.
    """

    log_mass: np.ndarray
    spread: np.ndarray
    ood: np.ndarray
    intervals: StarConformal

    def interval(self, level: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the offsets from `log_mass` to the ends of the interval of probability `level`, dex, each (Q,)."""
        return self.intervals.interval(level, self.spread)


@dataclass(frozen=True, eq=False)
class MassHead:
    """Regressor, conformal intervals and the reference set both are fitted to.

    Parameters
    ----------
    regressor : MassRegressor
        Regressor of log10 mass.
    intervals : StarConformal
        Conformal intervals about the regressor's predictions.
    calibration_by : {"star", "simulation"}
        Unit that cross-fitting holds out whole to calibrate the intervals.
    reference : ReferenceSet, optional
        Windows of known mass; given by `fit`.

    Examples
    --------
    >>> import numpy as np
    >>> features = np.random.default_rng(0).normal(size=(60, 4))
    >>> stars = np.arange(60).astype(str)
    >>> head = MassHead(MassRegressor(n_neighbors=5), StarConformal())
    >>> head = head.fit(features, 10 ** features[:, 0], stars=stars, simulations=np.full(60, "a"))
    >>> masses = head.predict(features[:3])
    >>> lower, upper = masses.interval(0.68)
    >>> bool((lower < upper).all())
    True
    """

    regressor: MassRegressor
    intervals: StarConformal
    calibration_by: str = "star"
    reference: ReferenceSet | None = None

    def fit(
        self,
        features: np.ndarray,
        mass: np.ndarray,
        *,
        stars: np.ndarray,
        simulations: np.ndarray,
        blocks: Sequence[int] | None = None,
        refit_features: Callable[[np.ndarray], np.ndarray] | None = None,
    ) -> MassHead:
        """Return a head fitted to windows of known mass; this one is left as it is.

        Parameters
        ----------
        features : ndarray
            Feature vectors, shape (N, D).
        mass : ndarray
            Masses in solMass, shape (N,), positive.
        stars, simulations : ndarray
            Star and simulation of each window, text, shape (N,); star names are unique within a simulation.
        blocks : sequence of int, optional
            Lengths of the parts of a concatenated feature vector; used if the regressor has none.
        refit_features : callable, optional
            Function from the rows kept in a fold to features (N, D) of all windows, with everything learned from
            the kept rows alone; used where whole simulations are held out.

        Raises
        ------
        ModelError
            If there are too few stars or simulations, or a mass or the features are invalid.
        """
        unfitted = clone(self.regressor)
        if unfitted.blocks is None and blocks is not None and len(blocks) > 1:
            unfitted.set_params(blocks=tuple(blocks))
        groups = np.array([f"{run}/{star}" for run, star in zip(simulations, stars, strict=True)])
        held_out = cross_fit(
            unfitted,
            features,
            mass,
            stars=groups,
            simulations=simulations,
            by=self.calibration_by,
            refit_features=refit_features if self.calibration_by == "simulation" else None,
        )
        regressor = clone(unfitted).fit(features, mass, stars=groups)
        reference = ReferenceSet(
            features=features,
            mass=mass,
            star=stars,
            simulation=simulations,
            residual=held_out.residual,
            spread=held_out.spread,
            distance=regressor.predict_log_mass(features, exclude=groups).distance,
        )
        intervals = clone(self.intervals).fit(held_out.residual, held_out.spread, stars=groups)
        return MassHead(regressor, intervals, self.calibration_by, reference)

    def predict(self, features: np.ndarray) -> MassDistribution:
        """Return the masses of windows with these feature vectors, shape (Q, D)."""
        prediction = self.regressor.predict_log_mass(features)
        ood = prediction.distance / self.ood_threshold
        return MassDistribution(prediction.value, prediction.spread, ood, self.intervals)

    def is_reference(self, groups: np.ndarray) -> np.ndarray:
        """Return a boolean array that is True for every ``"simulation/star"`` in the reference set."""
        return np.isin(groups, self._reference.groups)

    @cached_property
    def ood_threshold(self) -> float:
        """Distance to the reference set that 99 % of its own stars stay below."""
        return ood_threshold(self._reference.distance, self._reference.groups)

    @cached_property
    def trusted_mass_range(self) -> tuple[float, float]:
        """Lightest and heaviest mass [solMass] beyond which fewer than five reference stars lie."""
        return trusted_mass_range(self._reference.mass, self._reference.groups)

    @cached_property
    def cross_validation(self) -> dict[str, float]:
        """R2 of log mass and RMSE [dex] of the cross-fitted predictions, over windows."""
        true = np.log10(self._reference.mass)
        residual = self._reference.residual
        rmse = np.sqrt(np.mean(residual**2))
        return {"r2": round(float(r2_score(true, true - residual)), 4), "rmse_dex": round(float(rmse), 4)}

    def summary(self) -> dict[str, Any]:
        """Return numbers of windows and stars, simulations and trusted mass range, as plain JSON types."""
        return {
            "windows": len(self._reference.mass),
            "stars": self.intervals.n_stars_,
            "simulations": sorted(set(self._reference.simulation.tolist())),
            "trusted_mass_solMass": list(self.trusted_mass_range),
        }

    def options(self) -> dict[str, Any]:
        """Return the options of the parts as plain JSON types, for `from_arrays`."""
        calibration = {"by": self.calibration_by, **self.intervals.get_params()}
        return {"regressor": self.regressor.get_params(), "calibration": calibration}

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return the reference set as arrays of N rows, for `from_arrays`."""
        return dict(vars(self._reference))

    @classmethod
    def from_arrays(cls, options: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> MassHead:
        """Return the fitted head with these `options` and `to_arrays`; the regressor is fitted again."""
        reference = ReferenceSet(**arrays)
        calibration = dict(options["calibration"])
        by = calibration.pop("by")
        regressor = MassRegressor(**options["regressor"])
        regressor.fit(reference.features, reference.mass, stars=reference.groups)
        intervals = StarConformal(**calibration).fit(reference.residual, reference.spread, stars=reference.groups)
        return cls(regressor, intervals, by, reference)

    @property
    def _reference(self) -> ReferenceSet:
        """The reference set of a fitted head."""
        if self.reference is None:
            raise ModelError("the mass head is not fitted; call fit first")
        return self.reference


def trusted_mass_range(mass: np.ndarray, stars: np.ndarray) -> tuple[float, float]:
    """Return the masses beyond which fewer than five reference stars lie, lightest and heaviest [solMass]."""
    names = np.unique(stars)
    lightest = np.sort([mass[stars == name].min() for name in names])
    heaviest = np.sort([mass[stars == name].max() for name in names])
    edge = min(STARS_AT_EDGE, len(names)) - 1
    return float(lightest[edge]), float(heaviest[-1 - edge])
