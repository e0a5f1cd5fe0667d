"""Nearest reference windows, or nearest stars, in a feature space."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.spatial.distance import cdist

__all__ = ["Neighbors", "inverse_distance_weights", "nearest"]

#: Number of queries handled at once; limits the distance matrix to about 40 MB for 10,000 reference windows.
CHUNK = 512


class Neighbors(NamedTuple):
    """Distances and reference rows of the k nearest neighbors of each of Q queries, nearest first, both (Q, k).

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
) -> Neighbors:
    """Return the `k` nearest reference vectors of each query, by exact Euclidean distance.

    Parameters
    ----------
    reference, queries : ndarray
        Vectors, shapes (N, D) and (Q, D).
    k : int
        Number of neighbors.
    stars : ndarray
        Star of each reference vector, shape (N,).
    one_per_star : bool
        Keep only the nearest view of each star, so that many views of one star count once.
    exclude : ndarray, optional
        Star whose views are ignored, for each query, shape (Q,) (its own, for a leave-star-out distance).

    Examples
    --------
    >>> import numpy as np
    >>> found = nearest(np.array([[0.0], [1.0], [2.0]]), np.array([[0.9]]), k=2, stars=np.arange(3))
    >>> found.reference
    array([[1, 0]])
    """
    parts = [slice(start, start + CHUNK) for start in range(0, len(queries), CHUNK)]
    found = [
        _nearest(reference, queries[p], k, stars, one_per_star, None if exclude is None else exclude[p]) for p in parts
    ]
    return Neighbors(np.concatenate([f.distance for f in found]), np.concatenate([f.reference for f in found]))


def _nearest(
    reference: np.ndarray,
    queries: np.ndarray,
    k: int,
    stars: np.ndarray,
    one_per_star: bool,
    exclude: np.ndarray | None,
) -> Neighbors:
    """Return the neighbors of a batch of queries that fits into memory."""
    distance = cdist(queries, reference)
    if exclude is not None:
        distance[exclude[:, None] == stars[None, :]] = np.inf
    if one_per_star:
        distance = _only_nearest_view(distance, stars)
    index = np.argsort(distance, axis=1, kind="stable")[:, : min(k, len(reference))]
    return Neighbors(np.take_along_axis(distance, index, axis=1), index)


def _only_nearest_view(distance: np.ndarray, stars: np.ndarray) -> np.ndarray:
    """Return `distance` (Q, N) with all views of a star except the nearest set to infinity."""
    kept = np.full_like(distance, np.inf)
    rows = np.arange(len(distance))
    for star in np.unique(stars):
        views = np.flatnonzero(stars == star)
        best = views[distance[:, views].argmin(axis=1)]
        kept[rows, best] = distance[rows, best]
    return kept


def inverse_distance_weights(distance: np.ndarray) -> np.ndarray:
    """Return weights 1 / distance that add up to 1 along the last axis; exact matches share all the weight."""
    exact = distance == 0
    with np.errstate(divide="ignore"):
        weights = np.where(exact.any(axis=-1, keepdims=True), exact, 1 / distance)
    return weights / weights.sum(axis=-1, keepdims=True)
