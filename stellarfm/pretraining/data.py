"""Batches of images, each a pure function of (seed, step): a resumed run sees what an undisturbed one would."""

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
    """A 63-bit seed from a few numbers (run seed, step, device, purpose), well mixed."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)


def batch_indices(length: int, *, seed: int, step: int, batch_size: int) -> np.ndarray:
    """Indices of the images of a step, shape (batch_size,): drawn evenly, with replacement, from `length` images."""
    return np.random.default_rng([seed, step]).integers(length, size=batch_size)


class _Items(Dataset):
    """A `PretrainingDataset` as torch expects it: images, or only their indices; with labels if wanted."""

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


class _Steps(Sampler[list[int]]):
    """Indices step by step; without a length, so that a resumed run may start anywhere."""

    def __init__(self, length: int, seed: int, batch_size: int, first: int, last: int, share: tuple[int, int]) -> None:
        self.length = length
        self.seed = seed
        self.batch_size = batch_size
        self.steps = range(first, last)
        self.share = share

    def __iter__(self) -> Iterator[list[int]]:
        device, devices = self.share
        for step in self.steps:
            indices = batch_indices(self.length, seed=self.seed, step=step, batch_size=self.batch_size)
            yield np.array_split(indices, devices)[device].tolist()


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
    """Batches (B, channels, size, size) of the steps from ``steps[0]`` up to ``steps[1]``, in order.

    Parameters
    ----------
    dataset : PretrainingDataset
        Where images come from.
    seed, batch_size : int
        See `batch_indices`.
    steps : tuple of int
        First step, and the one after the last.
    workers : int
        Processes that render ahead; 0 for none. The images do not depend on it.
    share : tuple of int
        Number of this device and of all devices: each gets its part of every batch.
    labelled : bool
        Give pairs of images and labels (B, numbers).
    indices_only : bool
        Give indices (B,) in place of images, which are then made elsewhere.
    """
    return DataLoader(
        _Items(dataset, labelled=labelled, indices_only=indices_only),
        batch_sampler=_Steps(len(dataset), seed, batch_size, *steps, share),
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        worker_init_fn=_one_thread,
    )


def _one_thread(worker: int) -> None:
    """A worker renders; it must not compete with the training for cores."""
    torch.set_num_threads(1)


class Batches:
    """The batches of a run, made beside the training or on the device that trains.

    Parameters
    ----------
    dataset : PretrainingDataset
        Where images come from.
    recipe : Recipe
        Which, how many, and where they are made.
    labelled : bool
        Whether each comes with its labels.

    Raises
    ------
    PretrainingError
        If labels are wanted of a dataset that has none.
    """

    def __init__(self, dataset: PretrainingDataset, recipe: Recipe, *, labelled: bool = False) -> None:
        if labelled and not isinstance(dataset, LabelledDataset):
            raise PretrainingError(
                f"the method learns from labels, the dataset {type(dataset).__name__} has none; take one with labels, "
                "e.g. mapset"
            )
        self.dataset = dataset
        self.recipe = recipe
        self.labelled = labelled

    @property
    def label_names(self) -> tuple[str, ...]:
        """What the labels are; empty without any."""
        return self.dataset.label_names if self.labelled and isinstance(self.dataset, LabelledDataset) else ()

    def held_out(self) -> LabelledDataset | None:
        """Images that are never in a batch, to judge on; only for a method that learns from labels."""
        return self.dataset.held_out() if self.labelled and isinstance(self.dataset, LabelledDataset) else None

    def made_on(self, device: torch.device) -> bool:
        """Whether images are made on the device that trains."""
        if self.recipe.render == "auto":
            return device.type == "cuda" and type(self.dataset).images is not PretrainingDataset.images
        return self.recipe.render == "device"

    def loader(self, first: int, *, share: tuple[int, int], device: torch.device) -> DataLoader:
        """Batches of the steps from `first` on, or what `complete` makes batches of."""
        made = self.made_on(device)
        return image_loader(
            self.dataset,
            seed=self.recipe.seed,
            batch_size=self.recipe.batch_size,
            steps=(first, self.recipe.steps),
            workers=0 if made else self.recipe.workers,
            share=share,
            labelled=self.labelled,
            indices_only=made,
        )

    def complete(self, batch: Any, device: torch.device) -> Any:
        """A batch of images, with labels if there are any, on `device`."""
        if not self.made_on(device):
            return batch
        indices, *labels = batch if self.labelled else (batch,)
        images = self.dataset.images(indices.tolist(), device=device)
        return (images, *labels) if labels else images
