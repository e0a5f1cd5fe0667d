"""How unlike the reference set an input is: of whole windows, and of single patches.

Both scores are a distance divided by the 99 % quantile of the reference's own distances: below 1 an input is as near
as the reference set is to itself, above 1 farther than 99 % of it. Every star has weight one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.decomposition import PCA

from stellarfm.exceptions import ModelError
from stellarfm.inference.masses.conformal import star_weights

__all__ = ["PatchDistribution", "weighted_quantile"]

#: The reference's own distances up to this quantile count as familiar.
OOD_QUANTILE = 0.99


def weighted_quantile(values: np.ndarray, weights: np.ndarray, level: float) -> float:
    """Smallest value up to which the weights add to `level` of their sum."""
    order = np.argsort(values, kind="stable")
    total = np.cumsum(weights[order])
    return float(values[order][np.searchsorted(total, level * total[-1])])


def ood_threshold(distance: np.ndarray, stars: np.ndarray) -> float:
    """99 % quantile of the leave-star-out distances (N,) of a reference set, each star of weight one."""
    return weighted_quantile(distance, star_weights(stars), OOD_QUANTILE)


@dataclass(frozen=True)
class PatchDistribution:
    """The patches of a reference set as a Gaussian.

    Its covariance is that of probabilistic PCA (Tipping & Bishop 1999, J. R. Stat. Soc. B 61, 611): free along the
    leading components, one variance for all directions beside them.

    Attributes
    ----------
    mean : ndarray
        Shape (D,).
    components : ndarray
        Shape (P, D), orthonormal.
    variance : ndarray
        Shape (P,), along the components.
    noise : float
        Mean variance of the directions left out.
    threshold : float
        99 % quantile of the reference's own Mahalanobis distances.
    """

    mean: np.ndarray
    components: np.ndarray
    variance: np.ndarray
    noise: float
    threshold: float

    @classmethod
    def fit(cls, patches: np.ndarray, *, n_components: int = 32) -> PatchDistribution:
        """Summarise patch vectors of shape (N, D)."""
        if not np.ptp(patches, axis=0).any():
            raise ModelError("the patch features do not vary: the encoder has collapsed; train it anew")
        n_components = max(1, min(n_components, min(patches.shape) - 1))
        pca = PCA(n_components, svd_solver="covariance_eigh").fit(patches.astype(np.float64))
        noise = max(float(pca.noise_variance_), 1e-12 * float(pca.explained_variance_[0]))
        plain = cls(pca.mean_, pca.components_, np.maximum(pca.explained_variance_, noise), noise, 1.0)
        threshold = float(np.quantile(plain.score(patches), OOD_QUANTILE))
        return cls(plain.mean, plain.components, plain.variance, noise, threshold)

    def score(self, patches: np.ndarray) -> np.ndarray:
        """Mahalanobis distance in units of the threshold, for patch vectors (..., D): shape (...), float32."""
        centred = patches - self.mean
        along = centred @ self.components.T
        beside = np.maximum((centred**2).sum(axis=-1) - (along**2).sum(axis=-1), 0)
        squared = (along**2 / self.variance).sum(axis=-1) + beside / self.noise
        return (np.sqrt(squared) / self.threshold).astype(np.float32)
