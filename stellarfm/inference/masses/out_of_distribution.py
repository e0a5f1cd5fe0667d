"""Threshold of the distance to the reference set above which a window is out of distribution.

The score of a window is its distance divided by the 99 % quantile of the reference set's own leave-star-out distances:
below 1 a window is as near as the reference set is to itself, above 1 farther than 99 % of it. Every star has weight
one.
"""

from __future__ import annotations

import numpy as np

from stellarfm.inference.masses.conformal import star_weights, weighted_quantile

__all__ = ["OOD_QUANTILE", "ood_threshold"]

#: Quantile of the reference set's own distances up to which a distance counts as in distribution.
OOD_QUANTILE = 0.99


def ood_threshold(distance: np.ndarray, stars: np.ndarray) -> float:
    """Return the 99 % quantile of the leave-star-out distances (N,) of a reference set, each star of weight one."""
    return weighted_quantile(distance, star_weights(stars), OOD_QUANTILE)
