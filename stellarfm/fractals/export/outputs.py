"""Choice of the output format: PNG files, HDF5 in one file or in shards, or genomes only."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from stellarfm.exceptions import FractalError
from stellarfm.fractals.export.generation import EncodedImage
from stellarfm.fractals.export.hdf5 import hdf5_writer, shards_writer
from stellarfm.fractals.export.image_encoding import gzip_chunk, png
from stellarfm.output import new_directory, new_file

__all__ = ["Output", "Writer", "choose_output"]

#: Function that receives the images one by one, in order.
Writer = Callable[[EncodedImage], None]


@dataclass(frozen=True)
class Output:
    """Destination of images.

    Attributes
    ----------
    encode : callable
        Encoder of uint8 pixels (channels, height, width) to bytes; picklable.
    open : callable
        Function that returns a context manager of a `Writer`; the output is created when the context is left without
        an error.

    Examples
    --------
    >>> with choose_output(None, count=1, attributes={}).open() as write:
    ...     callable(write)
    True
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
    """Return the output that fits a path.

    Parameters
    ----------
    path : Path or None
        Output path. Without a suffix: a directory of PNG files named by index, ``genomes.jsonl`` and ``dataset.json``,
        or, with `shard_size`, of HDF5 files. ``.h5`` or ``.hdf5``: one HDF5 file (see
        `stellarfm.fractals.export.hdf5`). ``.png``: a single image. None: nothing is written.
    count : int
        Number of images.
    attributes : dict
        Options of the dataset, strings and numbers, stored with the images.
    shard_size : int, optional
        Number of images per file of a directory of HDF5 files.
    genomes_only : bool
        If True, only genomes are written, one per line, to a ``.jsonl`` file.
    overwrite : bool
        If True, replace an existing output.

    Raises
    ------
    FractalError
        If the suffix of `path` does not fit the other options.
    OutputExistsError
        On entering the context of the writer, if `path` exists and `overwrite` is False.

    Examples
    --------
    >>> output = choose_output(Path("images.h5"), count=10, attributes={"dataset": "flames"})
    >>> output.encode.__name__
    'gzip_chunk'
    """
    if path is None:
        return Output(_encode_nothing, lambda: nullcontext(_discard))
    kind = _output_kind(path, count=count, shard_size=shard_size, genomes_only=genomes_only)
    if kind == "genomes":
        return Output(_encode_nothing, lambda: _genomes_writer(path, overwrite=overwrite))
    if kind == "png":
        return Output(png, lambda: _png_writer(path, overwrite=overwrite))
    if kind == "png directory":
        return Output(png, lambda: _png_directory_writer(path, count=count, attributes=attributes, overwrite=overwrite))
    if shard_size is None:
        return Output(gzip_chunk, lambda: hdf5_writer(path, count=count, attributes=attributes, overwrite=overwrite))
    return Output(
        gzip_chunk,
        lambda: shards_writer(path, count=count, shard_size=shard_size, attributes=attributes, overwrite=overwrite),
    )


def _output_kind(path: Path, *, count: int, shard_size: int | None, genomes_only: bool) -> str:
    """Return the kind of output of a path; raise `FractalError` if its suffix does not fit the other options."""
    suffix = path.suffix.lower()
    if genomes_only and suffix != ".jsonl":
        raise FractalError(f"output {path}: genomes are written to a JSON Lines file; use a name ending in .jsonl")
    if shard_size is not None and (suffix or genomes_only or shard_size < 1):
        raise FractalError(
            f"output {path} with shards of {shard_size} images: shards of at least 1 image are written to "
            "a directory; use a name without a suffix"
        )
    kinds = {".jsonl": "genomes", ".h5": "hdf5", ".hdf5": "hdf5", "": "png directory" if shard_size is None else "hdf5"}
    if suffix == ".png" and count == 1:
        return "png"
    if suffix not in kinds or (suffix == ".jsonl" and not genomes_only):
        raise FractalError(
            f"output {path}: suffix {suffix} does not fit {count} images; expected .h5, none for a directory of PNG "
            "files, .png for a single image, or .jsonl with genomes_only"
        )
    return kinds[suffix]


def _encode_nothing(_pixels: np.ndarray) -> bytes:
    """Return no bytes, for outputs without images."""
    return b""


def _discard(_product: EncodedImage) -> None:
    """Discard an image."""


@contextmanager
def _genomes_writer(path: Path, *, overwrite: bool) -> Iterator[Writer]:
    """Open a writer of one genome per line."""
    with new_file(path, overwrite=overwrite) as temporary, temporary.open("w") as lines:

        def write(encoded: EncodedImage) -> None:
            if encoded.genome is None:
                raise FractalError("this dataset has no genomes; omit genomes_only")
            lines.write(encoded.genome + "\n")

        yield write


@contextmanager
def _png_writer(path: Path, *, overwrite: bool) -> Iterator[Writer]:
    """Open a writer of a single PNG file."""
    with new_file(path, overwrite=overwrite) as temporary:

        def write(encoded: EncodedImage) -> None:
            temporary.write_bytes(encoded.payload)

        yield write


@contextmanager
def _png_directory_writer(path: Path, *, count: int, attributes: dict[str, Any], overwrite: bool) -> Iterator[Writer]:
    """Open a writer of PNG files named by index, zero-padded to a common length."""
    digits = max(6, len(str(count - 1)))
    with new_directory(path, overwrite=overwrite) as folder, (folder / "genomes.jsonl").open("w") as lines:
        (folder / "dataset.json").write_text(json.dumps(attributes, indent=2) + "\n")

        def write(encoded: EncodedImage) -> None:
            (folder / f"{encoded.index:0{digits}d}.png").write_bytes(encoded.payload)
            if encoded.genome is not None:
                lines.write(encoded.genome + "\n")

        yield write
