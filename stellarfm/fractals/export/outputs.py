"""Fractal images on disk: a PNG file or a directory of them, HDF5 in one file or in shards, or the genomes alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stellarfm.exceptions import FractalError
from stellarfm.fractals.export.generation import Product
from stellarfm.fractals.export.hdf5 import hdf5_writer, shards_writer
from stellarfm.fractals.export.image_encoding import gzip_chunk, png
from stellarfm.output import new_directory, new_file

__all__ = ["Output", "Writer", "choose_output"]

#: Takes the images one by one, in order.
Writer = Callable[[Product], None]


@dataclass(frozen=True)
class Output:
    """Where images go.

    Attributes
    ----------
    encode : callable
        Turns uint8 pixels (channels, height, width) into the bytes that are written; any process may call it.
    open : callable
        Gives a context whose value is a `Writer`; the output appears when it is left without an error.
    """

    encode: Callable[[np.ndarray], bytes]
    open: Callable[[], AbstractContextManager[Writer]]


def choose_output(
    path: Path | None,
    *,
    count: int,
    attributes: dict[str, Any],
    shard_size: int | None = None,
    genomes_only: bool = False,
    overwrite: bool = False,
) -> Output:
    """The kind of output that a path asks for.

    Parameters
    ----------
    path : Path
        No ending: a directory of PNG files named by number, ``genomes.jsonl`` and ``dataset.json``; with `shard_size`,
        of HDF5 files. ``.h5`` or ``.hdf5``: one HDF5 file (see `stellarfm.fractals.export.hdf5`). ``.png``: a single
        image. None: nothing is written.
    count : int
        Number of images that will come.
    attributes : dict
        What made the images: strings and numbers.
    shard_size : int, optional
        Images in each file of a directory of HDF5 files.
    genomes_only : bool
        Write no images; `path` then ends in ``.jsonl``, one genome a line.
    overwrite : bool
        Replace what is there.

    Raises
    ------
    FractalError
        If the ending does not fit.
    OutputExistsError
        On entering the writer's context, if `path` exists and `overwrite` is False.
    """
    if path is None:
        return Output(_nothing, lambda: nullcontext(_ignore))
    kind = _kind(path, count=count, shard_size=shard_size, genomes_only=genomes_only)
    if kind == "genomes":
        return Output(_nothing, lambda: _genomes_writer(path, overwrite=overwrite))
    if kind == "picture":
        return Output(png, lambda: _picture_writer(path, overwrite=overwrite))
    if kind == "pictures":
        return Output(png, lambda: _pictures_writer(path, count=count, attributes=attributes, overwrite=overwrite))
    if shard_size is None:
        return Output(gzip_chunk, lambda: hdf5_writer(path, count=count, attributes=attributes, overwrite=overwrite))
    return Output(
        gzip_chunk,
        lambda: shards_writer(path, count=count, shard_size=shard_size, attributes=attributes, overwrite=overwrite),
    )


def _kind(path: Path, *, count: int, shard_size: int | None, genomes_only: bool) -> str:
    """What a path asks for, if it fits the other wishes."""
    suffix = path.suffix.lower()
    if genomes_only and suffix != ".jsonl":
        raise FractalError(f"output {path}: genomes go to a JSON Lines file; choose a name that ends in .jsonl")
    if shard_size is not None and (suffix or genomes_only or shard_size < 1):
        raise FractalError(
            f"output {path} with shards of {shard_size} images: shards of at least 1 go to a directory; "
            "choose a name without ending"
        )
    kinds = {".jsonl": "genomes", ".h5": "hdf5", ".hdf5": "hdf5", "": "pictures" if shard_size is None else "hdf5"}
    if suffix == ".png" and count == 1:
        return "picture"
    if suffix not in kinds or (suffix == ".jsonl" and not genomes_only):
        raise FractalError(
            f"output {path}: {suffix} is no ending for {count} images; expected .h5, none for a directory of PNG "
            "files, .png for a single image, or .jsonl with --genomes-only"
        )
    return kinds[suffix]


def _nothing(_pixels: np.ndarray) -> bytes:
    """What is written of an image where only its genome is kept."""
    return b""


def _ignore(_product: Product) -> None:
    """Write nothing."""


@contextmanager
def _genomes_writer(path: Path, *, overwrite: bool) -> Iterator[Writer]:
    """One genome a line."""
    with new_file(path, overwrite=overwrite) as temporary, temporary.open("w") as lines:

        def write(product: Product) -> None:
            if product.genome is None:
                raise FractalError("this dataset has no genomes; leave out --genomes-only")
            lines.write(product.genome + "\n")

        yield write


@contextmanager
def _picture_writer(path: Path, *, overwrite: bool) -> Iterator[Writer]:
    """A single PNG file."""
    with new_file(path, overwrite=overwrite) as temporary:

        def write(product: Product) -> None:
            temporary.write_bytes(product.payload)

        yield write


@contextmanager
def _pictures_writer(path: Path, *, count: int, attributes: dict[str, Any], overwrite: bool) -> Iterator[Writer]:
    """PNG files named by index, with as many digits as the last one needs."""
    digits = max(6, len(str(count - 1)))
    with new_directory(path, overwrite=overwrite) as folder, (folder / "genomes.jsonl").open("w") as lines:
        (folder / "dataset.json").write_text(json.dumps(attributes, indent=2) + "\n")

        def write(product: Product) -> None:
            (folder / f"{product.index:0{digits}d}.png").write_bytes(product.payload)
            if product.genome is not None:
                lines.write(product.genome + "\n")

        yield write
