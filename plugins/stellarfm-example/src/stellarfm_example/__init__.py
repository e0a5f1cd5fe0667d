"""Gaussian random fields as pretraining images: a control experiment for fractal images."""

import numpy as np

from stellarfm.contracts import PretrainingDataset

__all__ = ["RandomFields"]


class RandomFields(PretrainingDataset):
    """Periodic Gaussian random fields with a power-law spectrum and independent channels.

    Parameters
    ----------
    size : int
        Side of an image in pixels.
    seed : int
        Seed of the images.
    channels : int
        Number of channels.
    slope : float
        Exponent of the power spectrum, ``k ** -slope``; about 3 for the column density of turbulent gas.
    count : int
        Number of images.

    Examples
    --------
    >>> from stellarfm_example import RandomFields
    >>> RandomFields(size=32).image(0).shape
    (3, 32, 32)
    """

    def __init__(self, *, size: int = 64, seed: int = 0, channels: int = 3, slope: float = 3.0, count: int = 1_000_000):
        self.size, self.seed, self.channels, self.slope, self.count = size, seed, channels, slope, count

    def __len__(self) -> int:
        return self.count

    def image(self, index: int) -> np.ndarray:
        """Return image number `index`: float32 in [0, 1], shape (channels, size, size)."""
        noise = np.random.default_rng((self.seed, index)).standard_normal((self.channels, self.size, self.size))
        frequency = np.fft.fftfreq(self.size)
        wavenumber = np.hypot(frequency[:, None], frequency)
        wavenumber[0, 0] = np.inf  # no mean: each channel is rescaled to [0, 1]
        field = np.fft.ifft2(np.fft.fft2(noise) * wavenumber ** (-self.slope / 2)).real
        low, high = field.min(axis=(1, 2), keepdims=True), field.max(axis=(1, 2), keepdims=True)
        return ((field - low) / (high - low)).astype(np.float32)
