"""Reading of galaxy images: JPG, PNG, and FITS with any number of bands."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from stellarfm.exceptions import InputNotFoundError
from stellarfm_galaxyzoo.exceptions import ImageError

__all__ = ["asinh_stretch", "read_image", "resize"]

FITS_ENDINGS = (".fits", ".fit", ".fits.gz", ".fit.gz", ".fits.fz")


def asinh_stretch(bands: np.ndarray, *, scales: Sequence[float] | None = None, softening: float = 8.0) -> np.ndarray:
    """Return brightness in [0, 1] for fluxes, with one factor for all bands to preserve colors (Lupton et al. 2004).

    With the mean flux I of the bands, each band is multiplied by ``asinh(Q I) / asinh(Q) / I``, which is linear at low
    and logarithmic at high flux.

    Parameters
    ----------
    bands : array
        Fluxes above the sky, shape (bands, ny, nx).
    scales : sequence of float, optional
        Flux of each band that becomes white. By default the 99.5th percentile of the mean of all bands for every band,
        so that colors correspond to the units of the file.
    softening : float
        Parameter Q; larger values brighten faint structure.

    Returns
    -------
    numpy.ndarray
        Brightness, float32 in [0, 1], same shape.
    """
    bands = np.asarray(bands, dtype=float)
    if scales is None:
        scales = [max(float(np.percentile(bands.mean(axis=0), 99.5)), 1e-30)] * len(bands)
    if len(scales) != len(bands) or not all(scale > 0 for scale in scales):
        raise ImageError(f"scales are {list(scales)!r} for {len(bands)} bands; expected a positive flux for each band")
    flux = np.clip(bands / np.asarray(scales, dtype=float)[:, None, None], 0.0, None)
    intensity = flux.mean(axis=0)
    factor = np.arcsinh(softening * intensity) / (np.arcsinh(softening) * np.maximum(intensity, 1e-12))
    return np.clip(flux * factor, 0.0, 1.0).astype(np.float32)


def read_image(
    path: str | os.PathLike,
    *,
    size: int | None = None,
    channels: int = 3,
    scales: Sequence[float] | None = None,
    softening: float = 8.0,
) -> np.ndarray:
    """Read an image file as a square of brightness in [0, 1].

    JPG and PNG are used without a stretch. FITS bands are stretched with `asinh_stretch`, in the order of the file: the
    planes of one cube, or one two-dimensional image per HDU. Missing pixels (NaN) are set to zero.

    Parameters
    ----------
    path : path-like
        Image file.
    size : int, optional
        Side in pixels to which the central square is resampled; not resampled by default.
    channels : int
        Number of channels. For one channel, a color image is averaged; a grayscale image is repeated otherwise.
    scales : sequence of float, optional
        Scales of FITS bands, see `asinh_stretch`.
    softening : float
        Softening of the stretch of FITS bands.

    Returns
    -------
    numpy.ndarray
        Brightness, float32, shape (channels, size, size). Channels of JPG and PNG are red, green and blue. Rows are in
        the order of the file: downwards in JPG and PNG, with increasing y in FITS.

    Raises
    ------
    InputNotFoundError
        If there is no such file.
    ImageError
        If it is not an image, or has another number of channels.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from PIL import Image
    >>> from stellarfm_galaxyzoo import read_image
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "galaxy.png"
    ...     Image.new("RGB", (40, 30)).save(path)
    ...     read_image(path, size=16).shape
    (3, 16, 16)
    """
    path = Path(path)
    if not path.is_file():
        raise InputNotFoundError(f"{path}: no such image; check the column file_loc of the catalogue, or its root")
    if path.name.lower().endswith(FITS_ENDINGS):
        bands = _fits_bands(path)
        image = asinh_stretch(np.nan_to_num(bands, nan=0.0, posinf=0.0, neginf=0.0), scales=scales, softening=softening)
    else:
        image = _picture(path)
    return resize(_with_channels(image, channels, path), size)


def resize(image: np.ndarray, size: int | None) -> np.ndarray:
    """Return the central square of an image (channels, ny, nx), resampled to `size` pixels."""
    side = min(image.shape[1:])
    top, left = ((n - side) // 2 for n in image.shape[1:])
    square = image[:, top : top + side, left : left + side]
    if size is None or size == side:
        return np.ascontiguousarray(square)
    planes = [Image.fromarray(plane).resize((size, size), Image.Resampling.BILINEAR) for plane in square]
    return np.clip(np.stack([np.asarray(plane) for plane in planes]), 0.0, 1.0)


def _picture(path: Path) -> np.ndarray:
    """Read a JPG or PNG, shape (1 or 3, ny, nx)."""
    try:
        with Image.open(path) as picture:
            deep = picture.mode.startswith(("I", "F"))
            gray = picture.mode in ("1", "L", "LA")
            pixels = np.asarray(picture if deep else picture.convert("L" if gray else "RGB"), dtype=np.float32)
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ImageError(f"{path} cannot be read as an image ({error}); replace the file or drop its row") from error
    white = 255.0 if not deep else 65535.0
    return np.moveaxis(np.atleast_3d(pixels), 2, 0) / np.float32(white)


def _fits_bands(path: Path) -> np.ndarray:
    """Read all bands of a FITS file, shape (bands, ny, nx)."""
    from astropy.io import fits

    try:
        with fits.open(path, memmap=False) as hdus:
            planes = [np.asarray(hdu.data, dtype=float) for hdu in hdus if hdu.is_image and hdu.data is not None]
    except (OSError, ValueError, TypeError) as error:
        raise ImageError(f"{path} cannot be read as FITS ({error}); replace the file or drop its row") from error
    if planes and planes[0].ndim == 3:
        return planes[0]
    flat = [plane for plane in planes if plane.ndim == 2]
    if not flat or len({plane.shape for plane in flat}) > 1:
        shapes = ", ".join(str(plane.shape) for plane in planes) or "no image"
        raise ImageError(f"{path} contains {shapes}; expected one cube, or two-dimensional images of one shape")
    return np.stack(flat)


def _with_channels(image: np.ndarray, channels: int, path: Path) -> np.ndarray:
    """Return an image with `channels` channels, or raise `ImageError` if the conversion is ambiguous."""
    if len(image) == channels:
        return image
    if channels == 1:
        return image.mean(axis=0, keepdims=True)
    if len(image) == 1:
        return np.repeat(image, channels, axis=0)
    raise ImageError(f"{path} has {len(image)} channels; expected {channels}: set the option channels = {len(image)}")
