import numpy as np
import pytest
import torch

from stellarfm import registry
from stellarfm.contracts import Encoder, Features
from stellarfm.exceptions import ModelError
from stellarfm.inference.encoding.features import Readout, extract_patches, ring_index


class Means(torch.nn.Module, Encoder):
    """Patch features are the means of the patch; the image feature is the upper left pixel."""

    embed_dim, patch_size, in_channels = 3, 8, 3

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))
        self.modes = []

    def encode(self, images, *, mask=None):
        self.modes.append((self.training, torch.is_grad_enabled(), len(images)))
        patches = torch.nn.functional.avg_pool2d(images * self.weight, 8).permute(0, 2, 3, 1)
        return Features(images[:, :, 0, 0], patches)


def extract(encoder, images, *, pooling="class", batch_size=64, **options):
    return Readout(pooling=pooling, **options).extract(encoder, images, batch_size=batch_size)


@pytest.fixture
def images():
    return np.random.default_rng(0).normal(size=(5, 3, 32, 32)).astype(np.float32)


def test_encoder_is_evaluated_without_gradients_in_batches_and_left_as_it_was(images):
    encoder = Means().train()
    extract(encoder, images, batch_size=2)
    assert encoder.modes == [(False, False, 2), (False, False, 2), (False, False, 1)]
    assert encoder.training


def test_poolings(images):
    encoder = Means()
    np.testing.assert_allclose(extract(encoder, images), images[:, :, 0, 0])
    np.testing.assert_allclose(extract(encoder, images, pooling="mean"), images.mean(axis=(2, 3)), atol=1e-6)
    both = extract(encoder, images, pooling=("class", "rings"), n_rings=2)
    assert both.shape == (5, 9)
    assert both.dtype == np.float32
    np.testing.assert_allclose(both[:, 3:6], images[:, :, 8:24, 8:24].mean(axis=(2, 3)), atol=1e-6)


def test_rings_are_concentric():
    rings = ring_index(8, 4)
    np.testing.assert_array_equal(rings, rings.T)
    np.testing.assert_array_equal(rings, rings[::-1, ::-1])
    assert (rings == 0).sum() == 4
    assert rings[0, 0] == 3
    assert set(ring_index(2, 4).ravel()) == {0}
    assert set(ring_index(1, 4).ravel()) == {0}


def test_symmetries_make_features_invariant(images):
    encoder = Means()
    readout = Readout(pooling=("class", "rings"), symmetries=True, mirror=True)
    upright = readout.extract(encoder, images)
    turned = np.rot90(images, axes=(2, 3))[..., ::-1].copy()
    turned[:, 1] *= -1
    np.testing.assert_allclose(readout.extract(encoder, turned), upright, atol=1e-6)
    assert not np.allclose(extract(encoder, turned), extract(encoder, images))


def test_symmetries_are_the_eight_of_the_square(images):
    corners = images[:, :, [0, 0, -1, -1], [0, -1, 0, -1]].mean(axis=-1)
    np.testing.assert_allclose(extract(Means(), images, symmetries=True), corners, atol=1e-6)


def test_patches(images):
    patches = extract_patches(Means(), images, batch_size=2)
    assert patches.shape == (5, 4, 4, 3)
    np.testing.assert_allclose(patches[:, 0, 1], images[:, :, :8, 8:16].mean(axis=(2, 3)), atol=1e-6)


@pytest.mark.parametrize("name", ["dinov2-vit-tiny8", "resnet18"])
def test_built_in_encoders_do_not_depend_on_the_batch(images, name):
    encoder = registry.create("encoders", name, image_size=32)
    readout = {"pooling": ("class", "mean", "rings", "zooms")}
    np.testing.assert_allclose(
        extract(encoder, images, **readout), extract(encoder, images, **readout, batch_size=2), atol=1e-4
    )


def test_zooms_begin_with_the_rings_of_the_whole(images):
    readout = Readout(pooling=("rings", "zooms"), n_rings=2)
    both = readout.extract(Means(), images)
    rings, zooms = np.split(both, [6], axis=1)
    np.testing.assert_array_equal(zooms[:, :6], rings)
    assert readout.lengths(Means(), side=32) == (6, 18)


def test_zooms_of_one_are_rings(images):
    np.testing.assert_array_equal(
        extract(Means(), images, pooling="zooms", zooms=1), extract(Means(), images, pooling="rings")
    )


@pytest.mark.parametrize("side", [40, 64])
def test_zooms_see_a_round_pattern_from_all_sides_and_at_every_scale(side):
    offset = np.arange(side) - (side - 1) / 2
    radius = np.hypot(*np.meshgrid(offset, offset))
    power = np.tile(np.log2(radius), (1, 3, 1, 1)).astype(np.float32)  # the same at half the scale, less one
    options = {"pooling": "zooms", "n_rings": 2}
    found = extract(Means(), power, **options)
    np.testing.assert_allclose(extract(Means(), power, symmetries=True, **options), found, atol=1e-5)
    whole, half, quarter = found.reshape(3, 2, 3)
    np.testing.assert_allclose(whole[1] - half[1], 1, atol=0.02)  # the outer ring, where the pattern is smooth
    np.testing.assert_allclose(half[1] - quarter[1], 1, atol=0.05)


def test_the_last_zoom_sees_the_centre_only(images):
    readout = Readout(pooling="zooms", n_rings=2)
    painted = images.copy()
    painted[:, :, 11:21, 11:21] = 7  # the central quarter, 12 to 20, and the pixels that interpolation touches
    elsewhere = painted.copy()
    outside = np.ones((32, 32), dtype=bool)
    outside[11:21, 11:21] = False
    elsewhere[:, :, outside] += 5
    parts = [np.split(readout.extract(Means(), one), 3, axis=1) for one in (painted, elsewhere)]
    np.testing.assert_allclose(parts[0][2], 7, atol=1e-5)
    np.testing.assert_array_equal(parts[0][2], parts[1][2])
    assert not np.isclose(parts[0][0], parts[1][0]).all()
    assert not np.isclose(parts[0][1], parts[1][1]).all()


def test_a_zoom_into_less_than_two_pixels_is_refused(images):
    with pytest.raises(ModelError, match="zooms is 6 for windows of 32 pixels; the closest view must show 2"):
        extract(Means(), images, pooling="zooms", zooms=6)
    with pytest.raises(ModelError, match="zooms is 0; expected 1 or more"):
        Readout(pooling="zooms", zooms=0)


@pytest.mark.parametrize("pooling", ["token", (), ("class", "token")])
def test_unknown_pooling(pooling):
    with pytest.raises(ModelError, match="choose from class, mean, rings, zooms"):
        Readout(pooling=pooling)


@pytest.mark.parametrize("shape", [(2, 1, 32, 32), (2, 3, 30, 30), (0, 3, 32, 32), (3, 32, 32)])
def test_images_that_do_not_fit(shape):
    with pytest.raises(ModelError, match="expected"):
        extract(Means(), np.zeros(shape, dtype=np.float32))
