"""Mass from extremely randomized trees, evaluated from plain arrays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.sparse import csr_array
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from stellarfm.contracts import MassHead
from stellarfm.inference.masses.heads.common import check_features, check_reference

__all__ = ["ForestHead"]

#: Nodes without children, in `ForestHead.child_`.
LEAF = -1


class ForestHead(BaseEstimator, MassHead):
    """Extremely randomized trees (Geurts, Ernst & Wehenkel 2006) of log mass; every window counts the same.

    The weight of a reference window is the mean over the trees of 1 / n, where n windows are in the leaf that it shares
    with the query, and 0 where it shares none (quantile regression forests, Meinshausen 2006). The trees are kept as
    arrays, whose evaluation gives the leaves of `sklearn.ensemble.ExtraTreesRegressor.apply`.

    Parameters
    ----------
    n_trees : int
        Number of trees.
    min_samples_leaf : int
        Smallest number of windows in a leaf.
    max_features : float
        Fraction of the features considered at a split.
    seed : int
        Seed of the random splits.

    Attributes
    ----------
    root_ : ndarray
        First node of each tree, shape (n_trees,).
    child_ : ndarray
        Next nodes of each node, left and right, shape (M, 2); -1 for a leaf.
    feature_, threshold_ : ndarray
        Split of each node: left if ``features[feature] <= threshold``, shape (M,).
    value_ : ndarray
        Mean log mass of the reference windows in each node, shape (M,).
    leaf_ : ndarray
        Leaf of each reference window in each tree, shape (N, n_trees).

    Examples
    --------
    >>> import numpy as np
    >>> x = np.linspace(0, 1, 200)[:, None]
    >>> ForestHead(n_trees=20).fit(x, 2 * x[:, 0]).predict(np.array([[0.5]])).round(1)
    array([1.])
    """

    def __init__(
        self, *, n_trees: int = 100, min_samples_leaf: int = 5, max_features: float = 0.33, seed: int = 0
    ) -> None:
        self.n_trees = n_trees
        self.min_samples_leaf = min_samples_leaf
        self.max_features = max_features
        self.seed = seed

    def fit(
        self,
        features: np.ndarray,
        log_mass: np.ndarray,
        *,
        stars: np.ndarray | None = None,
        blocks: Sequence[int] | None = None,
    ) -> ForestHead:
        """Grow the trees; `stars` and `blocks` are not needed. See `stellarfm.contracts.MassHead.fit`."""
        from sklearn.ensemble import ExtraTreesRegressor

        features, log_mass, _ = check_reference(features, log_mass, stars)
        forest = ExtraTreesRegressor(
            self.n_trees,
            min_samples_leaf=self.min_samples_leaf,
            max_features=self.max_features,
            random_state=self.seed,
        ).fit(features.astype(np.float32), log_mass)
        trees = [estimator.tree_ for estimator in forest.estimators_]
        sizes = np.array([tree.node_count for tree in trees])
        self.n_features_in_ = features.shape[1]
        self.root_ = (np.cumsum(sizes) - sizes).astype(np.int32)
        pairs = [np.stack([tree.children_left, tree.children_right], axis=1) for tree in trees]
        self.child_ = np.concatenate(
            [np.where(pair < 0, LEAF, pair + root) for pair, root in zip(pairs, self.root_, strict=True)]
        ).astype(np.int32)
        self.feature_ = np.maximum(np.concatenate([tree.feature for tree in trees]), 0).astype(np.int32)
        self.threshold_ = np.concatenate([tree.threshold for tree in trees])
        self.value_ = np.concatenate([tree.value[:, 0, 0] for tree in trees])
        self.leaf_ = self.apply(features)
        return self

    def apply(self, features: np.ndarray) -> np.ndarray:
        """Return the leaf of each feature vector in each tree, shape (Q, n_trees), int32."""
        features = check_features(features, self.n_features_in_).astype(np.float32)
        node = np.broadcast_to(self.root_, (len(features), len(self.root_))).copy()
        row, tree = np.nonzero(self.child_[node, 0] != LEAF)
        while len(row):
            here = node[row, tree]
            right = features[row, self.feature_[here]] > self.threshold_[here]
            here = self.child_[here, right.astype(np.intp)]
            node[row, tree] = here
            inner = self.child_[here, 0] != LEAF
            row, tree = row[inner], tree[inner]
        return node

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Return predicted log10 masses, shape (Q,)."""
        check_is_fitted(self)
        return self.value_[self.apply(features)].mean(axis=1)

    def weights(self, features: np.ndarray) -> np.ndarray:
        """Return the weights of the reference windows, shape (Q, N)."""
        check_is_fitted(self)
        reference, queries = self._membership(self.leaf_), self._membership(self.apply(features))
        share = 1 / np.maximum(reference.sum(axis=0), 1) / len(self.root_)
        return np.asarray((queries @ (reference * share).T.tocsr()).todense())

    def _membership(self, leaf: np.ndarray) -> csr_array:
        """Return a sparse matrix (windows, M) of ones at the leaves (windows, n_trees)."""
        rows, n_trees = leaf.shape
        bounds = np.arange(0, rows * n_trees + 1, n_trees)
        return csr_array((np.ones(leaf.size), leaf.ravel(), bounds), shape=(rows, len(self.value_)))

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return nodes and leaves; thresholds and values keep their precision, so that predictions are the same."""
        check_is_fitted(self)
        names = ("root", "child", "feature", "threshold", "value", "leaf")
        return {**{name: getattr(self, f"{name}_") for name in names}, "length": np.array([self.n_features_in_])}

    def from_arrays(self, arrays: dict[str, np.ndarray]) -> ForestHead:
        """Set the fitted state from `to_arrays` and return self."""
        for name in ("root", "child", "feature", "threshold", "value", "leaf"):
            setattr(self, f"{name}_", arrays[name])
        self.n_features_in_ = int(arrays["length"][0])
        return self
