"""Many images, one after the other, whoever makes them: this process, others beside it, or a GPU."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np

from stellarfm.contracts import PretrainingDataset
from stellarfm.exceptions import FractalError
from stellarfm.fractals.base import FractalDataset, FractalImage
from stellarfm.fractals.export.image_encoding import as_bytes
from stellarfm.parallel import process_pool

__all__ = ["Job", "Product", "produce"]

#: Images that wait for each worker: enough to keep it busy, few enough to keep memory small.
QUEUE = 4
#: Images that a GPU makes at a time.
BATCH = 256


@dataclass(frozen=True)
class Product:
    """An image, ready to be written.

    Attributes
    ----------
    index : int
        Its number.
    payload : bytes
        The image as its file format wants it.
    shape : tuple of int
        (channels, height, width).
    genome : str or None
        JSON of what was rendered; None for images that are not of this package.
    pixels : ndarray of uint8 or None
        The image itself, where a preview shows it.
    attempts, renders
        See `FractalImage`.
    """

    index: int
    payload: bytes
    shape: tuple[int, ...]
    genome: str | None
    pixels: np.ndarray | None
    attempts: int
    renders: float


@dataclass(frozen=True)
class Job:
    """What is made of each image; can be sent to other processes.

    Attributes
    ----------
    dataset : PretrainingDataset
        Where the images come from.
    encode : callable
        Turns uint8 pixels into the bytes that are written.
    shown : int
        The first so many are also kept as pixels.
    """

    dataset: PretrainingDataset
    encode: Callable[[np.ndarray], bytes]
    shown: int = 0

    def __call__(self, index: int) -> Product:
        """Make and encode image number `index`."""
        if isinstance(self.dataset, FractalDataset):
            return self.finish(index, self.dataset.render(index))
        return self.finish(index, FractalImage(self.dataset.image(index), None))

    def finish(self, index: int, item: FractalImage) -> Product:
        """Encode an image."""
        pixels = as_bytes(item.image, limits=self.dataset.limits)
        genome = None if item.genome is None else item.genome.to_json()
        shown = pixels if index < self.shown else None
        return Product(index, self.encode(pixels), pixels.shape, genome, shown, item.attempts, item.renders)


def produce(job: Job, *, count: int, workers: int = 1, device: str = "cpu") -> Iterator[Product]:
    """Images 0 ... count - 1 in order; they depend on neither `workers` nor, up to rounding, `device`.

    Parameters
    ----------
    job : Job
        What to make.
    count : int
        Number of images.
    workers : int
        Processes that render, or that draw genomes for a GPU; 1 stands for this one alone.
    device : str
        As for torch: ``cpu``, ``cuda``, ``cuda:1``.

    Raises
    ------
    FractalError
        If there is no worker, no such device, or the dataset cannot use it.
    """
    if workers < 1:
        raise FractalError(f"workers is {workers}; expected at least 1")
    if device != "cpu":
        return _on_device(job, count, workers, device)
    return map(job, range(count)) if min(workers, count) == 1 else _in_processes(job, count, workers)


def _in_processes(job: Job, count: int, workers: int) -> Iterator[Product]:
    """Side by side, handed out in order, never more than a few ahead of who writes them."""
    with process_pool(workers) as pool:
        waiting = deque(pool.submit(job, index) for index in range(min(workers * QUEUE, count)))
        try:
            for index in range(len(waiting), count + len(waiting)):
                product = waiting.popleft().result()
                if index < count:
                    waiting.append(pool.submit(job, index))
                yield product
        finally:
            pool.shutdown(cancel_futures=True)


def _on_device(job: Job, count: int, workers: int, device: str) -> Iterator[Product]:
    """Batch by batch."""
    if not isinstance(job.dataset, FractalDataset):
        raise FractalError(f"device {device}: this dataset is made on the CPU alone; leave out --device")
    _check_device(device)
    from stellarfm.fractals.batch_search import render_images

    with nullcontext() if workers == 1 else process_pool(workers) as helpers:
        for start in range(0, count, BATCH):
            indices = range(start, min(start + BATCH, count))
            batch = render_images(job.dataset, indices, device=device, helpers=helpers)
            rows = zip(batch.images.cpu().numpy(), batch.genomes, batch.attempts, batch.renders, strict=True)
            for index, row in zip(indices, rows, strict=True):
                yield job.finish(index, FractalImage(*row))


def _check_device(device: str) -> None:
    """Refuse a device that torch does not know or cannot use here."""
    import torch

    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0]
        raise FractalError(f"device {device}: torch cannot use it here ({reason}); leave out --device") from error
