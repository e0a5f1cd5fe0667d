"""Ways to predict a mass, each learnt from training windows alone: what a model is compared with.

A method is two stages. The first learns from the training windows how windows become numbers (a scaler, say); the
second learns masses from these numbers. A benchmark refits both in every fold, so nothing of a held-out star leaks.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.dummy import DummyRegressor
from sklearn.ensemble import HistGradientBoostingRegressor

from stellarfm.inference.encoding.features import Readout
from stellarfm.inference.encoding.frozen_encoder import FrozenEncoder
from stellarfm.inference.encoding.statistics import window_statistics
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
    """Any scikit-learn regressor, fitted to log10 mass, behind the interface of `MassRegressor`.

    Parameters
    ----------
    regressor : sklearn regressor
        Cloned at each fit.

    Attributes
    ----------
    regressor_ : sklearn regressor
        The fitted clone.
    """

    def __init__(self, regressor: RegressorMixin) -> None:
        self.regressor = regressor

    def fit(self, X: np.ndarray, mass: np.ndarray, *, stars: np.ndarray | None = None) -> LogMassRegressor:
        """Learn from features (N, D) and masses (N,) in solMass; `stars` is accepted and not used."""
        self.regressor_ = clone(self.regressor).fit(X, np.log10(mass))
        return self

    def predict_log_mass(self, X: np.ndarray) -> MassPrediction:
        """Predicted log10 mass of each row; spread and distance are zero."""
        value = self.regressor_.predict(X)
        return MassPrediction(value, np.zeros_like(value), np.zeros_like(value))

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Masses in solMass, shape (Q,)."""
        return 10 ** self.predict_log_mass(X).value


class NoFeatures:
    """No features: one column of zeros."""

    def fit(self, windows: MapSet) -> NoFeatures:
        """Learn nothing."""
        return self

    def transform(self, windows: MapSet) -> np.ndarray:
        """Zeros, shape (N, 1)."""
        return np.zeros((len(windows), 1))


class RadialStatistics(NoFeatures):
    """Hand-made statistics of the gas in rings around the star; see `window_statistics`."""

    def transform(self, windows: MapSet) -> np.ndarray:
        """Return the statistics, shape (N, 121)."""
        return window_statistics(windows)


class EncoderFeatures:
    """Features of a frozen encoder behind a scaler that is fitted to the training windows.

    Parameters
    ----------
    encoder : Encoder
        Frozen.
    scaler : MapScaler
        Its options are taken; what it has learnt is not.
    readout : Readout
        How a window becomes one vector.
    """

    def __init__(self, encoder: Encoder, *, scaler: MapScaler, readout: Readout) -> None:
        self.encoder = encoder
        self.scaler = scaler
        self.readout = readout

    def fit(self, windows: MapSet) -> EncoderFeatures:
        """Fit the scaler."""
        references = {name: getattr(self.scaler, name) for name in ("column_reference", "dispersion_reference")}
        self.scaler_ = MapScaler(**references, clip=self.scaler.clip).fit(windows)
        return self

    def transform(self, windows: MapSet) -> np.ndarray:
        """Features, shape (N, D)."""
        return self.readout.extract(self.encoder, self.scaler_.transform(windows))


@dataclass(frozen=True)
class Method:
    """A named way to predict masses: features (`fit`, `transform`) and a regressor (`fit`, `predict_log_mass`).

    Methods that share one `features` object are computed from the same features; `columns` says which of them to use.
    """

    name: str
    features: NoFeatures | EncoderFeatures
    regressor: LogMassRegressor | MassRegressor
    columns: slice = field(default_factory=lambda: slice(None))


def mean_of_training() -> Method:
    """The mean log10 mass of the training windows, whatever the map shows: R2 of zero, or less where clouds differ."""
    return Method("mean of the training stars", NoFeatures(), LogMassRegressor(DummyRegressor()))


def statistics_boosting(*, seed: int = 0) -> Method:
    """Gradient boosting on the 121 hand-made statistics.

    Small trees and few of them: on stars never seen this predicts better than scikit-learn's defaults.
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
    """A frozen encoder read out as a model does it: scaler, pooling, whitened components, nearest neighbours.

    If the readout has several parts, each is also a method of its own, so that one sees which part knows the masses.

    Parameters
    ----------
    name : str
        Of the encoder, in words.
    encoder : Encoder
        Frozen.
    side : int
        Side of the windows in pixels.
    scaler, readout, regressor : optional
        The parts of a model, whose options are taken; defaults if not given.
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
    """An encoder, its twin of random weights with the same readout, boosting on hand-made statistics, and the mean.

    Parameters
    ----------
    encoder : FrozenEncoder
        If its weights are random already it has no twin.
    pixels : int
        Side of the windows.
    scaler, readout, regressor : optional
        The parts of a model, whose options are taken; defaults if not given.
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
    profiles = [name for name in methods if name.endswith(": profiles")]  # the same numbers, whatever the encoder
    for name in profiles[1:]:
        del methods[name]
    if profiles:
        first = methods[profiles[0]]
        methods[profiles[0]] = replace(first, name="radial profiles alone, same head")
    return [*methods.values(), statistics_boosting(), mean_of_training()]
