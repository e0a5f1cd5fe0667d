"""Batches are functions of (seed, step), whoever renders them."""

import numpy as np
import pytest
import torch

from stellarfm.contracts import LabelledDataset, PretrainingDataset
from stellarfm.exceptions import PretrainingError
from stellarfm.pretraining.data import Batches, batch_indices, derived_seed, image_loader
from stellarfm.pretraining.recipe import Recipe


class Numbers(PretrainingDataset):
    """Images that are their index."""

    def __init__(self, *, size=2, seed=0, channels=1):
        self.size = size

    def __len__(self):
        return 1000

    def image(self, index):
        return np.full((1, self.size, self.size), index, np.float32)


class Labelled(LabelledDataset):
    """Images that are their index, with its square as label; made in one go where they are wanted."""

    label_names = ("square",)

    def __init__(self, *, size=2, seed=0, channels=1):
        self.size = size
        self.asked = []

    def __len__(self):
        return 1000

    def image(self, index):
        return np.full((1, self.size, self.size), index, np.float32)

    def label(self, index):
        return np.array([index**2], np.float32)

    def images(self, indices, *, device):
        self.asked.append(list(indices))
        return super().images(indices, device=device)


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


CPU, GPU = torch.device("cpu"), torch.device("cuda")


def made(render, labelled):
    dataset = Labelled()
    source = Batches(dataset, Recipe(seed=3, batch_size=6, steps=4, workers=0, render=render), labelled=labelled)
    return dataset, [source.complete(batch, CPU) for batch in source.loader(0, share=(0, 1), device=CPU)]


def test_images_made_on_the_device_are_the_same_with_their_labels():
    asked, found = made("device", True)
    assert asked.asked == batches((0, 4))
    spared, expected = made("workers", True)
    assert not spared.asked
    for (images, labels), (others, more) in zip(found, expected, strict=True):
        assert torch.equal(images, others)
        assert torch.equal(labels, more)
        assert torch.equal(labels[:, 0], images[:, 0, 0, 0] ** 2)


def test_without_labels_a_batch_is_a_tensor():
    for render in ("workers", "device"):
        _, found = made(render, False)
        assert [batch[:, 0, 0, 0].long().tolist() for batch in found] == batches((0, 4))


def test_a_gpu_makes_the_images_if_the_dataset_can():
    auto, workers = Recipe(), Recipe(render="workers")
    assert Batches(Labelled(), auto).made_on(GPU)
    assert not Batches(Labelled(), auto).made_on(CPU)
    assert not Batches(Numbers(), auto).made_on(GPU)
    assert not Batches(Labelled(), workers).made_on(GPU)


def test_labels_of_a_dataset_without():
    with pytest.raises(PretrainingError, match=r"the dataset Numbers has none; use a dataset with labels, e.g. mapset"):
        Batches(Numbers(), Recipe(), labelled=True)
    assert Batches(Labelled(), Recipe(), labelled=True).label_names == ("square",)
    assert Batches(Labelled(), Recipe()).label_names == ()
