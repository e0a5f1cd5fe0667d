"""Batch norms and the statistics they begin with."""

import pytest
import torch

from stellarfm.encoders.batch_norm import calibrate_batch_norms
from stellarfm.encoders.resnet import ShallowResNet


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    return ShallowResNet().train()


@pytest.fixture
def images():
    return 0.3 + torch.rand(48, 3, 32, 32)


def scatter(encoder, images):
    with torch.no_grad():
        return encoder.encode(images).image.std(dim=0).mean()


def test_features_are_those_of_a_training(encoder, images):
    learning = scatter(encoder, images)
    calibrate_batch_norms(encoder, images.split(12))
    assert scatter(encoder.eval(), images) == pytest.approx(float(learning), rel=0.1)


def test_without_it_they_are_not(encoder, images):
    learning = scatter(encoder, images)
    torch.manual_seed(0)
    assert scatter(ShallowResNet().eval(), images) < 0.7 * learning


def test_statistics_are_the_mean_of_the_batches(encoder, images):
    before = encoder.training
    calibrate_batch_norms(encoder, images.split(12))
    norm = next(part for part in encoder.modules() if isinstance(part, torch.nn.BatchNorm2d))
    first = next(iter(encoder.backbone["conv1"].children()))
    with torch.no_grad():
        expected = torch.stack([first(part).mean(dim=(0, 2, 3)) for part in images.split(12)]).mean(dim=0)
    torch.testing.assert_close(norm.running_mean, expected)
    assert (norm.momentum, encoder.training) == (0.1, before)


def test_what_is_frozen_keeps_its_statistics(encoder, images):
    encoder.eval()
    state = {name: value.clone() for name, value in encoder.state_dict().items()}
    calibrate_batch_norms(encoder, images.split(12))
    assert all(torch.equal(value, state[name]) for name, value in encoder.state_dict().items())
