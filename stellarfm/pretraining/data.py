"""Batches of images, each a pure function of (seed, step): a resumed run sees what an undisturbed one would."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from stellarfm.contracts import PretrainingDataset

__all__ = ["batch_indices", "derived_seed", "image_loader"]


def derived_seed(*numbers: int) -> int:
    """A 63-bit seed from a few numbers (run seed, step, device, purpose), well mixed."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)


def batch_indices(length: int, *, seed: int, step: int, batch_size: int) -> np.ndarray:
    """Indices of the images of a step, shape (batch_size,): drawn evenly, with replacement, from `length` images."""
    return np.random.default_rng([seed, step]).integers(length, size=batch_size)


class _Images(Dataset):
    """A `PretrainingDataset` as torch expects it."""

    def __init__(self, dataset: PretrainingDataset) -> None:
        self.dataset = dataset

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.from_numpy(self.dataset.image(int(index)))


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
    """
    sampler = _Steps(len(dataset), seed, batch_size, *steps, share)
    return DataLoader(
        _Images(dataset),
        batch_sampler=sampler,
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        worker_init_fn=_one_thread,
    )


def _one_thread(worker: int) -> None:
    """A worker renders; it must not compete with the training for cores."""
    torch.set_num_threads(1)
