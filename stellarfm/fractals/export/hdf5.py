"""Images in HDF5: one file, or a directory of files of bounded size.

Each file contains ``images``, (n, channels, size, size) uint8, gzip-compressed image by image, and, for fractals,
``genomes``, (n,) JSON. Attributes: the options of the dataset, ``first`` (index of the first image) and ``limits`` (the
values that 0 and 255 represent).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from stellarfm.fractals.export.image_encoding import GZIP_LEVEL
from stellarfm.hdf5 import create_hdf5
from stellarfm.output import new_directory, new_file

if TYPE_CHECKING:
    from collections.abc import Callable

    from stellarfm.fractals.export.generation import EncodedImage

__all__ = ["hdf5_writer", "shards_writer"]

SCHEMA, SCHEMA_VERSION = "stellarfm-images", 1


@contextmanager
def hdf5_writer(
    path: Path, *, count: int, attributes: dict[str, Any], overwrite: bool
) -> Iterator[Callable[[EncodedImage], None]]:
    """Open a writer of one file with `count` images."""
    with new_file(path, overwrite=overwrite) as temporary, _image_file(temporary, 0, count, attributes) as write:
        yield write


@contextmanager
def shards_writer(
    path: Path, *, count: int, shard_size: int, attributes: dict[str, Any], overwrite: bool
) -> Iterator[Callable[[EncodedImage], None]]:
    """Open a writer of a directory of files ``00000.h5`` ... with `shard_size` images each, and ``dataset.json``."""
    with new_directory(path, overwrite=overwrite) as folder, ExitStack() as shard:
        (folder / "dataset.json").write_text(json.dumps(attributes, indent=2) + "\n")
        put: Callable[[EncodedImage], None]

        def write(encoded: EncodedImage) -> None:
            nonlocal put
            number, place = divmod(encoded.index, shard_size)
            if place == 0:
                shard.close()
                first = encoded.index
                file = _image_file(folder / f"{number:05d}.h5", first, min(shard_size, count - first), attributes)
                put = shard.enter_context(file)
            put(encoded)

        yield write


@contextmanager
def _image_file(
    path: Path, first: int, count: int, attributes: dict[str, Any]
) -> Iterator[Callable[[EncodedImage], None]]:
    """Open a writer of a file for images from `first` on; datasets are created when the first image is written."""
    with create_hdf5(path) as (file, check):
        file.attrs.update({"schema": SCHEMA, "schema_version": SCHEMA_VERSION, "first": first, **attributes})

        def write(encoded: EncodedImage) -> None:
            if "images" not in file:
                shape, chunk = (count, *encoded.shape), (1, *encoded.shape)
                options = {"compression": "gzip", "compression_opts": GZIP_LEVEL}
                file.create_dataset("images", shape, np.uint8, chunks=chunk, **options)
            place = encoded.index - first
            file["images"].id.write_direct_chunk((place, 0, 0, 0), encoded.payload)
            if encoded.genome is not None:
                file.require_dataset("genomes", (count,), h5py.string_dtype())[place] = encoded.genome
            check()

        yield write
