"""Lines of sight (box axes, given vectors or random directions) and the orientation of the sky in each."""

from __future__ import annotations

from numbers import Integral

import numpy as np
from numpy.typing import ArrayLike

from stellarfm.exceptions import SnapshotError

__all__ = ["axis_frames", "direction_frames"]

_AXES = "xyz"


def axis_frames(axes: str) -> np.ndarray:
    """Return the frames of lines of sight along box axes.

    Parameters
    ----------
    axes : str
        Letters out of ``"xyz"``, each at most once.

    Returns
    -------
    ndarray
        Frames, shape (M, 3, 3): the rows of a frame are the directions of a map's first index, of its second, and of
        the line of sight. The first two are the remaining axes in the order x, y, z.

    Raises
    ------
    SnapshotError
        If `axes` is empty, repeats a letter or contains another one.
    """
    if not (isinstance(axes, str) and axes and set(axes) <= set(_AXES) and len(set(axes)) == len(axes)):
        raise SnapshotError(f"axes {axes!r}; expected letters out of 'xyz', each at most once")
    order = [[k for k in range(3) if k != _AXES.index(axis)] + [_AXES.index(axis)] for axis in axes]
    return np.eye(3)[np.array(order)]


def direction_frames(directions: int | ArrayLike, *, seed: int) -> np.ndarray:
    """Return the frames of lines of sight along any directions, with box z upwards.

    The second index of a map runs along the projection of z on the sky (of y, where the line of sight is z), the first
    such that (first, second, line of sight) is right-handed. Along x and z these are the frames of `axis_frames`; along
    y the first index is reversed, because the convention of the axes is left-handed there.

    Parameters
    ----------
    directions : int or array_like
        Vectors of any length, shape (M, 3); or the number of random directions, uniform on the sphere.
    seed : int
        Seed of the random directions: the first directions of a longer draw are those of a shorter one.

    Returns
    -------
    ndarray
        Frames, shape (M, 3, 3), as in `axis_frames`.

    Raises
    ------
    SnapshotError
        If `directions` are not vectors, or one has length zero.
    """
    vectors = _random(directions, seed) if isinstance(directions, Integral) else _vectors(directions)
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not np.all(length > 0):
        raise SnapshotError(f"direction {int(np.argmin(length))} has length zero; expected unit vectors")
    return np.array([_frame(sight) for sight in vectors / length])


def _random(count: Integral, seed: int) -> np.ndarray:
    if isinstance(count, bool) or count < 1:
        raise SnapshotError(f"{count!r} random directions; expected directions >= 1")
    return np.random.default_rng(seed).normal(size=(int(count), 3))


def _vectors(directions: ArrayLike) -> np.ndarray:
    try:
        vectors = np.asarray(directions, dtype=float)
    except (TypeError, ValueError) as error:
        raise SnapshotError(
            f"directions {directions!r}; expected vectors of shape (M, 3), or a number of random ones"
        ) from error
    if vectors.ndim != 2 or vectors.shape[1] != 3 or not len(vectors) or not np.isfinite(vectors).all():
        raise SnapshotError(f"directions of shape {vectors.shape}; expected finite vectors, shape (M, 3)")
    return vectors


def _frame(sight: np.ndarray) -> np.ndarray:
    """Return the right-handed frame with `sight` last; exact if `sight` is an axis."""
    up = np.eye(3)[2] if np.hypot(*sight[:2]) > 1e-9 else np.eye(3)[1]
    up = up - (up @ sight) * sight
    up /= np.linalg.norm(up)
    return np.array([np.cross(up, sight), up, sight])
