"""Images as bytes: PNG files, compressed chunks of HDF5, and a preview sheet."""

from __future__ import annotations

import io
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stellarfm.output import new_file

__all__ = ["GZIP_LEVEL", "as_bytes", "gzip_chunk", "png", "write_preview"]

PREVIEW_COLUMNS = 8
GZIP_LEVEL = 4


def as_bytes(image: np.ndarray, *, limits: tuple[float, float] = (0.0, 1.0)) -> np.ndarray:
    """Return an image as uint8, with `limits` mapped to 0 and 255.

    Examples
    --------
    >>> as_bytes(np.array([0.0, 0.5, 1.0]))
    array([  0, 128, 255], dtype=uint8)
    """
    low, high = limits
    return np.rint((image - low) * (255.0 / (high - low))).astype(np.uint8)


def png(pixels: np.ndarray) -> bytes:
    """Return the content of a PNG file of uint8 pixels (channels, height, width)."""
    stream = io.BytesIO()
    _pillow_image(pixels).save(stream, format="PNG")
    return stream.getvalue()


def gzip_chunk(pixels: np.ndarray) -> bytes:
    """Return an array as compressed by the gzip filter of HDF5."""
    return zlib.compress(pixels.tobytes(), GZIP_LEVEL)


def write_preview(images: Sequence[np.ndarray], path: Path, *, overwrite: bool = False) -> None:
    """Write uint8 images (channels, size, size) as one PNG sheet with eight per row.

    Parameters
    ----------
    images : sequence of ndarray of uint8, shape (channels, size, size)
        Images; three channels are shown as red, green and blue.
    path : Path
        Output file.
    overwrite : bool
        If True, replace an existing file.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_preview([np.zeros((3, 8, 8), np.uint8)], Path(folder, "sheet.png"))
    ...     Path(folder, "sheet.png").exists()
    True
    """
    framed = [np.pad(image, ((0, 0), (1, 1), (1, 1)), constant_values=255) for image in images]
    blank = np.full_like(framed[0], 255)
    columns = min(PREVIEW_COLUMNS, len(framed))
    framed += [blank] * (-len(framed) % columns)
    rows = [np.concatenate(framed[start : start + columns], axis=2) for start in range(0, len(framed), columns)]
    with new_file(path, overwrite=overwrite) as temporary:
        temporary.write_bytes(png(np.concatenate(rows, axis=1)))


def _pillow_image(pixels: np.ndarray) -> Any:
    """Return a pillow image: gray if there is one channel, else the first three as red, green and blue."""
    from PIL import Image

    if len(pixels) == 1:
        return Image.fromarray(pixels[0])
    padding = np.zeros((max(3 - len(pixels), 0), *pixels.shape[1:]), dtype=np.uint8)
    return Image.fromarray(np.ascontiguousarray(np.concatenate([pixels[:3], padding]).transpose(1, 2, 0)))
