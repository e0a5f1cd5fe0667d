"""Methods that predict masses, and the baselines that a model is compared with.

A method has two stages, both fitted to training windows alone: features (with a scaler, for instance), and a head from
features to log mass. A benchmark refits both in every fold, so that no information on a held-out star leaks.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.dummy import DummyRegressor
from sklearn.ensemble import HistGradientBoostingRegressor

from stellarfm.inference.encoding.embedding import Embedder
from stellarfm.inference.encoding.features import STATISTICS
from stellarfm.inference.encoding.frozen_encoder import FrozenEncoder
from stellarfm.inference.encoding.statistics import window_statistics
from stellarfm.inference.masses.conformal import StarConformal
from stellarfm.inference.masses.heads.forest import ForestHead
from stellarfm.inference.model_directory import PRESETS
from stellarfm.inference.presets import preset_options

if TYPE_CHECKING:
    from stellarfm.contracts import MassHead
    from stellarfm.maps import MapSet

#: Bandwidth, in units of rank, at which nothing is localized.
UNLIMITED = 1e6

__all__ = [
    "EmbedderFeatures",
    "LogMassRegressor",
    "Method",
    "NoFeatures",
    "Statistics",
    "constant_width",
    "default_methods",
    "encoder_baselines",
    "mean_of_training",
    "preset_methods",
    "statistics_boosting",
    "statistics_forest",
]


class LogMassRegressor(BaseEstimator):
    """Scikit-learn regressor with the methods of a `stellarfm.contracts.MassHead` that a benchmark uses.

    Parameters
    ----------
    regressor : sklearn regressor
        Regressor of log10 mass that is cloned at each fit.

    Attributes
    ----------
    regressor_ : sklearn regressor
        The fitted clone.
    """

    def __init__(self, regressor: RegressorMixin) -> None:
        self.regressor = regressor

    def fit(
        self, features: np.ndarray, log_mass: np.ndarray, *, stars: object = None, blocks: object = None
    ) -> LogMassRegressor:
        """Fit to features (N, D) and log10 masses (N,) in solMass; `stars` and `blocks` are ignored."""
        self.regressor_ = clone(self.regressor).fit(features, log_mass)
        return self

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Return predicted log10 masses, shape (Q,)."""
        return self.regressor_.predict(features)


class NoFeatures:
    """No features: one column of zeros."""

    def fit(self, windows: MapSet) -> NoFeatures:
        """Return self: there is nothing to fit."""
        return self

    def transform(self, windows: MapSet) -> np.ndarray:
        """Return zeros, shape (N, 1)."""
        return np.zeros((len(windows), 1))


class Statistics(NoFeatures):
    """Hand-made statistics of the gas in rings around the star; nothing is fitted."""

    def transform(self, windows: MapSet) -> np.ndarray:
        """Return the statistics of `window_statistics`, shape (N, 121)."""
        return window_statistics(windows)


class EmbedderFeatures:
    """Features of an embedder whose scaler is fitted to the training windows.

    Parameters
    ----------
    embedder : Embedder
        Encoder, scaler and readout; the scaler is fitted again.
    """

    def __init__(self, embedder: Embedder) -> None:
        self.embedder = embedder

    def fit(self, windows: MapSet) -> EmbedderFeatures:
        """Fit the scaler to windows."""
        self.embedder_ = self.embedder.fit(windows)
        return self

    def transform(self, windows: MapSet) -> np.ndarray:
        """Return features, shape (N, D)."""
        return self.embedder_.features(windows)


@dataclass(frozen=True)
class Method:
    """Named method of predicting masses.

    Attributes
    ----------
    name : str
        Name in tables.
    features : NoFeatures or EmbedderFeatures
        First stage, with `fit` and `transform`; methods that share this object are computed from the same features.
    head : MassHead or LogMassRegressor
        Second stage, with `fit` and `predict`; methods that also share this object are fitted once.
    columns : slice
        Columns of the features that the head uses.
    blocks : tuple of int, optional
        Lengths of the parts of a feature vector.
    conformal : StarConformal
        Unfitted calibration of the intervals.
    """

    name: str
    features: NoFeatures | EmbedderFeatures
    head: MassHead | LogMassRegressor
    columns: slice = field(default_factory=lambda: slice(None))
    blocks: tuple[int, ...] | None = None
    conformal: StarConformal = field(default_factory=StarConformal)


def mean_of_training() -> Method:
    """Return the method that predicts the mean log10 mass of the training windows (R2 of 0 or less)."""
    return Method("mean of the training stars", NoFeatures(), LogMassRegressor(DummyRegressor()))


def statistics_boosting(*, features: NoFeatures | EmbedderFeatures | None = None, seed: int = 0) -> Method:
    """Return gradient boosting on the 121 hand-made statistics.

    Few, small trees predict new stars better than scikit-learn's defaults.
    """
    trees = HistGradientBoostingRegressor(
        learning_rate=0.05, max_iter=150, max_leaf_nodes=8, min_samples_leaf=30, early_stopping=False, random_state=seed
    )
    return Method("hand-made statistics + gradient boosting", features or Statistics(), LogMassRegressor(trees))


def statistics_forest(*, features: NoFeatures | EmbedderFeatures | None = None) -> Method:
    """Return the default forest on the 121 hand-made statistics."""
    return Method("hand-made statistics + forest", features or Statistics(), ForestHead())


def constant_width(method: Method) -> Method:
    """Return the same method with errors that are not localized: distributions of one shape, shifted.

    Only the lower limit at the smallest reference mass makes their widths differ.
    """
    conformal = clone(method.conformal).set_params(residual_bandwidth=UNLIMITED, level_bandwidth=UNLIMITED)
    return replace(method, name=f"{method.name}, constant-width intervals", conformal=conformal)


def preset_methods(*, pixels: int) -> list[Method]:
    """Return the published methods whose models come with the package and take windows of this size."""
    from stellarfm.inference.model import StellarModel

    found = []
    for name, directory in PRESETS.items():
        if directory.is_dir() and (model := StellarModel.load(name)).embedder.pixels == pixels:
            found.append(Method(name, EmbedderFeatures(model.embedder), preset_options(name)["head"]))
    return found


def encoder_baselines(name: str, embedder: Embedder, head: MassHead) -> list[Method]:
    """Return the methods of an embedder: the whole readout, and each of its parts if there are several.

    Parameters
    ----------
    name : str
        Name of the encoder in tables.
    embedder : Embedder
        Encoder, scaler and readout.
    head : MassHead
        Unfitted head.
    """
    readout, features = embedder.readout, EmbedderFeatures(embedder)
    if len(readout.pooling) == 1:
        return [Method(f"{name}: {readout.pooling[0]}", features, head)]
    lengths = embedder.block_lengths
    alone = clone(head)
    if "block_weights" in alone.get_params():
        alone.set_params(block_weights=None)
    ends = np.cumsum(lengths).tolist()
    parts = [
        Method(f"{name}: {pooling}", features, clone(alone), slice(end - length, end))
        for pooling, length, end in zip(readout.pooling, lengths, ends, strict=True)
    ]
    return [Method(f"{name}: {' + '.join(readout.pooling)}", features, head, blocks=lengths), *parts]


def default_methods(
    embedder: Embedder, head: MassHead, *, conformal: StarConformal | None = None, presets: bool = True
) -> list[Method]:
    """Return a model's readout and head, and the methods that it is compared with.

    These are the same with random weights if the readout uses an encoder, the same with intervals of constant width,
    the published methods, a forest and gradient boosting on the hand-made statistics, and the mean. All intervals have
    the same calibration.

    Parameters
    ----------
    embedder : Embedder
        Encoder, scaler and readout to compare. An encoder without a training record is itself the one with random
        weights.
    head : MassHead
        Unfitted head.
    conformal : StarConformal, optional
        Unfitted calibration with its options.
    presets : bool
        Include the published methods whose models come with the package, where the size of the windows fits.
    """
    own = _embedder_methods(embedder, head)
    statistics = Statistics() if embedder.readout.needs_images else own[0].features
    others = [statistics_forest(features=statistics), statistics_boosting(features=statistics), mean_of_training()]
    published = preset_methods(pixels=embedder.pixels) if presets else []
    methods = [*own, constant_width(own[0]), *published, *(one for one in others if one.name != own[0].name)]
    if conformal is None:
        return methods
    methods = [replace(method, conformal=conformal) for method in methods]
    methods[len(own)] = constant_width(methods[0])
    return methods


def _embedder_methods(embedder: Embedder, head: MassHead) -> list[Method]:
    """Return the methods of an embedder, and of its architecture with random weights."""
    if not embedder.readout.needs_images:
        forest = statistics_forest(features=EmbedderFeatures(embedder))
        return [forest if repr(head) == repr(forest.head) else replace(forest, name="statistics", head=head)]
    encoder = embedder.encoder
    if encoder is None:
        raise ValueError("this readout needs an encoder")
    compared = {"pretrained": encoder} if encoder.training else {}
    random = FrozenEncoder.random(encoder.name, image_size=embedder.pixels) if encoder.training else encoder
    compared["random weights"] = random
    methods = {
        method.name: method
        for kind, one in compared.items()
        for method in encoder_baselines(f"{one.name}, {kind}", replace(embedder, encoder=one), head)
    }
    for pooling, words in (("profiles", "radial profiles"), (STATISTICS, "hand-made statistics")):
        names = [name for name in methods if name.endswith(f": {pooling}")]  # independent of the encoder
        for name in names[1:]:
            del methods[name]
        if names:
            methods[names[0]] = replace(methods[names[0]], name=f"{words} alone, same head")
    return list(methods.values())
