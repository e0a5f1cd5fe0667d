"""Frozen encoders by name."""

import torch

from stellarfm import registry
from stellarfm.fractals.datasets import FlameDataset
from stellarfm.inference.encoding.frozen_encoder import FrozenEncoder
from stellarfm.pretraining.methods.augmentations import standardize


def test_batch_norms_of_random_weights_have_the_statistics_of_flames():
    one, same, other = (FrozenEncoder.random("resnet10-shallow", image_size=64, seed=s).module for s in (0, 0, 1))
    first, second, third = (encoder.state_dict() for encoder in (one, same, other))
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    assert not torch.equal(first["backbone.bn1.running_mean"], third["backbone.bn1.running_mean"])
    flames = standardize(FlameDataset(size=64, seed=5).images(range(16), device="cpu"))
    with torch.no_grad():
        learning, using = (one.train(mode).encode(flames).image.std(dim=0).mean() for mode in (True, False))
    torch.testing.assert_close(using, learning, rtol=0.3, atol=0.0)


def test_an_encoder_of_more_channels_than_a_flame_has_settles_too(monkeypatch):
    create = registry.create

    def wider(kind, name, **options):
        return create(kind, name, **options, **({"in_channels": 5} if kind == "encoders" else {}))

    monkeypatch.setattr(registry, "create", wider)
    encoder = FrozenEncoder.random("resnet10-shallow", image_size=64).module
    assert encoder.in_channels == 5
    norm = encoder.backbone.bn1
    assert norm.running_mean.abs().min() > 0  # no longer those of a new norm
    assert (norm.running_var - 1).abs().min() > 0
