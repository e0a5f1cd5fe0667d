"""Nearest windows, or nearest stars, in a feature space."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.spatial.distance import cdist

__all__ = ["Neighbours", "inverse_distance_weights", "nearest"]

#: Queries handled at once: bounds the distance matrix to about 40 MB for 10,000 reference windows.
CHUNK = 512


class Neighbours(NamedTuple):
    """The k nearest of each of Q queries, nearest first: distances and rows of the reference, both (Q, k).

    Where fewer than k exist the distance is infinite.
    """

    distance: np.ndarray
    reference: np.ndarray


def nearest(
    reference: np.ndarray,
    queries: np.ndarray,
    *,
    k: int,
    stars: np.ndarray,
    one_per_star: bool = False,
    exclude: np.ndarray | None = None,
) -> Neighbours:
    """The `k` nearest reference vectors of each query, by exact Euclidean distance.

    Parameters
    ----------
    reference, queries : ndarray
        Shapes (N, D) and (Q, D).
    k : int
        Neighbours wanted.
    stars : ndarray
        Shape (N,): the star of each reference vector.
    one_per_star : bool
        Let each star stand with its nearest view only, so that many views of one star count once.
    exclude : ndarray, optional
        Shape (Q,): a star whose views a query must not see (its own, for a leave-star-out distance).
    """
    parts = [slice(start, start + CHUNK) for start in range(0, len(queries), CHUNK)]
    found = [
        _nearest(reference, queries[p], k, stars, one_per_star, None if exclude is None else exclude[p]) for p in parts
    ]
    return Neighbours(np.concatenate([f.distance for f in found]), np.concatenate([f.reference for f in found]))


def _nearest(
    reference: np.ndarray,
    queries: np.ndarray,
    k: int,
    stars: np.ndarray,
    one_per_star: bool,
    exclude: np.ndarray | None,
) -> Neighbours:
    """`nearest` for a piece that fits into memory."""
    distance = cdist(queries, reference)
    if exclude is not None:
        distance[exclude[:, None] == stars[None, :]] = np.inf
    if one_per_star:
        distance = _only_nearest_view(distance, stars)
    index = np.argsort(distance, axis=1, kind="stable")[:, : min(k, len(reference))]
    return Neighbours(np.take_along_axis(distance, index, axis=1), index)


def _only_nearest_view(distance: np.ndarray, stars: np.ndarray) -> np.ndarray:
    """`distance` (Q, N) with all views of a star but its nearest put to infinity."""
    kept = np.full_like(distance, np.inf)
    rows = np.arange(len(distance))
    for star in np.unique(stars):
        views = np.flatnonzero(stars == star)
        best = views[distance[:, views].argmin(axis=1)]
        kept[rows, best] = distance[rows, best]
    return kept


def inverse_distance_weights(distance: np.ndarray) -> np.ndarray:
    """Weights 1 / distance that add up to 1 along the last axis; exact matches share all the weight."""
    exact = distance == 0
    with np.errstate(divide="ignore"):
        weights = np.where(exact.any(axis=-1, keepdims=True), exact, 1 / distance)
    return weights / weights.sum(axis=-1, keepdims=True)
