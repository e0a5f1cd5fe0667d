"""Images as bytes: for PNG files, for compressed chunks of HDF5, and as a sheet to look at."""

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
    """An image within `limits` as uint8, 0 ... 255."""
    low, high = limits
    return np.rint((image - low) * (255.0 / (high - low))).astype(np.uint8)


def png(pixels: np.ndarray) -> bytes:
    """The PNG file of uint8 pixels (channels, height, width)."""
    stream = io.BytesIO()
    _picture(pixels).save(stream, format="PNG")
    return stream.getvalue()


def gzip_chunk(pixels: np.ndarray) -> bytes:
    """What HDF5's gzip filter makes of an array."""
    return zlib.compress(pixels.tobytes(), GZIP_LEVEL)


def write_preview(images: Sequence[np.ndarray], path: Path, *, overwrite: bool = False) -> None:
    """One PNG sheet of uint8 images (channels, size, size), eight in a row; three channels are red, green and blue."""
    framed = [np.pad(image, ((0, 0), (1, 1), (1, 1)), constant_values=255) for image in images]
    blank = np.full_like(framed[0], 255)
    columns = min(PREVIEW_COLUMNS, len(framed))
    framed += [blank] * (-len(framed) % columns)
    rows = [np.concatenate(framed[start : start + columns], axis=2) for start in range(0, len(framed), columns)]
    with new_file(path, overwrite=overwrite) as temporary:
        temporary.write_bytes(png(np.concatenate(rows, axis=1)))


def _picture(pixels: np.ndarray) -> Any:
    """A pillow image: grey if there is one channel, else the first three as colours."""
    from PIL import Image

    if len(pixels) == 1:
        return Image.fromarray(pixels[0])
    padding = np.zeros((max(3 - len(pixels), 0), *pixels.shape[1:]), dtype=np.uint8)
    return Image.fromarray(np.ascontiguousarray(np.concatenate([pixels[:3], padding]).transpose(1, 2, 0)))
