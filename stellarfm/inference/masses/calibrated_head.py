"""A head with its reference set and calibration: features to distributions of mass.

The rest of the package uses `CalibratedHead.fit`, `CalibratedHead.predict`, `CalibratedHead.weights`, and the pair
`CalibratedHead.to_arrays` and `CalibratedHead.from_arrays`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import clone

from stellarfm import registry
from stellarfm.contracts import MassHead
from stellarfm.exceptions import ModelError
from stellarfm.inference.masses.conformal import StarConformal, cross_fit, star_weights
from stellarfm.inference.masses.distribution import MassDistribution
from stellarfm.inference.masses.priors import MassPrior, ReferencePrior
from stellarfm.inference.masses.reference_set import DEPTH_CLASSES, ReferenceSet

if TYPE_CHECKING:
    import os

    from astropy.table import Table

__all__ = ["DEFAULT_HEAD", "CalibratedHead", "head_name", "head_options", "select_arrays"]

logger = logging.getLogger("stellarfm")

#: Head of the bundled model.
DEFAULT_HEAD = "forest"

#: Masses beyond which fewer reference stars than this lie are outside the trusted range.
STARS_AT_EDGE = 5


def head_name(head: MassHead) -> str:
    """Return the registered name of a head.

    Raises
    ------
    ModelError
        If no entry point of the group ``stellarfm.heads`` names its class.
    """
    kind = type(head)
    for entry in registry.entries("heads"):
        if entry.value == f"{kind.__module__}:{kind.__qualname__}":
            return entry.name
    raise ModelError(f"{kind.__name__} is not registered; name it in an entry point of the group stellarfm.heads")


@dataclass(frozen=True, eq=False, kw_only=True)
class CalibratedHead:
    """Head, reference set, and a calibration for each depth class.

    Parameters
    ----------
    head : MassHead
        Head that predicts log mass.
    conformal : StarConformal
        Unfitted calibration with its options.
    calibration_by : {"star", "simulation"}
        Unit that cross-fitting holds out whole.
    n_folds : int
        Number of folds of stars in cross-fitting.
    reference : ReferenceSet, optional
        Windows of known mass; given by `fit`.
    calibrations : dict
        Depth class to the calibration fitted to its windows; given by `fit`.
    """

    head: MassHead
    conformal: StarConformal = field(default_factory=StarConformal)
    calibration_by: str = "star"
    n_folds: int = 5
    reference: ReferenceSet | None = None
    calibrations: dict[str, StarConformal] = field(default_factory=dict)

    def fit(
        self,
        reference: ReferenceSet,
        *,
        blocks: Sequence[int] | None = None,
        refit_features: Callable[[np.ndarray], np.ndarray] | None = None,
    ) -> CalibratedHead:
        """Return a head fitted to windows of known mass; this one is left as it is.

        One head is fitted to the windows of all depths. Each depth class is calibrated with its own windows only,
        because errors are larger, and biased, where the whole line of sight is seen.

        Parameters
        ----------
        reference : ReferenceSet
            Windows of known mass.
        blocks : sequence of int, optional
            Lengths of the parts of a concatenated feature vector.
        refit_features : callable, optional
            Function from the rows kept in a fold to features (N, D) of all windows, with everything learned from the
            kept rows alone; used where whole simulations are held out.

        Raises
        ------
        ModelError
            If there are too few stars or simulations, or a mass or the features are invalid.
        """
        calibrations = self.calibrate(reference, blocks=blocks, refit_features=refit_features)
        return CalibratedHead(
            head=clone(self.head).fit(
                _filled(reference.features), np.log10(reference.mass), stars=reference.groups, blocks=_several(blocks)
            ),
            conformal=self.conformal,
            calibration_by=self.calibration_by,
            n_folds=self.n_folds,
            reference=reference,
            calibrations=calibrations,
        )

    def calibrate(
        self,
        reference: ReferenceSet,
        *,
        blocks: Sequence[int] | None = None,
        refit_features: Callable[[np.ndarray], np.ndarray] | None = None,
    ) -> dict[str, StarConformal]:
        """Return the calibration of each depth class by cross-fitting; parameters and errors are those of `fit`."""
        if not np.all(np.isfinite(reference.mass) & (reference.mass > 0)):
            raise ModelError("a reference mass is missing or not positive; drop the windows without a mass")
        log_mass, groups = np.log10(reference.mass), reference.groups
        predicted = cross_fit(
            self.head,
            _filled(reference.features),
            log_mass,
            stars=groups,
            simulations=reference.simulation,
            by=self.calibration_by,
            n_folds=self.n_folds,
            blocks=_several(blocks),
            refit_features=refit_features if self.calibration_by == "simulation" else None,
        )
        calibrations = {}
        for name in reference.depth_classes:
            rows = reference.depth_class == name
            calibrations[name] = clone(self.conformal).fit(predicted[rows], log_mass[rows], stars=groups[rows])
        return calibrations

    def predict(
        self,
        features: np.ndarray,
        *,
        depth_class: str | None = None,
        prior: str | os.PathLike | Table | MassPrior = "reference",
    ) -> MassDistribution:
        """Return the distributions of mass of windows with these feature vectors, shape (Q, D).

        Parameters
        ----------
        features : ndarray
            Feature vectors, shape (Q, D).
        depth_class : {"cube", "field"}, optional
            Depth of the windows; by default that of the largest part of the reference set. Without reference windows
            of this class the calibration of the other class is used, with a warning in the log.
        prior : str, path, Table or MassPrior
            Prior of log mass, as for `MassPrior.resolve`. Under another prior than that of the reference set, the
            calibration is repeated with reference stars weighted by the ratio of the priors.
        """
        calibration = self.calibration(depth_class)
        ratio = _prior_of(calibration).ratio(MassPrior.resolve(prior))
        if ratio is not None:
            calibration = clone(self.conformal).fit(
                calibration.predicted_, calibration.log_mass_, stars=calibration.star_, ratio=ratio
            )
        return calibration.distribution(self.head.predict(_filled(features, self._reference.features)))

    def weights(self, features: np.ndarray) -> np.ndarray:
        """Return the weights of the N reference windows for feature vectors (Q, D), shape (Q, N)."""
        return self.head.weights(_filled(features, self._reference.features))

    def calibration(self, depth_class: str | None = None) -> StarConformal:
        """Return the calibration of a depth class, or of the other one with a warning."""
        self._reference  # noqa: B018 - raises if not fitted
        if depth_class is None:
            return max(self.calibrations.values(), key=lambda one: len(one.log_mass_))
        if depth_class not in DEPTH_CLASSES:
            raise ModelError(f"unknown depth {depth_class!r}; choose {' or '.join(map(repr, DEPTH_CLASSES))}")
        if depth_class not in self.calibrations:
            logger.warning(
                "the reference set has no windows of depth '%s': intervals are those of depth '%s', which hold less "
                "often here",
                depth_class,
                next(iter(self.calibrations)),
            )
            return next(iter(self.calibrations.values()))
        return self.calibrations[depth_class]

    def reference_prior(self, depth_class: str | None = None) -> ReferencePrior:
        """Return the mass distribution of the reference stars of a depth class, each of weight one."""
        return _prior_of(self.calibration(depth_class))

    def is_reference(self, groups: np.ndarray) -> np.ndarray:
        """Return a boolean array that is True for every ``"simulation/star"`` in the reference set."""
        return np.isin(groups, self._reference.groups)

    @cached_property
    def trusted_mass_range(self) -> tuple[float, float]:
        """Lightest and heaviest mass [solMass] beyond which fewer than five reference stars lie."""
        return trusted_mass_range(self._reference.mass, self._reference.groups)

    @cached_property
    def cross_validation(self) -> dict[str, dict[str, float]]:
        """Scores of the out-of-fold predictions of each depth class, over windows.

        R2 of log mass and RMSE [dex] of the point predictions.
        """
        scores = {}
        for name, one in self.calibrations.items():
            mean_square = np.mean((one.log_mass_ - one.predicted_) ** 2)
            r2 = 1 - mean_square / max(np.var(one.log_mass_), np.finfo(float).tiny)
            scores[name] = {"r2": round(float(r2), 4), "rmse_dex": round(float(np.sqrt(mean_square)), 4)}
        return scores

    def summary(self) -> dict[str, Any]:
        """Return numbers of windows and stars, simulations, depths and trusted mass range, as plain JSON types."""
        reference = self._reference
        groups = reference.groups
        log_mass, weights = np.log10(reference.mass), star_weights(groups)
        order = np.argsort(log_mass)
        reached = np.cumsum(weights[order]) / weights.sum()
        quartiles = [10 ** float(np.interp(p, reached, log_mass[order])) for p in (0.05, 0.25, 0.5, 0.75, 0.95)]
        return {
            "windows": len(reference),
            "windows_by_depth": {n: int((reference.depth_class == n).sum()) for n in reference.depth_classes},
            "depth_pc": {n: d if np.isfinite(d) else None for n, d in reference.depths().items()},
            "stars": len(np.unique(groups)),
            "simulations": sorted(set(reference.simulation.tolist())),
            "trusted_mass_solMass": list(self.trusted_mass_range),
            "mass_quantiles_solMass": {"probability": [0.05, 0.25, 0.5, 0.75, 0.95], "mass": quartiles},
        }

    def options(self) -> dict[str, Any]:
        """Return the options of the parts as plain JSON types, for `from_arrays`."""
        calibration = {"by": self.calibration_by, "n_folds": self.n_folds, **self.conformal.get_params()}
        return {"head": head_name(self.head), "head_options": head_options(self.head), "calibration": calibration}

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return the fitted head and its calibrations as arrays of numbers, for `from_arrays`."""
        arrays = {f"head.{name}": values for name, values in self.head.to_arrays().items()}
        for depth_class, one in self.calibrations.items():
            arrays |= {f"calibration.{depth_class}.{name}": values for name, values in one.to_arrays().items()}
        return arrays

    @classmethod
    def from_arrays(
        cls, options: Mapping[str, Any], arrays: Mapping[str, np.ndarray], reference: ReferenceSet
    ) -> CalibratedHead:
        """Return the fitted head with these `options`, `to_arrays` and reference set; nothing is fitted again."""
        calibration = dict(options["calibration"])
        by, n_folds = calibration.pop("by"), calibration.pop("n_folds")
        head = registry.create("heads", options["head"], **options["head_options"])
        conformal = StarConformal(**calibration)
        return cls(
            head=head.from_arrays(select_arrays(arrays, "head.")),
            conformal=conformal,
            calibration_by=by,
            n_folds=n_folds,
            reference=reference,
            calibrations={
                name: clone(conformal).from_arrays(select_arrays(arrays, f"calibration.{name}."))
                for name in reference.depth_classes
            },
        )

    @property
    def _reference(self) -> ReferenceSet:
        """The reference set of a fitted head."""
        if self.reference is None:
            raise ModelError("the head is not fitted; call fit first")
        return self.reference


def head_options(head: Any) -> dict[str, Any]:
    """Return the constructor options of a scikit-learn estimator."""
    return head.get_params(deep=False)


def _prior_of(calibration: StarConformal) -> ReferencePrior:
    """Return the mass distribution of the stars of a calibration."""
    return ReferencePrior(calibration.log_mass_, star_weights(calibration.star_) / calibration.n_stars_)


def _filled(features: np.ndarray, reference: np.ndarray | None = None) -> np.ndarray:
    """Return features whose missing values are the medians of the reference windows, or zero without any."""
    missing = ~np.isfinite(features)
    if not missing.any():
        return features
    known = np.ma.masked_invalid(features if reference is None else reference)
    typical = np.ma.median(known, axis=0).filled(0)
    return np.where(missing, typical, features).astype(features.dtype)


def _several(blocks: Sequence[int] | None) -> tuple[int, ...] | None:
    """Return the lengths of several blocks; None for a single one."""
    return None if blocks is None or len(blocks) == 1 else tuple(blocks)


def select_arrays(arrays: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    """Return the arrays whose names begin with `prefix`, without it."""
    return {name.removeprefix(prefix): values for name, values in arrays.items() if name.startswith(prefix)}


def trusted_mass_range(mass: np.ndarray, stars: np.ndarray) -> tuple[float, float]:
    """Return the masses beyond which fewer than five reference stars lie, lightest and heaviest [solMass]."""
    names = np.unique(stars)
    lightest = np.sort([mass[stars == name].min() for name in names])
    heaviest = np.sort([mass[stars == name].max() for name in names])
    edge = min(STARS_AT_EDGE, len(names)) - 1
    return float(lightest[edge]), float(heaviest[-1 - edge])
