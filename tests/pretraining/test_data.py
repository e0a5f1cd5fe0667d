"""Batches are functions of (seed, step), whoever renders them."""

import numpy as np
import pytest
import torch

from stellarfm.contracts import PretrainingDataset
from stellarfm.pretraining.data import batch_indices, derived_seed, image_loader


class Numbers(PretrainingDataset):
    """Images that are their index."""

    def __init__(self, *, size=2, seed=0, channels=1):
        self.size = size

    def __len__(self):
        return 1000

    def image(self, index):
        return np.full((1, self.size, self.size), index, np.float32)


def batches(steps=(0, 5), **options):
    loader = image_loader(Numbers(), seed=3, batch_size=6, steps=steps, **options)
    return [batch[:, 0, 0, 0].long().tolist() for batch in loader]


def test_a_batch_is_a_function_of_seed_and_step():
    assert batches() == [batch_indices(1000, seed=3, step=s, batch_size=6).tolist() for s in range(5)]


def test_starting_later_gives_the_same_batches():
    assert batches((3, 5)) == batches()[3:]


def test_workers_change_nothing():
    assert batches(workers=1) == batches()


def test_devices_share_each_batch():
    parts = [batches(share=(device, 2)) for device in range(2)]
    assert [a + b for a, b in zip(*parts, strict=True)] == batches()


def test_indices_cover_the_dataset_evenly():
    drawn = np.concatenate([batch_indices(10, seed=0, step=s, batch_size=100) for s in range(100)])
    assert np.bincount(drawn, minlength=10) == pytest.approx(1000, abs=150)


def test_derived_seeds_differ_and_fit_torch():
    seeds = {derived_seed(seed, step, purpose) for seed in range(5) for step in range(20) for purpose in range(2)}
    assert len(seeds) == 200
    torch.Generator().manual_seed(max(seeds))
