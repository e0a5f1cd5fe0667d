"""Pretraining images without structure beyond a power spectrum: the control experiment for fractal images."""

import numpy as np

from stellarfm.contracts import PretrainingDataset

__all__ = ["RandomFields"]


class RandomFields(PretrainingDataset):
    """Gaussian random fields with a power-law spectrum, periodic, each channel independent.

    Parameters
    ----------
    size : int
        Side of an image in pixels.
    seed : int
        Another seed gives other images.
    channels : int
        Number of channels.
    slope : float
        The power spectrum falls as ``k ** -slope``; about 3 looks like the column density of turbulent gas.
    count : int
        Number of images.
    """

    def __init__(self, *, size: int = 64, seed: int = 0, channels: int = 3, slope: float = 3.0, count: int = 1_000_000):
        self.size, self.seed, self.channels, self.slope, self.count = size, seed, channels, slope, count

    def __len__(self) -> int:
        return self.count

    def image(self, index: int) -> np.ndarray:
        """Image number `index`: float32 in [0, 1], shape (channels, size, size)."""
        noise = np.random.default_rng((self.seed, index)).standard_normal((self.channels, self.size, self.size))
        frequency = np.fft.fftfreq(self.size)
        wavenumber = np.hypot(frequency[:, None], frequency)
        wavenumber[0, 0] = np.inf  # no mean: each channel is stretched to [0, 1] anyway
        field = np.fft.ifft2(np.fft.fft2(noise) * wavenumber ** (-self.slope / 2)).real
        low, high = field.min(axis=(1, 2), keepdims=True), field.max(axis=(1, 2), keepdims=True)
        return ((field - low) / (high - low)).astype(np.float32)
