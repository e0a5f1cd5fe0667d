import numpy as np
import pytest

from stellarfm.exceptions import MapError
from stellarfm.inference.segmentation.clustering import PatchClusters


@pytest.fixture
def patches():
    """Three kinds of patches, the second the densest; features turned by a random rotation."""
    rng = np.random.default_rng(0)
    kind = rng.permutation(np.repeat([0, 1, 2], 80))
    tracers = np.column_stack([np.array([21.0, 23.0, 22.0])[kind], rng.normal(size=240), rng.normal(size=240)])
    rotation = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    X = np.column_stack([5 * tracers[:, 0], 0.5 * tracers[:, 1:], 0.01 * rng.normal(size=(240, 3))]) @ rotation
    return X, tracers, kind


def test_segments_are_ordered_by_column_density(patches):
    X, tracers, kind = patches
    clusters = PatchClusters(n_segments=3).fit(X, tracers)
    labels, confidence = clusters.assign(clusters.transform(X))
    np.testing.assert_array_equal(labels, np.array([1, 3, 2])[kind])
    assert labels.dtype == np.int16
    assert confidence.dtype == np.float32
    assert np.all((confidence >= 0) & (confidence <= 1))
    assert np.median(confidence) > 0.8


def test_components_rise_with_the_maps_whatever_the_sign_of_the_features(patches):
    X, tracers, _ = patches
    one, other = (PatchClusters(n_segments=3).fit(sign * X, tracers) for sign in (1, -1))
    np.testing.assert_allclose(one.transform(X)[:, :3], other.transform(-X)[:, :3], atol=1e-9)
    for component in range(3):
        assert np.corrcoef(one.transform(X)[:, component], tracers[:, component])[0, 1] > 0


def test_same_seed_same_segments(patches):
    X, tracers, _ = patches
    one, other = (PatchClusters(n_segments=5, seed=3).fit(X, tracers) for _ in range(2))
    np.testing.assert_array_equal(one.centers_, other.centers_)


def test_confidence_is_zero_on_a_border(patches):
    X, tracers, _ = patches
    clusters = PatchClusters(n_segments=3).fit(X, tracers)
    on_border = clusters.centers_[:2].mean(axis=0)
    assert clusters.assign(on_border[None])[1][0] == pytest.approx(0, abs=1e-6)
    assert clusters.assign(clusters.centers_)[1] == pytest.approx(1)


@pytest.mark.parametrize("n_segments", [0, 1, 241])
def test_impossible_numbers_of_segments(patches, n_segments):
    X, tracers, _ = patches
    with pytest.raises(MapError, match="240 usable patches"):
        PatchClusters(n_segments=n_segments).fit(X, tracers)
