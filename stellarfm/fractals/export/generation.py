"""Generation of numbered images in order: in this process, in several processes, or on a GPU."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np

from stellarfm.contracts import PretrainingDataset
from stellarfm.exceptions import FractalError
from stellarfm.fractals.candidate_search import FractalImage
from stellarfm.fractals.datasets import FractalDataset
from stellarfm.fractals.export.image_encoding import as_bytes
from stellarfm.parallel import process_pool

__all__ = ["EncodedImage", "GenerationTask", "generate"]

#: Images queued per worker: enough to keep it busy, few enough to limit memory.
QUEUE = 4
#: Images rendered at a time on a GPU.
BATCH = 256


@dataclass(frozen=True)
class EncodedImage:
    """An image encoded for its output file.

    Attributes
    ----------
    index : int
        Index of the image in its dataset.
    payload : bytes
        Encoded pixels.
    shape : tuple of int
        Shape of the image: (channels, height, width).
    genome : str or None
        JSON of the genome; None for images of other datasets.
    pixels : ndarray of uint8, shape (channels, height, width), or None
        Pixels, for the images shown in a preview only.
    attempts : int
        Number of candidates that were tried.
    renders : float
        Work in units of the work for one full frame.

    Examples
    --------
    >>> from stellarfm.fractals import IFSDataset
    >>> from stellarfm.fractals.export import GenerationTask, generate
    >>> first, second = generate(GenerationTask(IFSDataset(size=16), bytes), count=2)
    >>> second.index, second.shape
    (1, (3, 16, 16))
    """

    index: int
    payload: bytes
    shape: tuple[int, ...]
    genome: str | None
    pixels: np.ndarray | None
    attempts: int
    renders: float


@dataclass(frozen=True)
class GenerationTask:
    """Picklable callable that makes and encodes one image of a dataset.

    Attributes
    ----------
    dataset : PretrainingDataset
        Source of the images.
    encode : callable
        Encoder of uint8 pixels (channels, height, width) to bytes.
    shown : int
        Number of images, from the first on, whose pixels are kept for a preview.

    Examples
    --------
    >>> from stellarfm.fractals import FlameDataset
    >>> task = GenerationTask(FlameDataset(size=16), bytes, shown=1)
    >>> task(0).pixels.shape
    (3, 16, 16)
    """

    dataset: PretrainingDataset
    encode: Callable[[np.ndarray], bytes]
    shown: int = 0

    def __call__(self, index: int) -> EncodedImage:
        """Make and encode image number `index`."""
        if isinstance(self.dataset, FractalDataset):
            return self.finish(index, self.dataset.render(index))
        return self.finish(index, FractalImage(self.dataset.image(index), None))

    def finish(self, index: int, item: FractalImage) -> EncodedImage:
        """Return a finished image, encoded."""
        pixels = as_bytes(item.image, limits=self.dataset.limits)
        genome = None if item.genome is None else item.genome.to_json()
        shown = pixels if index < self.shown else None
        return EncodedImage(index, self.encode(pixels), pixels.shape, genome, shown, item.attempts, item.renders)


def generate(task: GenerationTask, *, count: int, workers: int = 1, device: str = "cpu") -> Iterator[EncodedImage]:
    """Yield images 0 ... count - 1 in order; they depend on neither `workers` nor, up to rounding, `device`.

    Parameters
    ----------
    task : GenerationTask
        Dataset and encoding.
    count : int
        Number of images.
    workers : int
        Number of processes that render, or that draw genomes for a GPU; 1 for this process only.
    device : str
        Device as named by torch: ``cpu``, ``cuda``, ``cuda:1``.

    Raises
    ------
    FractalError
        If `workers` is less than 1, or the device is not available or not supported by the dataset.

    Examples
    --------
    >>> from stellarfm.fractals import FlameDataset
    >>> [image.index for image in generate(GenerationTask(FlameDataset(size=16), bytes), count=2)]
    [0, 1]
    """
    if workers < 1:
        raise FractalError(f"workers is {workers}; expected at least 1")
    if device != "cpu":
        return _on_device(task, count, workers, device)
    return map(task, range(count)) if min(workers, count) == 1 else _in_processes(task, count, workers)


def _in_processes(task: GenerationTask, count: int, workers: int) -> Iterator[EncodedImage]:
    """Yield images in order from several processes, which run at most a few images ahead of the consumer."""
    with process_pool(workers) as pool:
        waiting = deque(pool.submit(task, index) for index in range(min(workers * QUEUE, count)))
        try:
            for index in range(len(waiting), count + len(waiting)):
                encoded = waiting.popleft().result()
                if index < count:
                    waiting.append(pool.submit(task, index))
                yield encoded
        finally:
            pool.shutdown(cancel_futures=True)


def _on_device(task: GenerationTask, count: int, workers: int, device: str) -> Iterator[EncodedImage]:
    """Yield images in order, rendered batch by batch on `device`."""
    if not isinstance(task.dataset, FractalDataset):
        raise FractalError(f"device is {device}, but this dataset is made on the CPU only; use device='cpu'")
    _check_device(device)
    from stellarfm.fractals.batch_search import render_images

    with nullcontext() if workers == 1 else process_pool(workers) as helpers:
        for start in range(0, count, BATCH):
            indices = range(start, min(start + BATCH, count))
            batch = render_images(task.dataset, indices, device=device, helpers=helpers)
            rows = zip(batch.images.cpu().numpy(), batch.genomes, batch.attempts, batch.renders, strict=True)
            for index, row in zip(indices, rows, strict=True):
                yield task.finish(index, FractalImage(*row))


def _check_device(device: str) -> None:
    """Raise `FractalError` if torch cannot use the device."""
    import torch

    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0]
        raise FractalError(f"device {device}: torch cannot use it here ({reason}); use device='cpu'") from error
