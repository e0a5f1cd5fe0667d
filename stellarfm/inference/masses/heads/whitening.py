"""Whitened principal components of feature vectors, as one matrix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stellarfm.exceptions import ModelError

__all__ = ["Whitening"]

#: Components whose variance is below this fraction of the first one's are rounding noise; whitening would blow it up.
RELATIVE_VARIANCE_FLOOR = 1e-8


@dataclass(frozen=True)
class Whitening:
    """Linear map from feature vectors (Q, D) to whitened components (Q, P).

    Parameters
    ----------
    center : ndarray
        Mean feature vector, shape (D,).
    matrix : ndarray
        Matrix of shape (D, P).
    """

    center: np.ndarray
    matrix: np.ndarray

    @classmethod
    def fit(
        cls,
        features: np.ndarray,
        *,
        n_components: int | None = None,
        standardize: bool = False,
        blocks: Sequence[int] | None = None,
        block_weights: Sequence[float] | None = None,
    ) -> Whitening:
        """Fit to N feature vectors; both solvers of the principal components are exact.

        Parameters
        ----------
        features : ndarray
            Feature vectors, shape (N, D).
        n_components : int, optional
            Largest number of components of each block; by default all that have variance.
        standardize : bool
            Scale every feature to unit variance first.
        blocks : sequence of int, optional
            Lengths of the parts of a feature vector. Parts are whitened separately and have equal total variance, so
            that none dominates by its length or units. By default one part.
        block_weights : sequence of float, optional
            Factor of each part in a distance; by default 1.

        Raises
        ------
        ModelError
            If the lengths of the blocks, or the number of their weights, do not fit.
        """
        lengths = list(blocks or [features.shape[1]])
        weights = list(block_weights or [1.0] * len(lengths))
        if sum(lengths) != features.shape[1] or len(weights) != len(lengths):
            raise ModelError(
                f"feature vectors of length {features.shape[1]} do not consist of {len(weights)} blocks of {lengths}"
            )
        features = features.astype(np.float64)
        columns, end = [], 0
        for length, weight in zip(lengths, weights, strict=True):
            part = slice(end, end := end + length)
            block = _block_matrix(features[:, part], n_components, standardize)
            placed = np.zeros((features.shape[1], block.shape[1]))
            placed[part] = block * (weight / np.sqrt(block.shape[1]) if len(lengths) > 1 else 1.0)
            columns.append(placed)
        return cls(features.mean(axis=0), np.concatenate(columns, axis=1))

    def transform(self, features: np.ndarray) -> np.ndarray:
        """Return the whitened components, shape (Q, P), float64."""
        return (features.astype(np.float64) - self.center) @ self.matrix


def _block_matrix(features: np.ndarray, n_components: int | None, standardize: bool) -> np.ndarray:
    """Return the matrix from centered features (N, D) to whitened components, without those of no variance."""
    from sklearn.decomposition import PCA

    scale = features.std(axis=0) if standardize else np.ones(features.shape[1])
    scale[scale == 0] = 1
    most = min(n_components or features.shape[1], features.shape[1], max(1, len(features) - 1))
    solver = "covariance_eigh" if len(features) > features.shape[1] else "full"
    pca = PCA(most, svd_solver=solver).fit(features / scale)
    variance = pca.explained_variance_
    kept = max(1, int(np.sum(variance > RELATIVE_VARIANCE_FLOOR * variance[0])))
    norm = np.sqrt(np.maximum(variance[:kept], np.finfo(float).tiny))
    return (pca.components_[:kept].T / norm) / scale[:, None]
