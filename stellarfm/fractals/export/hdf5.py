"""Images in HDF5: one file, or a directory of files of bounded size.

Each file holds ``images`` (n, channels, size, size) uint8, gzip-compressed image by image, ``genomes`` (n,) JSON where
there are any, and as attributes what made the images, ``first`` (number of its first image) and ``limits`` (the values
that 0 and 255 stand for).
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
from stellarfm.output import new_directory, new_file

if TYPE_CHECKING:
    from collections.abc import Callable

    from stellarfm.fractals.export.generation import Product

__all__ = ["hdf5_writer", "shards_writer"]

SCHEMA, SCHEMA_VERSION = "stellarfm-images", 1


@contextmanager
def hdf5_writer(
    path: Path, *, count: int, attributes: dict[str, Any], overwrite: bool
) -> Iterator[Callable[[Product], None]]:
    """One file of `count` images."""
    with new_file(path, overwrite=overwrite) as temporary, _file(temporary, 0, count, attributes) as write:
        yield write


@contextmanager
def shards_writer(
    path: Path, *, count: int, shard_size: int, attributes: dict[str, Any], overwrite: bool
) -> Iterator[Callable[[Product], None]]:
    """A directory of files ``00000.h5`` ... of `shard_size` images each, and ``dataset.json``."""
    with new_directory(path, overwrite=overwrite) as folder, ExitStack() as shard:
        (folder / "dataset.json").write_text(json.dumps(attributes, indent=2) + "\n")
        put: Callable[[Product], None]

        def write(product: Product) -> None:
            nonlocal put
            number, place = divmod(product.index, shard_size)
            if place == 0:
                shard.close()
                first = product.index
                file = _file(folder / f"{number:05d}.h5", first, min(shard_size, count - first), attributes)
                put = shard.enter_context(file)
            put(product)

        yield write


@contextmanager
def _file(path: Path, first: int, count: int, attributes: dict[str, Any]) -> Iterator[Callable[[Product], None]]:
    """A file for images number `first` and on; its datasets are made when the first image shows its shape."""
    with h5py.File(path, "w") as file:
        file.attrs.update({"schema": SCHEMA, "schema_version": SCHEMA_VERSION, "first": first, **attributes})

        def write(product: Product) -> None:
            if "images" not in file:
                shape, chunk = (count, *product.shape), (1, *product.shape)
                options = {"compression": "gzip", "compression_opts": GZIP_LEVEL}
                file.create_dataset("images", shape, np.uint8, chunks=chunk, **options)
            place = product.index - first
            file["images"].id.write_direct_chunk((place, 0, 0, 0), product.payload)
            if product.genome is not None:
                file.require_dataset("genomes", (count,), h5py.string_dtype())[place] = product.genome

        yield write
