"""Batches of images, each a pure function of (seed, step), so that a resumed run sees the same images."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from stellarfm.contracts import LabelledDataset, PretrainingDataset
from stellarfm.exceptions import PretrainingError
from stellarfm.pretraining.recipe import Recipe

__all__ = ["Batches", "batch_indices", "derived_seed", "image_loader"]


def derived_seed(*numbers: int) -> int:
    """Return a 63-bit seed derived from a few integers (run seed, step, device, purpose).

    Examples
    --------
    >>> from stellarfm.pretraining.data import derived_seed
    >>> derived_seed(0, 1) == derived_seed(0, 1) != derived_seed(1, 0)
    True
    """
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)


def batch_indices(length: int, *, seed: int, step: int, batch_size: int) -> np.ndarray:
    """Draw the indices of the images of a step, uniformly and with replacement.

    Parameters
    ----------
    length : int
        Number of images of the dataset.
    seed, step : int
        Seed of the run, and the step; they determine the result.
    batch_size : int
        Number of images per step.

    Returns
    -------
    numpy.ndarray
        Integers, shape (batch_size,).

    Examples
    --------
    >>> from stellarfm.pretraining.data import batch_indices
    >>> batch_indices(1000, seed=0, step=5, batch_size=3).shape
    (3,)
    """
    return np.random.default_rng([seed, step]).integers(length, size=batch_size)


class _TorchDataset(Dataset):
    """A `PretrainingDataset` as torch expects it: images, or only their indices, optionally with labels."""

    def __init__(self, dataset: PretrainingDataset, *, labelled: bool, indices_only: bool) -> None:
        self.dataset = dataset
        self.labelled = labelled
        self.indices_only = indices_only

    def __getitem__(self, index: int) -> Any:
        index = int(index)
        item = torch.tensor(index) if self.indices_only else torch.from_numpy(self.dataset.image(index))
        if not self.labelled:
            return item
        assert isinstance(self.dataset, LabelledDataset)
        return item, torch.from_numpy(self.dataset.label(index))


class _StepSampler(Sampler[list[int]]):
    """Indices of each step; it has no length, so that a resumed run may start at any step."""

    def __init__(self, length: int, seed: int, batch_size: int, first: int, last: int, share: tuple[int, int]) -> None:
        self.length = length
        self.seed = seed
        self.batch_size = batch_size
        self.steps = range(first, last)
        self.share = share

    def __iter__(self) -> Iterator[list[int]]:
        rank, devices = self.share
        for step in self.steps:
            indices = batch_indices(self.length, seed=self.seed, step=step, batch_size=self.batch_size)
            yield np.array_split(indices, devices)[rank].tolist()


def image_loader(
    dataset: PretrainingDataset,
    *,
    seed: int,
    batch_size: int,
    steps: tuple[int, int],
    workers: int = 0,
    share: tuple[int, int] = (0, 1),
    labelled: bool = False,
    indices_only: bool = False,
) -> DataLoader:
    """Return a loader of the batches of a range of steps, in order.

    Parameters
    ----------
    dataset : PretrainingDataset
        Source of the images.
    seed, batch_size : int
        See `batch_indices`.
    steps : tuple of int
        First step, and the one after the last.
    workers : int
        Number of processes that render ahead; 0 renders in this process. The images do not depend on it.
    share : tuple of int
        Rank of this device and number of devices; each gets an equal part of every batch.
    labelled : bool
        Return pairs of images and labels, shape (B, n_labels).
    indices_only : bool
        Return indices, shape (B,), instead of images, shape (B, channels, size, size).

    Returns
    -------
    torch.utils.data.DataLoader
        One batch per step.
    """
    return DataLoader(
        _TorchDataset(dataset, labelled=labelled, indices_only=indices_only),
        batch_sampler=_StepSampler(len(dataset), seed, batch_size, *steps, share),
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        worker_init_fn=_use_one_thread,
    )


def _use_one_thread(worker: int) -> None:
    """Keep a rendering worker from competing with the training for cores."""
    torch.set_num_threads(1)


class Batches:
    """Batches of a run, made by worker processes or on the training device.

    Parameters
    ----------
    dataset : PretrainingDataset
        Source of the images.
    recipe : Recipe
        Recipe with the seed, the batch size and the place where images are made.
    labelled : bool
        Whether the method needs labels.

    Raises
    ------
    PretrainingError
        If labels are needed but the dataset has none.
    """

    def __init__(self, dataset: PretrainingDataset, recipe: Recipe, *, labelled: bool = False) -> None:
        if labelled and not isinstance(dataset, LabelledDataset):
            raise PretrainingError(
                f"the method learns from labels, but the dataset {type(dataset).__name__} has none; "
                "use a dataset with labels, e.g. mapset"
            )
        self.dataset = dataset
        self.recipe = recipe
        self.labelled = labelled

    @property
    def label_names(self) -> tuple[str, ...]:
        """Names of the labels; empty if the method needs none."""
        return self.dataset.label_names if self.labelled and isinstance(self.dataset, LabelledDataset) else ()

    def held_out(self) -> LabelledDataset | None:
        """Return the images that are never in a batch, for validation; None if there are none, or without labels."""
        return self.dataset.held_out() if self.labelled and isinstance(self.dataset, LabelledDataset) else None

    def made_on(self, device: torch.device) -> bool:
        """Return whether images are made on the training device."""
        if self.recipe.render == "auto":
            return device.type == "cuda" and type(self.dataset).images is not PretrainingDataset.images
        return self.recipe.render == "device"

    def loader(self, first: int, *, share: tuple[int, int], device: torch.device) -> DataLoader:
        """Return the loader of all batches from step `first` on; see `image_loader`."""
        on_device = self.made_on(device)
        return image_loader(
            self.dataset,
            seed=self.recipe.seed,
            batch_size=self.recipe.batch_size,
            steps=(first, self.recipe.steps),
            workers=0 if on_device else self.recipe.workers,
            share=share,
            labelled=self.labelled,
            indices_only=on_device,
        )

    def complete(self, batch: Any, device: torch.device) -> Any:
        """Return a batch of images on `device`, with its labels if there are any; make the images if necessary."""
        if not self.made_on(device):
            return batch
        indices, *labels = batch if self.labelled else (batch,)
        images = self.dataset.images(indices.tolist(), device=device)
        return (images, *labels) if labels else images
