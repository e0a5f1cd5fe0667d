"""Distribution of the patch features of a reference set, and the distance of other patches to it.

The score is a Mahalanobis distance divided by the 99 % quantile of the reference's own: above 1 a patch is farther than
99 % of the reference patches.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from stellarfm.exceptions import ModelError

if TYPE_CHECKING:
    from stellarfm.inference.encoding.embedding import Embedder
    from stellarfm.maps import MapSet

__all__ = ["PatchDistribution"]

#: Quantile of the distances of the reference patches up to which a distance counts as in distribution.
OOD_QUANTILE = 0.99

#: Windows whose patches represent the reference set; 512 of 64 patches each fix 32 components well.
PATCH_WINDOWS = 512


@dataclass(frozen=True)
class PatchDistribution:
    """Gaussian distribution of the patch features of a reference set.

    Its covariance is that of probabilistic PCA (Tipping & Bishop 1999, J. R. Stat. Soc. B 61, 611): free along the
    leading components, one common variance for all other directions.

    Attributes
    ----------
    mean : ndarray
        Mean patch vector, shape (D,).
    components : ndarray
        Orthonormal principal components, shape (P, D).
    variance : ndarray
        Variance along the components, shape (P,).
    noise : float
        Mean variance of the remaining directions.
    threshold : float
        99 % quantile of the reference's own Mahalanobis distances.
    """

    mean: np.ndarray
    components: np.ndarray
    variance: np.ndarray
    noise: float
    threshold: float

    @classmethod
    def from_windows(cls, embedder: Embedder, windows: MapSet, *, seed: int = 0) -> PatchDistribution:
        """Fit to the patches of at most 512 of the `windows`, drawn at random with `seed`."""
        chosen = np.random.default_rng(seed).permutation(len(windows))[:PATCH_WINDOWS]
        patches = embedder.patches(windows[np.sort(chosen)])
        return cls.fit(patches.reshape(-1, patches.shape[-1]))

    @classmethod
    def fit(cls, patches: np.ndarray, *, n_components: int = 32) -> PatchDistribution:
        """Fit to patch vectors of shape (N, D).

        Raises
        ------
        ModelError
            If the patch vectors are all equal.
        """
        from sklearn.decomposition import PCA

        if not np.ptp(patches, axis=0).any():
            raise ModelError("the patch features do not vary: the encoder has collapsed; pretrain it again")
        n_components = max(1, min(n_components, min(patches.shape) - 1))
        pca = PCA(n_components, svd_solver="covariance_eigh").fit(patches.astype(np.float64))
        noise = max(float(pca.noise_variance_), 1e-12 * float(pca.explained_variance_[0]))
        unscaled = cls(pca.mean_, pca.components_, np.maximum(pca.explained_variance_, noise), noise, 1.0)
        threshold = float(np.quantile(unscaled.score(patches), OOD_QUANTILE))
        return cls(unscaled.mean, unscaled.components, unscaled.variance, noise, threshold)

    def score(self, patches: np.ndarray) -> np.ndarray:
        """Return the Mahalanobis distance in units of the threshold of patch vectors (..., D): (...), float32."""
        centered = patches - self.mean
        along = centered @ self.components.T
        remaining = np.maximum((centered**2).sum(axis=-1) - (along**2).sum(axis=-1), 0)
        squared = (along**2 / self.variance).sum(axis=-1) + remaining / self.noise
        return (np.sqrt(squared) / self.threshold).astype(np.float32)
