"""MapScaler: the conversion of maps with units to plain arrays for an encoder; no other module does it."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from stellarfm.exceptions import MapError, ModelError
from stellarfm.maps.map_set import MapSet

__all__ = ["MapScaler"]

REFERENCES = ("set", "window")
CHANNELS = ("log column density", "velocity", "log velocity dispersion")

#: Largest number of pixels that quantiles are computed from; 2e6 give them to 1e-3 of the scale.
_SAMPLE = 2_000_000


class MapScaler:
    """Scaler of windows to three channels of order one: log10 N_H, velocity, log10 dispersion.

    Each channel is ``(value - center) / scale``, clipped; a missing pixel becomes 0. Velocity is always relative to the
    column-weighted mean of its window, which an observer can compute too. The center of the other two channels is the
    median of the fitted set, or of the window itself, which hides the overall column density of a cloud. The scale is
    half the central 68 % range of the fitted set.

    Parameters
    ----------
    column_reference, dispersion_reference : {"set", "window"}
        Source of the center of log10 N_H and of log10 dispersion.
    clip : float
        Largest absolute value of the output.

    Attributes
    ----------
    center_, scale_ : ndarray
        Fitted centers and scales, shape (3,), in dex, km/s, dex; the center of a window-referenced channel is 0.

    Examples
    --------
    >>> from stellarfm.data import EXAMPLE_FIELD
    >>> from stellarfm.maps import GasMaps, MapScaler, tiles
    >>> windows, _ = tiles(GasMaps.read(EXAMPLE_FIELD), pixels=64, stride=64)
    >>> MapScaler().fit(windows).transform(windows).shape
    (49, 3, 64, 64)
    """

    def __init__(self, *, column_reference: str = "set", dispersion_reference: str = "set", clip: float = 5.0) -> None:
        self.column_reference = column_reference
        self.dispersion_reference = dispersion_reference
        self.clip = clip

    def fit(self, mapset: MapSet) -> MapScaler:
        """Fit centers and scales to a map set.

        Parameters
        ----------
        mapset : MapSet
            Windows to fit to.

        Returns
        -------
        MapScaler
            The scaler itself.

        Raises
        ------
        MapError
            If a channel has no valid pixel, or an option is unknown.
        """
        self._check_options()
        channels = self._referenced(mapset)
        quantiles = np.array([_quantiles(values, name) for values, name in zip(channels, CHANNELS, strict=True)])
        self.center_ = np.where(self._by_window, 0.0, quantiles[:, 1])
        spread = (quantiles[:, 2] - quantiles[:, 0]) / 2
        self.scale_ = np.where(spread > 0, spread, 1.0)
        return self

    def transform(self, mapset: MapSet) -> np.ndarray:
        """Scale the windows of a map set.

        Parameters
        ----------
        mapset : MapSet
            N windows.

        Returns
        -------
        ndarray
            Channels, float32 without NaN, shape (N, 3, ny, nx).

        Raises
        ------
        ModelError
            If the scaler is not fitted.
        """
        if not hasattr(self, "scale_"):
            raise ModelError("the scaler is not fitted; call fit first")
        n, ny, nx = mapset.column_density.shape
        tensor = np.empty((n, 3, ny, nx), dtype=np.float32)
        for channel, values in enumerate(self._referenced(mapset)):
            scaled = (values - np.float32(self.center_[channel])) / np.float32(self.scale_[channel])
            tensor[:, channel] = np.clip(np.nan_to_num(scaled, nan=0.0), -self.clip, self.clip)
        return tensor

    @property
    def _by_window(self) -> np.ndarray:
        return np.array([self.column_reference == "window", True, self.dispersion_reference == "window"])

    def _check_options(self) -> None:
        for name in ("column_reference", "dispersion_reference"):
            if getattr(self, name) not in REFERENCES:
                raise MapError(f"{name} is {getattr(self, name)!r}; expected one of {', '.join(REFERENCES)}")
        if not self.clip > 0:
            raise MapError(f"clip is {self.clip}; expected a positive number")

    def _referenced(self, mapset: MapSet) -> list[np.ndarray]:
        """Return the channels in physical units, minus the reference of the window, if any; NaN where missing."""
        column, dispersion = _log10(mapset.column_density.value), _log10(mapset.velocity_dispersion.value)
        return [
            column - _window_median(column) if self.column_reference == "window" else column,
            mapset.velocity.value - _mean_velocity(mapset),
            dispersion - _window_median(dispersion) if self.dispersion_reference == "window" else dispersion,
        ]

    def to_config(self) -> dict[str, Any]:
        """Return options and fitted values as plain JSON types."""
        return {
            "column_reference": self.column_reference,
            "dispersion_reference": self.dispersion_reference,
            "clip": self.clip,
            "centre": [float(value) for value in self.center_],
            "scale": [float(value) for value in self.scale_],
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> MapScaler:
        """Build a scaler from the dictionary of `to_config`.

        Parameters
        ----------
        config : dict
            Options and fitted values; the key of the centers is spelled ``"centre"``.

        Raises
        ------
        ModelError
            If an entry is missing or invalid.
        """
        try:
            options = {name: config[name] for name in ("column_reference", "dispersion_reference")}
            scaler = cls(**options, clip=float(config["clip"]))
            scaler.center_ = np.array(config["centre"], dtype=float)
            scaler.scale_ = np.array(config["scale"], dtype=float)
            scaler._check_options()
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(
                f"the configuration of the scaler is incomplete or invalid ({error}); fit the model again"
            ) from error
        fitted = np.concatenate([scaler.center_.ravel(), scaler.scale_.ravel()])
        shapes_fit = scaler.center_.shape == scaler.scale_.shape == (3,)
        if not (shapes_fit and np.isfinite(fitted).all() and np.all(scaler.scale_ > 0)):
            raise ModelError("the configuration of the scaler needs three finite centers and three positive scales")
        return scaler


def _log10(values: np.ndarray) -> np.ndarray:
    """Return the decimal logarithm in float32; NaN for values that are not positive."""
    positive = np.where(values > 0, values, np.nan)
    return np.log10(positive, dtype=np.float32, casting="same_kind")


def _mean_velocity(mapset: MapSet) -> np.ndarray:
    """Return the column-weighted mean velocity of each window, km/s, shape (N, 1, 1); NaN for an empty window."""
    column, velocity = mapset.column_density.value, mapset.velocity.value
    weight = np.where(np.isfinite(velocity) & (column > 0), column, 0)
    total = weight.sum(axis=(1, 2), keepdims=True, dtype=float)
    flux = (weight * np.nan_to_num(velocity)).sum(axis=(1, 2), keepdims=True, dtype=float)
    mean = np.divide(flux, total, out=np.full_like(total, np.nan), where=total > 0)
    return mean.astype(np.float32)


def _window_median(values: np.ndarray) -> np.ndarray:
    """Return the median of the valid pixels of each window, shape (N, 1, 1)."""
    flat = values.reshape(len(values), values.shape[1] * values.shape[2])
    if not np.isnan(flat).any():
        return np.median(flat, axis=1)[:, None, None]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="All-NaN slice encountered")
        return np.nanmedian(flat, axis=1)[:, None, None]


def _quantiles(values: np.ndarray, name: str) -> np.ndarray:
    """Return the 16th, 50th and 84th percentile of the valid pixels."""
    valid = values[np.isfinite(values)]
    if not valid.size:
        raise MapError(f"no valid pixel of {name} in {len(values)} windows; the scaler needs at least one")
    return np.percentile(valid[:: max(1, valid.size // _SAMPLE)], [15.865, 50, 84.135])
