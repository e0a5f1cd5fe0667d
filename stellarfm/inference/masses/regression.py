"""Mass from features: principal components, whitened, and the nearest neighbours of known mass."""

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

#: Components whose variance is below this fraction of the first one's are rounding noise; whitening would blow it up.
RELATIVE_VARIANCE_FLOOR = 1e-8

#: Support-vector regression: strength, tolerance [dex], and the kernel's width in units of the space's total variance.
KERNEL_C, KERNEL_EPSILON, KERNEL_GAMMA = 0.3, 0.1, 0.3


class MassPrediction(NamedTuple):
    """What the reference set says of each query, arrays of shape (Q,).

    `value` is the predicted log10 mass [solMass], `spread` the weighted standard deviation of the neighbours' [dex],
    and `distance` the mean distance to them in the whitened space.
    """

    value: np.ndarray
    spread: np.ndarray
    distance: np.ndarray


class MassRegressor(RegressorMixin, BaseEstimator):
    """Log10 mass from whitened principal components, by default of the nearest neighbours (arXiv:2510.24159).

    The paper keeps all components and asks the five nearest windows: ``n_components=None, n_neighbors=5,
    neighbours="windows"``. It was tested on other windows of the same stars; for stars never seen, fewer components and
    more votes, one a star, are better, as ``stellarfm benchmark`` shows.

    Parameters
    ----------
    n_components : int or None
        Most components kept; None keeps all that have variance, as the paper does. Never more than the windows allow.
    n_neighbors : int
        Neighbours that vote, weighted by inverse distance.
    neighbours : {"windows", "stars"}
        ``"windows"`` is the paper's: each reference window votes, so that a star seen at many times and from three
        sides may hold all the votes. ``"stars"`` lets each star vote once, with its nearest window.
    standardise : bool
        Bring every feature to unit variance before the components are sought.
    blocks : tuple of int or None
        Lengths of the parts of a concatenated readout (`Readout.lengths`). Each part is whitened on its own, with
        `n_components` components of its own and all parts of equal total variance, so that none wins by its length
        or its units. None is one part.
    block_weights : tuple of float or None
        What each part counts in a distance; None is one each.
    head : {"neighbours", "kernel"}
        ``"neighbours"`` is the paper's weighted mean over the nearest. Where heavy stars are few it draws every mass to
        the mean; ``"kernel"`` is a support-vector regression with a Gaussian kernel in the same whitened space, which
        follows a trend. Spread and distance come from the neighbours with either.

    Attributes
    ----------
    whitening_ : ColumnTransformer
        From features to whitened components.
    components_ : ndarray
        Shape (N, n_components): the reference in that space.
    log_mass_ : ndarray
        Shape (N,), log10 of solMass.
    stars_ : ndarray
        Shape (N,): the star of each reference window.
    kernel_ : SVR or None
        The fitted head, if it is a kernel.
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
        """Remember the reference windows.

        Parameters
        ----------
        X : ndarray
            Features, shape (N, D).
        mass : ndarray
            Shape (N,), in solMass, positive. All of one label kind.
        stars : ndarray, optional
            Shape (N,): the star of each window; without it every window is a star of its own.

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
        self.kernel_ = self._fitted_kernel() if self.head == "kernel" else None
        self.n_features_in_ = X.shape[1]
        return self

    def _fitted_kernel(self) -> SVR:
        """Support-vector regression of log10 mass on the whitened components."""
        width = KERNEL_GAMMA / self.components_.var(axis=0).sum()
        return SVR(kernel="rbf", C=KERNEL_C, gamma=width, epsilon=KERNEL_EPSILON).fit(self.components_, self.log_mass_)

    def _checked(self, n: int, mass: np.ndarray, stars: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Masses and stars of `n` windows, after checks."""
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
        """From features to whitened components, block by block."""
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
        """The unfitted whitening of a block, without components of no variance."""
        n_components = min(self.n_components or X.shape[1], X.shape[1], max(1, len(X) - 1))
        variance = self._whitening(X, n_components).fit(X)[-1].explained_variance_
        return self._whitening(X, max(1, int(np.sum(variance > RELATIVE_VARIANCE_FLOOR * variance[0]))))

    def _whitening(self, X: np.ndarray, n_components: int) -> Pipeline:
        """The unfitted steps; both solvers are exact, so that a fit can be repeated when a model is loaded."""
        pca = PCA(n_components, whiten=True, svd_solver="covariance_eigh" if len(X) > X.shape[1] else "full")
        return make_pipeline(StandardScaler(), pca) if self.standardise else make_pipeline(pca)

    def predict_log_mass(self, X: np.ndarray, *, exclude: np.ndarray | None = None) -> MassPrediction:
        """Log10 mass, spread and distance of the neighbours of each query.

        Parameters
        ----------
        X : ndarray
            Features, shape (Q, D).
        exclude : ndarray, optional
            Shape (Q,): a star whose windows must not vote.
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
        votes = self.log_mass_[found.reference]
        weights = inverse_distance_weights(found.distance)
        value = (weights * votes).sum(axis=1)
        spread = np.sqrt((weights * (votes - value[:, None]) ** 2).sum(axis=1))
        there = np.isfinite(found.distance)
        distance = np.where(there, found.distance, 0).sum(axis=1) / np.maximum(there.sum(axis=1), 1)
        return MassPrediction(value if self.kernel_ is None else self.kernel_.predict(queries), spread, distance)

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Masses in solMass, shape (Q,): ten to the power of the predicted log10 mass."""
        return 10 ** self.predict_log_mass(X).value

    def score(self, X: np.ndarray, mass: np.ndarray, sample_weight: np.ndarray | None = None) -> float:
        """R2 of log10 mass (not of mass: the masses span decades)."""
        return r2_score(np.log10(mass), self.predict_log_mass(X).value, sample_weight=sample_weight)
