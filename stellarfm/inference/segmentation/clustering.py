"""Principal components and k-means clusters of patch features, with reproducible signs and order."""

from __future__ import annotations

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.utils.validation import check_is_fitted
from threadpoolctl import threadpool_limits

from stellarfm.exceptions import MapError

__all__ = ["PatchClusters"]


class PatchClusters(BaseEstimator):
    """Clusters of the principal components of patch features (components as colors: arXiv:2510.24159, section 4).

    Signs and order are fixed by the maps, so that images of one region are comparable: the first three components rise
    with log column density, velocity and dispersion; segment 1 is the most diffuse, the last the densest.

    Parameters
    ----------
    n_segments : int
        Number of clusters.
    n_components : int
        Number of components that are clustered; they are not whitened, so that the first ones count most.
    seed : int
        Seed of the starting points of k-means.

    Attributes
    ----------
    pca_ : PCA
        Fitted principal components.
    signs_ : ndarray
        Signs of the components, 1 or -1, shape (n_components,).
    centers_ : ndarray
        Cluster centers, most diffuse first, shape (n_segments, n_components).

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> X = np.repeat([[0.0], [5.0]], 20, axis=0) + rng.normal(size=(40, 6))
    >>> clusters = PatchClusters(n_segments=2).fit(X, tracers=X[:, :3])
    >>> labels, confidence = clusters.assign(clusters.transform(X))
    >>> labels[0], labels[-1]
    (np.int16(1), np.int16(2))
    """

    def __init__(self, *, n_segments: int = 6, n_components: int = 8, seed: int = 0) -> None:
        self.n_segments = n_segments
        self.n_components = n_components
        self.seed = seed

    def fit(self, X: np.ndarray, tracers: np.ndarray) -> PatchClusters:
        """Fit components and clusters.

        Parameters
        ----------
        X : ndarray
            Patch features, shape (N, D).
        tracers : ndarray
            Log column density, velocity and dispersion of the same patches, shape (N, 3).

        Raises
        ------
        MapError
            If there are fewer patches than segments.
        """
        if not 2 <= self.n_segments <= len(X):
            raise MapError(
                f"{self.n_segments} segments of {len(X)} usable patches; expected 2 or more, and fewer than patches"
            )
        self.pca_ = PCA(min(self.n_components, *X.shape), svd_solver="full").fit(X)
        self.signs_ = np.ones(self.pca_.n_components_)
        scores = self.pca_.transform(X)
        for component, tracer in zip(range(len(self.signs_)), tracers.T, strict=False):
            agreement = np.sum((scores[:, component] - scores[:, component].mean()) * (tracer - tracer.mean()))
            self.signs_[component] = -1 if agreement < 0 else 1
        self.centers_ = self._ordered_centers(scores * self.signs_, tracers[:, 0])
        return self

    def _ordered_centers(self, scores: np.ndarray, log_column: np.ndarray) -> np.ndarray:
        """Return the centers of k-means in the order of mean log column density."""
        with threadpool_limits(1):  # sums in one order: the same labels whatever the number of cores
            clusters = KMeans(self.n_segments, n_init=10, random_state=self.seed).fit(scores)
        count = np.bincount(clusters.labels_, minlength=self.n_segments)
        mean = np.bincount(clusters.labels_, log_column, minlength=self.n_segments) / np.maximum(count, 1)
        return clusters.cluster_centers_[np.argsort(mean, kind="stable")]

    def transform(self, X: np.ndarray) -> np.ndarray:
        """Return the components of patch features (..., D), shape (..., n_components)."""
        check_is_fitted(self)
        flat = self.pca_.transform(X.reshape(-1, X.shape[-1])) * self.signs_
        return flat.reshape(*X.shape[:-1], -1)

    def assign(self, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the segments of components (..., n_components).

        Returns
        -------
        labels : ndarray
            Segment numbers, int16, 1 to n_segments.
        confidence : ndarray
            One minus the ratio of the distances to the nearest and the second nearest center, float32; 0 on a border,
            1 in a center.
        """
        distance = np.stack([np.linalg.norm(scores - center, axis=-1) for center in self.centers_], axis=-1)
        nearest, second = np.moveaxis(np.sort(distance, axis=-1)[..., :2], -1, 0)
        ratio = np.divide(nearest, second, out=np.ones_like(nearest), where=second > 0)
        return (distance.argmin(axis=-1) + 1).astype(np.int16), (1 - ratio).astype(np.float32)
