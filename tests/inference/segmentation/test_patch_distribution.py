import numpy as np
import pytest

from stellarfm.exceptions import ModelError
from stellarfm.inference.segmentation.patch_distribution import PatchDistribution


@pytest.fixture
def patches():
    rng = np.random.default_rng(0)
    return rng.normal(size=(3000, 3)) @ rng.normal(size=(3, 10)) + 0.1 * rng.normal(size=(3000, 10))


def test_one_in_a_hundred_of_the_reference_is_above_one(patches):
    summary = PatchDistribution.fit(patches, n_components=3)
    assert np.mean(summary.score(patches) > 1) == pytest.approx(0.01, abs=0.002)


def test_is_the_mahalanobis_distance(patches):
    summary = PatchDistribution.fit(patches, n_components=3)
    covariance = summary.components.T @ np.diag(summary.variance - summary.noise) @ summary.components
    precision = np.linalg.inv(covariance + summary.noise * np.eye(10))
    centred = patches[:20] - patches.mean(axis=0)
    expected = np.sqrt(np.einsum("ij,jk,ik->i", centred, precision, centred)) / summary.threshold
    np.testing.assert_allclose(summary.score(patches[:20]), expected, rtol=1e-4)


def test_a_direction_the_reference_lacks_is_unlike_it(patches):
    summary = PatchDistribution.fit(patches, n_components=3)
    strange = np.linalg.svd(summary.components)[2][-1]
    assert summary.score(summary.mean + 3 * strange) > 5


def test_shape_of_the_input_is_kept(patches):
    assert PatchDistribution.fit(patches).score(patches[:24].reshape(2, 3, 4, 10)).shape == (2, 3, 4)


def test_a_collapsed_encoder_is_named():
    with pytest.raises(ModelError, match="collapsed"):
        PatchDistribution.fit(np.ones((50, 4)))


def test_few_patches():
    patches = np.random.default_rng(0).normal(size=(3, 10))
    assert np.all(np.isfinite(PatchDistribution.fit(patches).score(patches)))
