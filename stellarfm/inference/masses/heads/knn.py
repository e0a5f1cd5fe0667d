"""Mass from the nearest reference windows in a whitened space: the head of arXiv:2510.24159."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from stellarfm.contracts import MassHead
from stellarfm.exceptions import ModelError
from stellarfm.inference.masses.heads.common import check_features, check_reference
from stellarfm.inference.masses.heads.neighbors import inverse_distance_weights, nearest
from stellarfm.inference.masses.heads.whitening import Whitening

__all__ = ["KNNHead"]


class KNNHead(BaseEstimator, MassHead):
    """Mean log mass of the nearest reference windows, weighted by inverse distance in a whitened space.

    The defaults are those of the paper: all principal components, five neighbors, one vote per window. For stars that
    the reference set does not contain, fewer components and more votes, one per star, predict better.

    Parameters
    ----------
    n_components : int or None
        Largest number of principal components of each block; None keeps all that have variance.
    n_neighbors : int
        Number of neighbors.
    vote_by : {"window", "star"}
        ``"window"`` lets each window vote, so that one star may have all votes; ``"star"`` lets each star vote once,
        with its nearest window.
    standardize : bool
        Scale every feature to unit variance before the principal components.
    block_weights : sequence of float or None
        Factor of each block in a distance; None is 1.

    Attributes
    ----------
    whitening_ : Whitening
        Map from features to components.
    components_ : ndarray
        Components of the reference windows, shape (N, P).
    log_mass_ : ndarray
        log10 masses of the reference windows, shape (N,).
    star_ : ndarray
        Number of the star of each window, shape (N,).

    Examples
    --------
    >>> import numpy as np
    >>> x = np.linspace(0, 1, 50)[:, None]
    >>> KNNHead(n_neighbors=3).fit(x, 2 * x[:, 0]).predict(np.array([[0.5]])).round(1)
    array([1.])
    """

    def __init__(
        self,
        *,
        n_components: int | None = None,
        n_neighbors: int = 5,
        vote_by: str = "window",
        standardize: bool = False,
        block_weights: Sequence[float] | None = None,
    ) -> None:
        self.n_components = n_components
        self.n_neighbors = n_neighbors
        self.vote_by = vote_by
        self.standardize = standardize
        self.block_weights = block_weights

    def fit(
        self,
        features: np.ndarray,
        log_mass: np.ndarray,
        *,
        stars: np.ndarray | None = None,
        blocks: Sequence[int] | None = None,
    ) -> KNNHead:
        """Remember the reference windows; see `stellarfm.contracts.MassHead.fit`."""
        if self.vote_by not in ("window", "star"):
            raise ModelError(f"unknown vote_by {self.vote_by!r}; choose 'window' or 'star'")
        features, self.log_mass_, stars = check_reference(features, log_mass, stars)
        self.star_ = np.unique(stars, return_inverse=True)[1].astype(np.int32)
        self.whitening_ = Whitening.fit(
            features,
            n_components=self.n_components,
            standardize=self.standardize,
            blocks=blocks,
            block_weights=self.block_weights,
        )
        self.components_ = self.whitening_.transform(features)
        return self

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Return predicted log10 masses, shape (Q,)."""
        index, weights = self._votes(features)
        return (weights * self.log_mass_[index]).sum(axis=1)

    def weights(self, features: np.ndarray) -> np.ndarray:
        """Return the weights of the reference windows, shape (Q, N)."""
        index, votes = self._votes(features)
        weights = np.zeros((len(index), len(self.log_mass_)))
        np.put_along_axis(weights, index, votes, axis=1)
        return weights

    def _votes(self, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return rows of the neighbors and their weights, each of shape (Q, k)."""
        check_is_fitted(self)
        queries = self.whitening_.transform(check_features(features, len(self.whitening_.center)))
        found = nearest(
            self.components_,
            queries,
            k=self.n_neighbors,
            stars=self.star_,
            one_per_star=self.vote_by == "star",
        )
        return found.reference, inverse_distance_weights(found.distance)

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return center and matrix of the whitening, and components, log masses and stars of the reference."""
        check_is_fitted(self)
        return {
            "center": self.whitening_.center,
            "matrix": self.whitening_.matrix,
            "components": self.components_,
            "log_mass": self.log_mass_,
            "star": self.star_,
        }

    def from_arrays(self, arrays: dict[str, np.ndarray]) -> KNNHead:
        """Set the fitted state from `to_arrays` and return self."""
        self.whitening_ = Whitening(arrays["center"], arrays["matrix"])
        self.components_, self.log_mass_, self.star_ = arrays["components"], arrays["log_mass"], arrays["star"]
        return self
