"""Batches through the torch path, on the CPU: they must be the images that are made one by one."""

import numpy as np
import pytest
import torch

from stellarfm.exceptions import FractalError
from stellarfm.fractals import FlameDataset, FractalDBDataset
from stellarfm.fractals.batch_search import render_images
from stellarfm.fractals.datasets import GenomeDataset
from stellarfm.fractals.export.generation import GenerationTask, generate

INDICES = [4, 0, 9]


@pytest.mark.parametrize(
    "dataset",
    [
        FlameDataset(size=16, seed=3),
        FlameDataset(size=16, channels=1, gamma=1.5),
        FlameDataset(size=16, colour="flame", threshold=0.5),
        FractalDBDataset(size=16),
    ],
    ids=lambda dataset: f"{dataset.sampler}-{dataset.colour}-{dataset.channels}",
)
def test_batches_are_the_images_one_by_one(dataset):
    batch = render_images(dataset, INDICES, device="cpu")
    expected = [dataset.render(index) for index in INDICES]
    assert batch.genomes == [item.genome for item in expected]
    assert batch.attempts == [item.attempts for item in expected]
    assert batch.images.dtype == torch.float32
    np.testing.assert_allclose(batch.images.numpy(), [item.image for item in expected], atol=1e-6)


def test_the_contract_gives_the_same_on_the_cpu():
    dataset = FlameDataset(size=16)
    batch = dataset.images(INDICES, device="cpu")
    np.testing.assert_array_equal(batch.numpy(), [dataset.image(index) for index in INDICES])


def test_what_a_batch_costs_covers_every_candidate():
    batch = render_images(FlameDataset(size=16), INDICES, device="cpu")
    for attempts, renders in zip(batch.attempts, batch.renders, strict=True):
        assert 1 <= renders <= 4 + attempts


def test_given_genomes_are_rendered_untested():
    dataset = GenomeDataset(genomes=tuple(FlameDataset().genome(index) for index in range(3)), size=16)
    batch = render_images(dataset, range(3), device="cpu")
    assert batch.images.shape == (3, 3, 16, 16)
    assert batch.renders == [1.0, 1.0, 1.0]


def test_a_hopeless_threshold_ends_in_an_error():
    dataset = FlameDataset(size=16, points=256, threshold=1.0, attempts=6)
    with pytest.raises(FractalError, match="none of 6 flames genomes"):
        render_images(dataset, [0, 1], device="cpu")


def test_an_index_out_of_range():
    with pytest.raises(IndexError, match="expected 0 to 4"):
        render_images(FlameDataset(size=16, count=5), [2, 5], device="cpu")


@pytest.mark.parametrize("workers", [1, 2])
def test_production_on_a_device_gives_the_same_files(monkeypatch, workers):
    monkeypatch.setattr("stellarfm.fractals.export.generation._check_device", lambda device: None)
    job = GenerationTask(FlameDataset(size=16), bytes, shown=3)
    found = list(generate(job, count=3, workers=workers, device="cpu:0"))
    assert [encoded.genome for encoded in found] == [job(index).genome for index in range(3)]
    assert [encoded.index for encoded in found] == [0, 1, 2]
