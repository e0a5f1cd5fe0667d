"""Windows to features: a frozen encoder with the scaler before it and the readout behind it."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from astropy import units as u

from stellarfm.exceptions import ModelError
from stellarfm.inference.encoding.features import STATISTICS, Readout, extract_patches
from stellarfm.inference.encoding.frozen_encoder import FrozenEncoder
from stellarfm.inference.encoding.statistics import window_statistics
from stellarfm.maps import MapScaler, MapSet

if TYPE_CHECKING:
    from stellarfm.contracts import Encoder

__all__ = ["Embedder"]

#: Largest relative difference between the pixel scale of windows and that of the model.
SCALE_TOLERANCE = 0.02


@dataclass(frozen=True, eq=False)
class Embedder:
    """Frozen encoder, scaler and readout, which turn windows of one size and scale into feature vectors.

    Parameters
    ----------
    encoder : FrozenEncoder or None
        Frozen encoder with its name, options and training record; None if the readout needs none.
    scaler : MapScaler
        Scaler from maps with units to encoder input.
    readout : Readout
        Pooling of encoder output into one vector per window.
    pixels : int
        Side of a window in pixels.
    pixel_scale : Quantity
        Side of a pixel, pc.

    Examples
    --------
    >>> from astropy import units as u
    >>> from stellarfm.encoders.resnet import ResNet18
    >>> encoder = FrozenEncoder("resnet18", {}, ResNet18())
    >>> embedder = Embedder(encoder, MapScaler(), Readout(pooling="class"), pixels=64, pixel_scale=0.01 * u.pc)
    >>> embedder.block_lengths
    (512,)
    """

    encoder: FrozenEncoder | None
    scaler: MapScaler
    readout: Readout
    pixels: int
    pixel_scale: u.Quantity

    @property
    def patch_size(self) -> int:
        """Side of an encoder patch in pixels."""
        return self._module.patch_size

    @property
    def _module(self) -> Encoder:
        """The encoder itself; raises `ModelError` if there is none."""
        if self.encoder is None:
            raise ModelError("this model has no encoder, so no patch features to segment; fit one with an encoder")
        return self.encoder.module

    @property
    def block_lengths(self) -> tuple[int, ...]:
        """Lengths of the parts of a feature vector, one for each pooling of the readout."""
        needed = self.encoder is not None and self.readout.needs_images
        return self.readout.lengths(self._module if needed else None, side=self.pixels)

    def fit(self, windows: MapSet) -> Embedder:
        """Return an embedder whose scaler is fitted to `windows`; encoder and readout have nothing to fit."""
        if not self.readout.needs_images and self.encoder is None:
            return self
        return replace(self, scaler=copy(self.scaler).fit(windows))

    def features(self, windows: MapSet) -> np.ndarray:
        """Return feature vectors of windows, shape (N, D), float32.

        Raises
        ------
        ModelError
            If the windows have another size or scale than the model, or the scaler is not fitted.
        """
        self.check_windows(windows)
        if not self.readout.needs_images:
            return window_statistics(windows)
        if self.encoder is None:
            raise ModelError(
                f"readout {' + '.join(self.readout.pooling)} needs an encoder; give one, or read 'statistics'"
            )
        from_images = replace(self.readout, pooling=tuple(n for n in self.readout.pooling if n != STATISTICS))
        vectors = from_images.extract(self._module, self.scaler.transform(windows))
        ends = np.cumsum(from_images.lengths(self._module, side=self.pixels))[:-1]
        parts = dict(zip(from_images.pooling, np.split(vectors, ends, axis=1), strict=True))
        if STATISTICS in self.readout.pooling:
            parts[STATISTICS] = window_statistics(windows)
        return np.concatenate([parts[name] for name in self.readout.pooling], axis=1)

    def patches(self, windows: MapSet) -> np.ndarray:
        """Return patch features of windows of any scale, shape (N, rows, columns, embed_dim), float32."""
        return extract_patches(self._module, self.scaler.transform(windows))

    def check_windows(self, windows: MapSet) -> None:
        """Raise `ModelError` for windows of another size or scale than the model's."""
        shape, scale = windows.column_density.shape[1:], windows.pixel_scale
        if shape != (self.pixels, self.pixels) or abs(scale / self.pixel_scale - 1) > SCALE_TOLERANCE:
            raise ModelError(
                f"windows of {shape} pixels of {scale:.4g}; the model expects ({self.pixels}, {self.pixels}) of "
                f"{self.pixel_scale:.4g}; project or cut them at that scale"
            )
