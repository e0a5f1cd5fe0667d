"""Regression of log10 mass on whitened principal components of features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.metrics import r2_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVR
from sklearn.utils.validation import check_array, check_is_fitted

from stellarfm.exceptions import ModelError
from stellarfm.inference.masses.neighbors import inverse_distance_weights, nearest

__all__ = ["MassPrediction", "MassRegressor"]

#: Components of less than this fraction of the first one's variance are rounding noise, which whitening amplifies.
RELATIVE_VARIANCE_FLOOR = 1e-8

#: Support-vector regression: strength, tolerance [dex], and the kernel's width in units of the space's total variance.
KERNEL_C, KERNEL_EPSILON, KERNEL_GAMMA = 0.3, 0.1, 0.3


class MassPrediction(NamedTuple):
    """Predicted log mass of each query, with the scatter and distance of its neighbors; arrays of shape (Q,).

    `value` is the predicted log10 mass [solMass], `spread` the weighted standard deviation of log mass among the
    neighbors [dex], and `distance` the mean distance to them in the whitened space.
    """

    value: np.ndarray
    spread: np.ndarray
    distance: np.ndarray


class MassRegressor(RegressorMixin, BaseEstimator):
    """Regressor of log10 mass on whitened principal components, by default k-NN (arXiv:2510.24159).

    The paper keeps all components and averages the five nearest windows: ``n_components=None, n_neighbors=5,
    neighbours="windows"``. It was tested on other windows of the same stars; for stars never seen, fewer components and
    more neighbors, each star counted once, are better (see ``stellarfm benchmark``).

    Parameters
    ----------
    n_components : int or None
        Largest number of components; None keeps all that have variance, as the paper does.
    n_neighbors : int
        Number of neighbors, weighted by inverse distance.
    neighbours : {"windows", "stars"}
        Unit of the neighbors. ``"windows"`` is the paper's: each reference window counts, so that a star seen at many
        times and from three sides may hold all the weight. ``"stars"`` counts each star once, with its nearest window.
    standardise : bool
        Scale every feature to unit variance before the principal components are computed.
    blocks : tuple of int or None
        Lengths of the parts of a concatenated readout (`Readout.lengths`). Each part is whitened separately, to
        `n_components` components, and all parts to equal total variance, so that neither length nor units give a part
        more weight. None is a single part.
    block_weights : tuple of float or None
        Weight of each part in a distance; None is 1 each.
    head : {"neighbours", "kernel"}
        Prediction from the whitened components. ``"neighbours"`` is the paper's weighted mean over the nearest, which
        draws every mass to the mean where heavy stars are few; ``"kernel"`` is a support-vector regression with a
        Gaussian kernel, which follows a trend. Spread and distance come from the neighbors with either.

    Attributes
    ----------
    whitening_ : ColumnTransformer
        Transformer from features to whitened components.
    components_ : ndarray
        Whitened components of the reference windows, shape (N, n_components).
    log_mass_ : ndarray
        log10 of the masses in solMass, shape (N,).
    stars_ : ndarray
        Star of each reference window, shape (N,).
    kernel_ : SVR or None
        Fitted support-vector regression with ``head="kernel"``.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).normal(size=(100, 4))
    >>> regressor = MassRegressor(n_neighbors=5).fit(X, 10 ** X[:, 0])
    >>> regressor.predict(X[:3]).shape
    (3,)
    """

    def __init__(
        self,
        *,
        n_components: int | None = 16,
        n_neighbors: int = 20,
        neighbours: str = "stars",
        standardise: bool = False,
        blocks: Sequence[int] | None = None,
        block_weights: Sequence[float] | None = None,
        head: str = "neighbours",
    ) -> None:
        self.n_components = n_components
        self.n_neighbors = n_neighbors
        self.neighbours = neighbours
        self.standardise = standardise
        self.blocks = blocks
        self.block_weights = block_weights
        self.head = head

    def fit(self, X: np.ndarray, mass: np.ndarray, *, stars: np.ndarray | None = None) -> MassRegressor:
        """Fit the whitening, and the kernel if there is one, to reference windows.

        Parameters
        ----------
        X : ndarray
            Features, shape (N, D).
        mass : ndarray
            Masses in solMass, shape (N,), positive, all of one label kind.
        stars : ndarray, optional
            Star of each window, shape (N,); by default every window is a different star.

        Raises
        ------
        ModelError
            If a mass is not positive, an option is unknown, the lengths differ or no feature varies.
        """
        X = check_array(X, dtype=np.float64)
        mass, stars = self._checked(len(X), mass, stars)
        if not np.ptp(X, axis=0).any():
            raise ModelError(
                f"the features of {len(X)} windows do not vary: one window, or an encoder that has collapsed"
            )
        self.whitening_ = self._fitted_whitening(X)
        self.components_ = self.whitening_.transform(X)
        self.log_mass_ = np.log10(mass)
        self.stars_ = stars
        self.kernel_ = None
        if self.head == "kernel":
            gamma = KERNEL_GAMMA / self.components_.var(axis=0).sum()
            self.kernel_ = SVR(kernel="rbf", C=KERNEL_C, gamma=gamma, epsilon=KERNEL_EPSILON)
            self.kernel_.fit(self.components_, self.log_mass_)
        self.n_features_in_ = X.shape[1]
        return self

    def _checked(self, n: int, mass: np.ndarray, stars: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Return valid masses and stars of `n` windows."""
        if self.neighbours not in ("windows", "stars"):
            raise ModelError(f"neighbours={self.neighbours!r} is not known; choose 'windows' or 'stars'")
        if self.head not in ("neighbours", "kernel"):
            raise ModelError(f"head={self.head!r} is not known; choose 'neighbours' or 'kernel'")
        mass = np.asarray(mass, dtype=np.float64)
        stars = np.arange(n) if stars is None else np.asarray(stars)
        if mass.shape != (n,) or stars.shape != (n,):
            raise ModelError(f"{n} feature vectors with {mass.shape} masses and {stars.shape} stars; expected one each")
        if not np.all(np.isfinite(mass) & (mass > 0)):
            raise ModelError("a reference mass is missing or not positive; drop the windows without a mass")
        return mass, stars

    def _fitted_whitening(self, X: np.ndarray) -> ColumnTransformer:
        """Return the transformer from features to whitened components, block by block."""
        lengths = self.blocks or [X.shape[1]]
        weights = self.block_weights or [1.0] * len(lengths)
        if sum(lengths) != X.shape[1] or len(weights) != len(lengths):
            raise ModelError(
                f"feature vectors of length {X.shape[1]} do not consist of {len(weights)} blocks of {list(lengths)}"
            )
        ends = np.cumsum(lengths)
        parts = [slice(end - length, end) for end, length in zip(ends, lengths, strict=True)]
        steps = [(f"block{i}", self._block_whitening(X[:, part]), part) for i, part in enumerate(parts)]
        scales = {
            name: weight / np.sqrt(whitening[-1].n_components)
            for (name, whitening, _), weight in zip(steps, weights, strict=True)
        }
        return ColumnTransformer(steps, transformer_weights=scales if len(steps) > 1 else None).fit(X)

    def _block_whitening(self, X: np.ndarray) -> Pipeline:
        """Return the unfitted whitening of a block, without components of no variance."""
        n_components = min(self.n_components or X.shape[1], X.shape[1], max(1, len(X) - 1))
        variance = self._whitening(X, n_components).fit(X)[-1].explained_variance_
        return self._whitening(X, max(1, int(np.sum(variance > RELATIVE_VARIANCE_FLOOR * variance[0]))))

    def _whitening(self, X: np.ndarray, n_components: int) -> Pipeline:
        """Return the unfitted steps; both solvers are exact, so that loading a model repeats the fit."""
        pca = PCA(n_components, whiten=True, svd_solver="covariance_eigh" if len(X) > X.shape[1] else "full")
        return make_pipeline(StandardScaler(), pca) if self.standardise else make_pipeline(pca)

    def predict_log_mass(self, X: np.ndarray, *, exclude: np.ndarray | None = None) -> MassPrediction:
        """Return log10 mass, and spread and distance of the neighbors, of each query.

        Parameters
        ----------
        X : ndarray
            Features, shape (Q, D).
        exclude : ndarray, optional
            Star whose windows are ignored, for each query, shape (Q,).
        """
        check_is_fitted(self)
        queries = self.whitening_.transform(check_array(X, dtype=np.float64))
        found = nearest(
            self.components_,
            queries,
            k=self.n_neighbors,
            stars=self.stars_,
            one_per_star=self.neighbours == "stars",
            exclude=exclude,
        )
        log_mass = self.log_mass_[found.reference]
        weights = inverse_distance_weights(found.distance)
        value = (weights * log_mass).sum(axis=1)
        spread = np.sqrt((weights * (log_mass - value[:, None]) ** 2).sum(axis=1))
        exists = np.isfinite(found.distance)
        distance = np.where(exists, found.distance, 0).sum(axis=1) / np.maximum(exists.sum(axis=1), 1)
        return MassPrediction(value if self.kernel_ is None else self.kernel_.predict(queries), spread, distance)

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Return masses in solMass, shape (Q,): ten to the power of the predicted log10 mass."""
        return 10 ** self.predict_log_mass(X).value

    def score(self, X: np.ndarray, mass: np.ndarray, sample_weight: np.ndarray | None = None) -> float:
        """Return the R2 of log10 mass (not of mass: the masses span decades)."""
        return r2_score(np.log10(mass), self.predict_log_mass(X).value, sample_weight=sample_weight)
