"""Mass from a support-vector regression with a Gaussian kernel in a whitened space."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.spatial.distance import cdist
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from stellarfm.contracts import MassHead
from stellarfm.inference.masses.heads.common import check_features, check_reference
from stellarfm.inference.masses.heads.whitening import Whitening

__all__ = ["SVRHead"]


class SVRHead(BaseEstimator, MassHead):
    """Support-vector regression of log mass with a Gaussian kernel on whitened components.

    Where heavy stars are few, a mean over neighbors draws every mass towards the mean; a kernel regression follows a
    trend. The weights of the reference windows are the normalized kernel.

    Parameters
    ----------
    C, epsilon : float
        Regularization and tolerance [dex] of `sklearn.svm.SVR`.
    gamma : float
        Inverse width of the kernel, in units of the inverse of the total variance of the components.
    n_components, standardize, block_weights : optional
        As for `stellarfm.inference.masses.heads.knn.KNNHead`.

    Attributes
    ----------
    whitening_ : Whitening
        Map from features to components.
    components_ : ndarray
        Components of the reference windows, shape (N, P).
    dual_ : ndarray
        Coefficient of the kernel of each reference window, shape (N,); zero except for support vectors.
    intercept_, gamma_ : float
        Constant of the regression, and factor of the squared distance in the kernel.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.linspace(0, 1, 50)[:, None]
    >>> SVRHead(C=10, epsilon=0.01).fit(x, 2 * x[:, 0]).predict(np.array([[0.5]])).round(1)
    array([1.])
    """

    def __init__(
        self,
        *,
        C: float = 0.3,
        epsilon: float = 0.1,
        gamma: float = 0.3,
        n_components: int | None = 24,
        standardize: bool = False,
        block_weights: Sequence[float] | None = None,
    ) -> None:
        self.C = C
        self.epsilon = epsilon
        self.gamma = gamma
        self.n_components = n_components
        self.standardize = standardize
        self.block_weights = block_weights

    def fit(
        self,
        features: np.ndarray,
        log_mass: np.ndarray,
        *,
        stars: np.ndarray | None = None,
        blocks: Sequence[int] | None = None,
    ) -> SVRHead:
        """Fit whitening and regression; see `stellarfm.contracts.MassHead.fit`."""
        from sklearn.svm import SVR

        features, log_mass, _ = check_reference(features, log_mass, stars)
        self.whitening_ = Whitening.fit(
            features,
            n_components=self.n_components,
            standardize=self.standardize,
            blocks=blocks,
            block_weights=self.block_weights,
        )
        self.components_ = self.whitening_.transform(features)
        self.gamma_ = float(self.gamma / self.components_.var(axis=0).sum())
        regression = SVR(kernel="rbf", C=self.C, gamma=self.gamma_, epsilon=self.epsilon).fit(
            self.components_, log_mass
        )
        self.dual_ = np.zeros(len(features))
        self.dual_[regression.support_] = regression.dual_coef_[0]
        self.intercept_ = float(regression.intercept_[0])
        return self

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Return predicted log10 masses, shape (Q,)."""
        check_is_fitted(self)
        support = np.flatnonzero(self.dual_)
        distance = cdist(self._components(features), self.components_[support], "sqeuclidean")
        return np.exp(-self.gamma_ * distance) @ self.dual_[support] + self.intercept_

    def weights(self, features: np.ndarray) -> np.ndarray:
        """Return the normalized kernel between queries and reference windows, shape (Q, N)."""
        check_is_fitted(self)
        exponent = -self.gamma_ * cdist(self._components(features), self.components_, "sqeuclidean")
        kernel = np.exp(exponent - exponent.max(axis=1, keepdims=True))  # far from all, the nearest window counts
        return kernel / kernel.sum(axis=1, keepdims=True)

    def _components(self, features: np.ndarray) -> np.ndarray:
        """Return the whitened components of feature vectors."""
        return self.whitening_.transform(check_features(features, len(self.whitening_.center)))

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return center and matrix of the whitening, components of the reference, and the regression."""
        check_is_fitted(self)
        return {
            "center": self.whitening_.center,
            "matrix": self.whitening_.matrix,
            "components": self.components_,
            "dual": self.dual_,
            "intercept": np.array([self.intercept_]),
            "gamma": np.array([self.gamma_]),
        }

    def from_arrays(self, arrays: dict[str, np.ndarray]) -> SVRHead:
        """Set the fitted state from `to_arrays` and return self."""
        self.whitening_ = Whitening(arrays["center"], arrays["matrix"])
        self.components_, self.dual_ = arrays["components"], arrays["dual"]
        self.intercept_, self.gamma_ = float(arrays["intercept"][0]), float(arrays["gamma"][0])
        return self
