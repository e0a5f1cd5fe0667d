"""Conformance of heads."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, clone

from stellarfm.contracts import MassHead
from stellarfm.exceptions import ModelError
from stellarfm.testing.base import Conformance

__all__ = ["HeadConformance"]


class HeadConformance(Conformance):
    """Checks of a `MassHead`: it predicts, its weights are shares, and its arrays are its whole state.

    Examples
    --------
    >>> from stellarfm.inference import KNNHead
    >>> from stellarfm.testing import HeadConformance
    >>> class TestKNN(HeadConformance):
    ...     plugin = KNNHead
    >>> TestKNN().test_is_an_estimator()
    """

    contract = MassHead

    def windows(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return features (120, 6), log masses and stars: the mass is the sum of two features."""
        rng = np.random.default_rng(0)
        features = np.repeat(rng.normal(size=(40, 6)), 3, axis=0) + 0.01 * rng.normal(size=(120, 6))
        return features.astype(np.float32), 0.3 * (features[:, 0] + features[:, 4]), np.repeat(np.arange(40), 3)

    def fitted(self) -> Any:
        """Return a head fitted to `windows`."""
        features, log_mass, stars = self.windows()
        return self.make().fit(features, log_mass, stars=stars, blocks=(4, 2))

    def test_is_an_estimator(self) -> None:
        """It can be cloned, and its options are plain JSON types that the constructor only stores."""
        head = self.make()
        assert isinstance(head, BaseEstimator), f"{self.plugin!r} does not inherit sklearn.base.BaseEstimator"
        assert clone(head).get_params() == head.get_params(), "the constructor changes its options"
        json.dumps(head.get_params())

    def test_learns(self) -> None:
        """Predictions of the reference windows correlate with their masses."""
        features, log_mass, _ = self.windows()
        predicted = self.fitted().predict(features)
        assert predicted.shape == log_mass.shape, f"predict() gave {predicted.shape}, expected {log_mass.shape}"
        assert np.corrcoef(predicted, log_mass)[0, 1] > 0.5, "predictions do not follow the masses of the reference set"

    def test_weights_are_shares(self) -> None:
        """Weights are not negative, one per reference window, and sum to 1."""
        features, *_ = self.windows()
        weights = self.fitted().weights(features[:5] + 0.1)
        assert weights.shape == (5, len(features)), f"weights() gave {weights.shape}, expected (5, {len(features)})"
        assert np.all(weights >= 0), "a weight is negative"
        assert np.allclose(weights.sum(axis=1), 1), "weights do not sum to 1"

    def test_arrays_hold_the_whole_state(self) -> None:
        """A head made from options and arrays predicts the same."""
        features, *_ = self.windows()
        head = self.fitted()
        arrays = head.to_arrays()
        for name, values in arrays.items():
            assert values.dtype.kind in "iufb", f"array {name!r} has type {values.dtype}; expected numbers"
        again = self.make().from_arrays(arrays)
        assert np.array_equal(head.predict(features + 0.1), again.predict(features + 0.1)), "from_arrays() differs"

    def test_same_windows_same_head(self) -> None:
        """Fitting twice gives the same predictions."""
        features, *_ = self.windows()
        one, other = (self.fitted().predict(features + 0.1) for _ in range(2))
        assert np.array_equal(one, other), "fitting is not deterministic; take a seed as option"

    def test_missing_masses_are_refused(self) -> None:
        """A mass that is not finite raises `ModelError`."""
        features, log_mass, stars = self.windows()
        try:
            self.make().fit(features, np.where(log_mass > 0, np.nan, log_mass), stars=stars)
        except ModelError:
            return
        raise AssertionError("fit() accepts masses that are not finite; raise ModelError")
