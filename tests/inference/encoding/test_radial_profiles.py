import numpy as np
import pytest

from stellarfm.inference.encoding.features import Readout
from stellarfm.inference.encoding.radial_profiles import N_RINGS, image_profiles, mean_and_scatter, ring_weights


@pytest.mark.parametrize("side", [32, 64, 65])
def test_rings_share_no_pixel_and_fill_the_inscribed_circle(side):
    weights = ring_weights((side, side))
    assert set(weights.sum(axis=0)) == {0.0, 1.0}
    assert weights.sum() == pytest.approx(np.pi / 4 * side**2, rel=0.02)
    assert np.all(weights.sum(axis=1) > 0)


def test_profiles_of_a_radial_image_are_its_profile():
    offset = np.arange(64) - 31.5
    radius = np.hypot(offset[:, None], offset[None, :])
    images = np.stack([np.stack([radius, np.full_like(radius, 2.0), -radius])])
    profiles = image_profiles(images).reshape(3, 2, N_RINGS)
    rings = ring_weights((64, 64))
    np.testing.assert_allclose(profiles[0, 0], (rings @ radius.ravel()) / rings.sum(axis=1))
    np.testing.assert_allclose(profiles[2, 0], -profiles[0, 0])
    np.testing.assert_allclose(profiles[1], [[2.0] * N_RINGS, [0.0] * N_RINGS], atol=1e-6)
    assert np.all(np.diff(profiles[0, 0]) > 0)


def test_missing_pixels_are_left_out():
    values = np.ones((1, 32, 32))
    values[0, :, :16] = np.nan
    mean, scatter = mean_and_scatter(values, ring_weights((32, 32)))
    np.testing.assert_allclose(mean, 1.0)
    np.testing.assert_allclose(scatter, 0.0, atol=1e-12)


def test_profiles_do_not_ask_the_encoder():
    images = np.random.default_rng(0).normal(size=(3, 3, 32, 32)).astype(np.float32)
    found = Readout(pooling="profiles").extract(None, images)
    np.testing.assert_allclose(found, image_profiles(images), rtol=1e-6)
