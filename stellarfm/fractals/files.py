"""Fractal images on disk: a directory of PNG files, one HDF5 file, or the genomes alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from stellarfm.exceptions import FractalError
from stellarfm.fractals.genome import Genome
from stellarfm.output import new_directory, new_file

__all__ = ["Writer", "open_writer", "write_preview"]

#: Takes the index of an image, the image (channels, size, size) in [0, 1], and its genome if it has one.
Writer = Callable[[int, np.ndarray, Genome | None], None]

SCHEMA, SCHEMA_VERSION = "stellarfm-images", 1
PREVIEW_COLUMNS = 8


def open_writer(
    path: Path, *, count: int, attributes: dict[str, Any], genomes_only: bool = False, overwrite: bool = False
) -> AbstractContextManager[Writer]:
    """A function that writes images one by one; the output appears when the context is left without an error.

    Parameters
    ----------
    path : Path
        No ending: a directory of PNG files named by index, ``genomes.jsonl`` and ``dataset.json``. ``.h5`` or
        ``.hdf5``: one file with ``images`` (count, channels, size, size) uint8, ``genomes`` (JSON) and attributes.
    count : int
        Number of images that will come.
    attributes : dict
        What made the images: strings and numbers.
    genomes_only : bool
        Write no images; `path` then ends in ``.jsonl``, one genome a line.
    overwrite : bool
        Replace what is there.

    Raises
    ------
    FractalError
        If the ending is another one.
    OutputExistsError
        On entering the context, if `path` exists and `overwrite` is False.
    """
    suffix = path.suffix.lower()
    if genomes_only and suffix == ".jsonl":
        return _genomes_writer(path, overwrite=overwrite)
    if genomes_only:
        raise FractalError(f"output {path}: genomes go to a JSON Lines file; choose a name that ends in .jsonl")
    if suffix in (".h5", ".hdf5"):
        return _hdf5_writer(path, count=count, attributes=attributes, overwrite=overwrite)
    if suffix == "":
        return _png_writer(path, count=count, attributes=attributes, overwrite=overwrite)
    raise FractalError(f"output {path}: unknown ending {suffix}; expected .h5, or none for a directory of PNG files")


@contextmanager
def _genomes_writer(path: Path, *, overwrite: bool) -> Iterator[Writer]:
    """One genome a line."""
    with new_file(path, overwrite=overwrite) as temporary, temporary.open("w") as lines:

        def write(_index: int, _image: np.ndarray, genome: Genome | None) -> None:
            if genome is None:
                raise FractalError("this dataset has no genomes; leave out --genomes-only")
            lines.write(genome.to_json() + "\n")

        yield write


@contextmanager
def _png_writer(path: Path, *, count: int, attributes: dict[str, Any], overwrite: bool) -> Iterator[Writer]:
    """PNG files named by index, with as many digits as the last one needs."""
    digits = max(6, len(str(count - 1)))
    with new_directory(path, overwrite=overwrite) as folder, (folder / "genomes.jsonl").open("w") as lines:
        (folder / "dataset.json").write_text(json.dumps(attributes, indent=2) + "\n")

        def write(index: int, image: np.ndarray, genome: Genome | None) -> None:
            _picture(_bytes(image)).save(folder / f"{index:0{digits}d}.png")
            if genome is not None:
                lines.write(genome.to_json() + "\n")

        yield write


@contextmanager
def _hdf5_writer(path: Path, *, count: int, attributes: dict[str, Any], overwrite: bool) -> Iterator[Writer]:
    """One file; the datasets are made when the first image shows its shape."""
    import h5py

    with new_file(path, overwrite=overwrite) as temporary, h5py.File(temporary, "w") as file:
        file.attrs.update({"schema": SCHEMA, "schema_version": SCHEMA_VERSION, **attributes})

        def write(index: int, image: np.ndarray, genome: Genome | None) -> None:
            if "images" not in file:
                shape = (count, *image.shape)
                file.create_dataset("images", shape, np.uint8, chunks=(1, *image.shape), compression="gzip")
            file["images"][index] = _bytes(image)
            if genome is not None:
                genomes = file.require_dataset("genomes", (count,), h5py.string_dtype())
                genomes[index] = genome.to_json()

        yield write


def write_preview(images: Sequence[np.ndarray], path: Path, *, overwrite: bool = False) -> None:
    """One PNG sheet of images (channels, size, size), eight in a row; three channels are shown as red, green, blue."""
    gap = ((0, 0), (1, 1), (1, 1))
    framed = [np.pad(_bytes(image), gap, constant_values=255) for image in images]
    blank = np.full_like(framed[0], 255)
    columns = min(PREVIEW_COLUMNS, len(framed))
    framed += [blank] * (-len(framed) % columns)
    rows = [np.concatenate(framed[start : start + columns], axis=2) for start in range(0, len(framed), columns)]
    with new_file(path, overwrite=overwrite) as temporary:
        _picture(np.concatenate(rows, axis=1)).save(temporary, format="PNG")


def _bytes(image: np.ndarray) -> np.ndarray:
    """[0, 1] as 0 ... 255."""
    return np.rint(image * 255.0).astype(np.uint8)


def _picture(image: np.ndarray) -> Any:
    """A pillow image of (channels, height, width): grey if there is one channel, else the first three as colours."""
    from PIL import Image

    if len(image) == 1:
        return Image.fromarray(image[0])
    padding = np.zeros((max(3 - len(image), 0), *image.shape[1:]), dtype=np.uint8)
    return Image.fromarray(np.ascontiguousarray(np.concatenate([image[:3], padding]).transpose(1, 2, 0)))
