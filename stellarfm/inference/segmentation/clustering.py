"""Colours and segments from patch features: principal components and k-means, in an order that stays."""

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
    """Principal components of patch features, clustered (the components as colours: arXiv:2510.24159, section 4).

    Signs and order are fixed by the maps, so that pictures of one region look alike: the first three components rise
    with log column density, velocity and dispersion; segment 1 is the most diffuse, the last the densest.

    Parameters
    ----------
    n_segments : int
        Clusters.
    n_components : int
        Components that are clustered, not whitened: the first ones count most.
    seed : int
        Of the starting points of k-means.

    Attributes
    ----------
    pca_ : PCA
    signs_ : ndarray
        Shape (n_components,), 1 or -1.
    centres_ : ndarray
        Shape (n_segments, n_components), most diffuse first.
    """

    def __init__(self, *, n_segments: int = 6, n_components: int = 8, seed: int = 0) -> None:
        self.n_segments = n_segments
        self.n_components = n_components
        self.seed = seed

    def fit(self, X: np.ndarray, tracers: np.ndarray) -> PatchClusters:
        """Learn components and clusters.

        Parameters
        ----------
        X : ndarray
            Patch features, shape (N, D).
        tracers : ndarray
            Shape (N, 3): log column density, velocity and dispersion of the same patches.

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
        self.centres_ = self._ordered_centres(scores * self.signs_, tracers[:, 0])
        return self

    def _ordered_centres(self, scores: np.ndarray, log_column: np.ndarray) -> np.ndarray:
        """Centres of k-means by mean log column density."""
        with threadpool_limits(1):  # sums in one order: the same labels whatever the number of cores
            clusters = KMeans(self.n_segments, n_init=10, random_state=self.seed).fit(scores)
        count = np.bincount(clusters.labels_, minlength=self.n_segments)
        mean = np.bincount(clusters.labels_, log_column, minlength=self.n_segments) / np.maximum(count, 1)
        return clusters.cluster_centers_[np.argsort(mean, kind="stable")]

    def transform(self, X: np.ndarray) -> np.ndarray:
        """Components of patch features (..., D): shape (..., n_components)."""
        check_is_fitted(self)
        flat = self.pca_.transform(X.reshape(-1, X.shape[-1])) * self.signs_
        return flat.reshape(*X.shape[:-1], -1)

    def assign(self, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Segments of components (..., n_components).

        Returns
        -------
        labels : ndarray
            int16, 1 to n_segments.
        confidence : ndarray
            float32: 1 minus the ratio of the distances to the nearest and the second nearest centre; 0 on a border, 1
            in a centre.
        """
        distance = np.stack([np.linalg.norm(scores - centre, axis=-1) for centre in self.centres_], axis=-1)
        nearest, second = np.moveaxis(np.sort(distance, axis=-1)[..., :2], -1, 0)
        ratio = np.divide(nearest, second, out=np.ones_like(nearest), where=second > 0)
        return (distance.argmin(axis=-1) + 1).astype(np.int16), (1 - ratio).astype(np.float32)
