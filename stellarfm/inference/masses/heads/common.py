"""Checks that all heads share."""

from __future__ import annotations

import numpy as np

from stellarfm.exceptions import ModelError

__all__ = ["check_features", "check_reference"]


def check_reference(
    features: np.ndarray, log_mass: np.ndarray, stars: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return features, log masses and stars of a reference set, after checks.

    Raises
    ------
    ModelError
        If lengths differ, a value is not finite, or no feature varies.
    """
    features = check_features(features)
    log_mass = np.asarray(log_mass, dtype=np.float64)
    stars = np.arange(len(features)) if stars is None else np.asarray(stars)
    if log_mass.shape != (len(features),) or stars.shape != log_mass.shape:
        raise ModelError(
            f"{len(features)} feature vectors with masses of shape {log_mass.shape} and stars of shape {stars.shape}; "
            "expected one of each per window"
        )
    if not np.all(np.isfinite(log_mass)):
        raise ModelError("a reference mass is missing or not positive; drop the windows without a mass")
    if not np.ptp(features, axis=0).any():
        raise ModelError(
            f"the features of {len(features)} windows do not vary: a single window, or an encoder that has collapsed"
        )
    return features, log_mass, stars


def check_features(features: np.ndarray, length: int | None = None) -> np.ndarray:
    """Return feature vectors (Q, D) as an array; raise `ModelError` unless they are finite and of this `length`."""
    features = np.asarray(features)
    if features.ndim != 2 or (length is not None and features.shape[1] != length):
        raise ModelError(f"features of shape {features.shape}; expected (windows, {length or 'features'})")
    if not np.all(np.isfinite(features)):
        raise ModelError("a feature is not finite; leave out windows without usable pixels")
    return features
