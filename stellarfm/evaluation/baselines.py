"""Methods that predict masses, and the baselines that a model is compared with.

A method has two stages, both fitted to training windows alone: features (with a scaler, for instance), and a regressor
from features to masses. A benchmark refits both in every fold, so that no information on a held-out star leaks.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.dummy import DummyRegressor
from sklearn.ensemble import HistGradientBoostingRegressor

from stellarfm.evaluation.statistics import radial_statistics
from stellarfm.inference.encoding.features import Readout
from stellarfm.inference.encoding.frozen_encoder import FrozenEncoder
from stellarfm.inference.masses.regression import MassPrediction, MassRegressor
from stellarfm.maps import MapScaler

if TYPE_CHECKING:
    from stellarfm.contracts import Encoder
    from stellarfm.maps import MapSet

__all__ = [
    "EncoderFeatures",
    "LogMassRegressor",
    "Method",
    "NoFeatures",
    "RadialStatistics",
    "default_methods",
    "encoder_baselines",
    "mean_of_training",
    "statistics_boosting",
]


class LogMassRegressor(RegressorMixin, BaseEstimator):
    """Scikit-learn regressor of log10 mass with the interface of `MassRegressor`.

    Parameters
    ----------
    regressor : sklearn regressor
        Regressor that is cloned at each fit.

    Attributes
    ----------
    regressor_ : sklearn regressor
        The fitted clone.
    """

    def __init__(self, regressor: RegressorMixin) -> None:
        self.regressor = regressor

    def fit(self, X: np.ndarray, mass: np.ndarray, *, stars: np.ndarray | None = None) -> LogMassRegressor:
        """Fit to features (N, D) and masses (N,) in solMass; `stars` is ignored."""
        self.regressor_ = clone(self.regressor).fit(X, np.log10(mass))
        return self

    def predict_log_mass(self, X: np.ndarray) -> MassPrediction:
        """Return the predicted log10 mass of each row; spread and distance are zero."""
        value = self.regressor_.predict(X)
        return MassPrediction(value, np.zeros_like(value), np.zeros_like(value))

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Return masses in solMass, shape (Q,)."""
        return 10 ** self.predict_log_mass(X).value


class NoFeatures:
    """No features: one column of zeros."""

    def fit(self, windows: MapSet) -> NoFeatures:
        """Return self: there is nothing to fit."""
        return self

    def transform(self, windows: MapSet) -> np.ndarray:
        """Return zeros, shape (N, 1)."""
        return np.zeros((len(windows), 1))


class RadialStatistics(NoFeatures):
    """Hand-made radial statistics; nothing is fitted."""

    def transform(self, windows: MapSet) -> np.ndarray:
        """Return the statistics of `radial_statistics`, shape (N, 36)."""
        return radial_statistics(windows)


class EncoderFeatures:
    """Features of a frozen encoder behind a scaler that is fitted to the training windows.

    Parameters
    ----------
    encoder : Encoder
        Frozen encoder.
    scaler : MapScaler
        Scaler whose options are used; it is fitted again.
    readout : Readout
        Pooling of encoder output into one vector per window.
    """

    def __init__(self, encoder: Encoder, *, scaler: MapScaler, readout: Readout) -> None:
        self.encoder = encoder
        self.scaler = scaler
        self.readout = readout

    def fit(self, windows: MapSet) -> EncoderFeatures:
        """Fit the scaler to windows."""
        references = {name: getattr(self.scaler, name) for name in ("column_reference", "dispersion_reference")}
        self.scaler_ = MapScaler(**references, clip=self.scaler.clip).fit(windows)
        return self

    def transform(self, windows: MapSet) -> np.ndarray:
        """Return features, shape (N, D)."""
        return self.readout.extract(self.encoder, self.scaler_.transform(windows))


@dataclass(frozen=True)
class Method:
    """Named method of predicting masses.

    Attributes
    ----------
    name : str
        Name in tables.
    features : NoFeatures or EncoderFeatures
        First stage, with `fit` and `transform`; methods that share this object are computed from the same features.
    regressor : LogMassRegressor or MassRegressor
        Second stage, with `fit` and `predict_log_mass`.
    columns : slice
        Columns of the features that the regressor uses.
    """

    name: str
    features: NoFeatures | EncoderFeatures
    regressor: LogMassRegressor | MassRegressor
    columns: slice = field(default_factory=lambda: slice(None))


def mean_of_training() -> Method:
    """Return the method that predicts the mean log10 mass of the training windows (R2 of 0 or less)."""
    return Method("mean of the training stars", NoFeatures(), LogMassRegressor(DummyRegressor()))


def statistics_boosting(*, seed: int = 0) -> Method:
    """Return gradient boosting on the 36 hand-made statistics.

    Few, small trees predict new stars better than scikit-learn's defaults.
    """
    trees = HistGradientBoostingRegressor(
        learning_rate=0.05, max_iter=150, max_leaf_nodes=8, min_samples_leaf=30, early_stopping=False, random_state=seed
    )
    return Method("hand-made statistics + gradient boosting", RadialStatistics(), LogMassRegressor(trees))


def encoder_baselines(
    name: str,
    encoder: Encoder,
    *,
    side: int,
    scaler: MapScaler | None = None,
    readout: Readout | None = None,
    regressor: MassRegressor | None = None,
) -> list[Method]:
    """Return the methods of a frozen encoder: the whole readout, and each of its parts if there are several.

    Parameters
    ----------
    name : str
        Name of the encoder in tables.
    encoder : Encoder
        Frozen encoder.
    side : int
        Side of the windows in pixels.
    scaler, readout, regressor : optional
        Parts of a model, whose options are used; by default unfitted ones with default options.
    """
    readout, regressor = readout or Readout(), clone(regressor) if regressor else MassRegressor()
    features = EncoderFeatures(encoder, scaler=scaler or MapScaler(), readout=readout)
    if len(readout.pooling) == 1:
        return [Method(f"{name}: {readout.pooling[0]}", features, regressor)]
    lengths = readout.lengths(encoder, side=side)
    whole = clone(regressor).set_params(blocks=lengths)
    alone = clone(regressor).set_params(blocks=None, block_weights=None)
    ends = np.cumsum(lengths).tolist()
    parts = [
        Method(f"{name}: {pooling}", features, clone(alone), slice(end - length, end))
        for pooling, length, end in zip(readout.pooling, lengths, ends, strict=True)
    ]
    return [Method(f"{name}: {' + '.join(readout.pooling)}", features, whole), *parts]


def default_methods(
    encoder: FrozenEncoder,
    *,
    pixels: int,
    scaler: MapScaler | None = None,
    readout: Readout | None = None,
    regressor: MassRegressor | None = None,
) -> list[Method]:
    """Return an encoder, the same with random weights, boosting on hand-made statistics, and the mean.

    Parameters
    ----------
    encoder : FrozenEncoder
        Encoder to compare; one without a training record is itself the one with random weights.
    pixels : int
        Side of the windows in pixels.
    scaler, readout, regressor : optional
        Parts of a model, whose options are used; by default unfitted ones with default options.
    """
    compared = {"pretrained": encoder} if encoder.training else {}
    compared["random weights"] = FrozenEncoder.random(encoder.name, image_size=pixels) if encoder.training else encoder
    methods = {
        method.name: method
        for kind, one in compared.items()
        for method in encoder_baselines(
            f"{one.name}, {kind}", one.module, side=pixels, scaler=scaler, readout=readout, regressor=regressor
        )
    }
    profiles = [name for name in methods if name.endswith(": profiles")]  # independent of the encoder
    for name in profiles[1:]:
        del methods[name]
    if profiles:
        first = methods[profiles[0]]
        methods[profiles[0]] = replace(first, name="radial profiles alone, same head")
    return [*methods.values(), statistics_boosting(), mean_of_training()]
