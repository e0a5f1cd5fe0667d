"""What a model learns from windows of known stars: scales, reference set, head and intervals."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass

import numpy as np
from astropy import units as u
from sklearn.base import clone

from stellarfm.exceptions import ModelError
from stellarfm.inference.encoding.features import Readout, extract_patches
from stellarfm.inference.encoding.frozen_encoder import FrozenEncoder
from stellarfm.inference.masses.conformal import StarConformal, cross_fit
from stellarfm.inference.masses.out_of_distribution import PatchDistribution
from stellarfm.inference.masses.reference_set import ReferenceSet
from stellarfm.inference.masses.regression import MassRegressor
from stellarfm.maps import MapScaler, MapSet

__all__ = ["Learner", "check_labels"]

#: Windows whose patches stand for the reference set; 512 of 64 patches each fix 32 components well.
PATCH_WINDOWS = 512


def check_labels(mapset: MapSet) -> tuple[int, str]:
    """Side of the windows and label kind of a map set, if a model can be fitted to it; else `ModelError`."""
    n_y, n_x = mapset.column_density.shape[1:]
    if mapset.label_kind is None:
        raise ModelError("the map set has no label kind, so no masses to learn from; expected 'sink' or 'star'")
    if n_y != n_x:
        raise ModelError(f"windows of {n_y} x {n_x} pixels; expected square ones")
    return n_x, mapset.label_kind


@dataclass(frozen=True)
class Learner:
    """Options of all parts that learn; `learn` leaves them unfitted and returns fitted copies.

    Attributes
    ----------
    encoder : FrozenEncoder
    scaler : MapScaler
    readout : Readout
    regressor : MassRegressor
    intervals : StarConformal
    calibration_by : {"star", "simulation"}
        What cross-fitting holds out whole.
    seed : int
        Of the choice of windows for the patch summary.
    """

    encoder: FrozenEncoder
    scaler: MapScaler
    readout: Readout
    regressor: MassRegressor
    intervals: StarConformal
    calibration_by: str
    seed: int

    def learn(self, windows: MapSet) -> tuple[MapScaler, MassRegressor, StarConformal, ReferenceSet]:
        """Fitted scaler, head and intervals, and the reference set of the windows."""
        scaler = copy(self.scaler).fit(windows)
        images = scaler.transform(windows)
        features = self.readout.extract(self.encoder.module, images)
        mass = np.asarray(windows.stars["mass"].to_value(u.solMass), dtype=np.float64)
        simulations, groups = windows.simulations, windows.groups
        crossed = cross_fit(
            self.regressor,
            features,
            mass,
            stars=groups,
            simulations=simulations,
            by=self.calibration_by,
            refit_features=(lambda kept: self._features(windows, kept))
            if self.calibration_by == "simulation"
            else None,
        )
        regressor = clone(self.regressor).fit(features, mass, stars=groups)
        reference = ReferenceSet(
            features=features,
            mass=mass,
            star=np.asarray(windows.stars["star"]).astype(str),
            simulation=simulations,
            residual=crossed.residual,
            spread=crossed.spread,
            distance=regressor.predict_log_mass(features, exclude=groups).distance,
            patches=self._patch_summary(images),
        )
        return scaler, regressor, clone(self.intervals).fit(crossed.residual, crossed.spread, stars=groups), reference

    def _features(self, windows: MapSet, kept: np.ndarray) -> np.ndarray:
        """Features of all windows behind a scaler that saw only the kept ones, as an observer's cloud is seen."""
        scaler = copy(self.scaler).fit(windows[kept])
        return self.readout.extract(self.encoder.module, scaler.transform(windows))

    def _patch_summary(self, images: np.ndarray) -> PatchDistribution:
        """Summary of the patches of some windows of the reference set."""
        chosen = np.random.default_rng(self.seed).permutation(len(images))[:PATCH_WINDOWS]
        patches = extract_patches(self.encoder.module, images[np.sort(chosen)])
        return PatchDistribution.fit(patches.reshape(-1, patches.shape[-1]))
