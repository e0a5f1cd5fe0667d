"""The residual network as an encoder."""

import pytest
import torch

from stellarfm.encoders.resnet import ResNet18


@pytest.fixture(scope="module")
def encoder() -> ResNet18:
    torch.manual_seed(0)
    return ResNet18().eval()


@pytest.mark.parametrize("side", [32, 64])
def test_patches_have_a_stride_of_eight(encoder, side):
    image, patches = encoder.encode(torch.rand(2, 3, side, side))
    assert image.shape == (2, 512)
    assert patches.shape == (2, side // 8, side // 8, 512)
    torch.testing.assert_close(image, patches.mean(dim=(1, 2)))


def test_it_cannot_hide_patches(encoder):
    assert not encoder.maskable
    with pytest.raises(ValueError, match="cannot hide patches"):
        encoder.encode(torch.rand(1, 3, 32, 32), mask=torch.zeros(1, 4, 4, dtype=torch.bool))


def test_a_side_that_is_no_multiple_is_refused(encoder):
    with pytest.raises(ValueError, match="multiple of 8"):
        encoder.encode(torch.rand(1, 3, 30, 30))
