"""Quick score of how well masses are predicted from an encoder, for use during pretraining."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from stellarfm.evaluation.benchmark import subsample_windows
from stellarfm.evaluation.metrics import score
from stellarfm.evaluation.splits import Fold, split
from stellarfm.exceptions import MapError, ModelError
from stellarfm.inference.encoding.features import Readout
from stellarfm.inference.masses.heads.knn import KNNHead
from stellarfm.maps import MapScaler

if TYPE_CHECKING:
    from stellarfm.contracts import Encoder
    from stellarfm.maps import MapSet

__all__ = ["MassProbe", "rounded_scales"]


class MassProbe:
    """R2 of log10 mass of held-out stars, and of held-out simulations if there are several, with k-NN.

    The readout is the class token, patches in rings, and rings of three zooms. `KNNHead` and the scales of the
    maps are fitted to the training side of each fold. The scales are rounded (`rounded_scales`), so that folds with
    equal scales share their features.

    Parameters
    ----------
    windows : MapSet
        Windows with masses.
    per_star : int
        Largest number of windows of a star that are kept, drawn once.
    n_folds : int
        Number of folds of whole stars.
    seed : int
        Seed of the draw.

    Raises
    ------
    MapError
        If the windows have no masses, or are of a single star.
    """

    def __init__(self, windows: MapSet, *, per_star: int = 4, n_folds: int = 5, seed: int = 0) -> None:
        if windows.label_kind is None:
            raise MapError("these windows have no masses; a probe needs a map set with a label kind and masses")
        self.windows = subsample_windows(windows, per_star=per_star, seed=seed)
        self.readout = Readout(pooling=("class", "rings", "zooms"))
        simulations = np.unique(windows.simulations)
        self.folds = {"star": split(self.windows, "star", n_folds=n_folds)}
        if len(simulations) > 1:
            self.folds["simulation"] = split(self.windows, "simulation")
        self.scalers = {
            by: [rounded_scales(MapScaler().fit(self.windows[fold.train])) for fold in folds]
            for by, folds in self.folds.items()
        }
        self.simulations = ", ".join(simulations)
        self.stars = self.windows.groups
        self.mass = self.windows.stars["mass"].to_value("solMass")

    @property
    def about(self) -> str:
        """Description of the scores in one line."""
        return (
            f"R2 of log mass, k-NN: {len(self.windows)} windows of {len(np.unique(self.stars))} stars of "
            f"{self.simulations}, held out by {' or by '.join(self.folds)}"
        )

    def check(self, encoder: Encoder) -> None:
        """Raise `ModelError` if the windows do not fit the encoder."""
        side = self.windows.column_density.shape[-1]
        if encoder.in_channels != 3 or side % encoder.patch_size:
            raise ModelError(
                f"probe windows of 3 channels and {side} pixels do not fit an encoder of {encoder.in_channels} "
                f"channels and patches of {encoder.patch_size} pixels; give other maps"
            )

    def __call__(self, encoder: Encoder) -> dict[str, float]:
        """Return scores ``class_by_star``, ``rings_by_star``, ...; NaN for features that are constant or not finite."""
        lengths = self.readout.lengths(encoder, side=self.windows.column_density.shape[-1])
        ends = np.cumsum(lengths)
        columns = {
            name: slice(end - length, end)
            for name, length, end in zip(self.readout.pooling, lengths, ends, strict=True)
        }
        known: dict[str, np.ndarray] = {}
        scores = {}
        for by, folds in self.folds.items():
            features = [self._features(encoder, scaler, known) for scaler in self.scalers[by]]
            for name, part in columns.items():
                scores[f"{name}_by_{by}"] = self._score(folds, [values[:, part] for values in features])
        return scores

    def _features(self, encoder: Encoder, scaler: MapScaler, known: dict[str, np.ndarray]) -> np.ndarray:
        """Return features of all windows with the scales of a fold; computed once for equal scales."""
        key = str(scaler.to_config())
        if key not in known:
            known[key] = self.readout.extract(encoder, scaler.transform(self.windows))
        return known[key]

    def _score(self, folds: list[Fold], features: list[np.ndarray]) -> float:
        """Return the R2 over all held-out windows."""
        predicted = np.full(len(self.windows), np.nan)
        for fold, values in zip(folds, features, strict=True):
            if not np.isfinite(values).all() or not np.ptp(values[fold.train], axis=0).any():
                return float("nan")
            head = KNNHead(n_components=16, n_neighbors=20, vote_by="star").fit(
                values[fold.train], np.log10(self.mass[fold.train]), stars=self.stars[fold.train]
            )
            predicted[fold.test] = head.predict(values[fold.test])
        return score(np.log10(self.mass), predicted, self.stars).r2


def rounded_scales(scaler: MapScaler) -> MapScaler:
    """Return a fitted scaler with scales rounded to quarter powers of two and centers to a quarter of a scale."""
    config: dict[str, Any] = scaler.to_config()
    config["scale"] = [2.0 ** (round(4 * np.log2(scale)) / 4) for scale in config["scale"]]
    config["centre"] = [
        round(4 * center / scale) * scale / 4 for center, scale in zip(config["centre"], config["scale"], strict=True)
    ]
    return MapScaler.from_config(config)
