"""The first stages of a residual network as an encoder."""

import pytest
import torch

from stellarfm.encoders.resnet import ShallowResNet


@pytest.fixture(scope="module")
def encoder() -> ShallowResNet:
    torch.manual_seed(0)
    return ShallowResNet().eval()


@pytest.mark.parametrize("side", [16, 64])
def test_both_stages_lie_on_the_grid_of_the_second(encoder, side):
    image, patches = encoder.encode(torch.rand(2, 3, side, side))
    assert patches.shape == (2, side // 8, side // 8, encoder.embed_dim) == (2, side // 8, side // 8, 192)
    torch.testing.assert_close(image, patches.mean(dim=(1, 2)))


def test_brightness_reaches_the_features(encoder):
    """A ViT's layer norms take it away; masses need it."""
    window = torch.rand(1, 3, 64, 64)
    one, brighter = encoder.encode(torch.cat([window, window + 1.0])).image
    assert (brighter - one).norm() > 0.2 * one.norm()


def test_layers_hold_every_parameter_once(encoder):
    layers = [id(p) for layer in encoder.layers() for p in layer]
    assert sorted(layers) == sorted(id(p) for p in encoder.parameters())
    assert encoder.stem()[0].shape[1] == 3


def test_what_cannot_be_is_refused(encoder):
    with pytest.raises(ValueError, match="cannot hide patches"):
        encoder.encode(torch.rand(1, 3, 32, 32), mask=torch.zeros(1, 4, 4, dtype=torch.bool))
    with pytest.raises(ValueError, match="multiple of 8"):
        encoder.encode(torch.rand(1, 3, 30, 30))
