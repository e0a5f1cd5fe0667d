import numpy as np
import pytest
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.metrics import r2_score
from sklearn.neighbors import KNeighborsRegressor
from sklearn.svm import SVR

from stellarfm.exceptions import ModelError
from stellarfm.inference import ForestHead, KNNHead, SVRHead
from stellarfm.inference.masses.heads.whitening import Whitening

HEADS = [ForestHead(n_trees=20), KNNHead(), SVRHead(n_components=4)]


@pytest.fixture
def data():
    """Log mass is one feature of ten; three windows per star."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(300, 10)).astype(np.float32)
    stars = np.repeat(np.arange(100), 3)
    features[:, 3] = np.repeat(features[::3, 3], 3) + 0.05 * rng.normal(size=300)
    return features, np.repeat(features[::3, 3], 3).astype(float), stars


@pytest.mark.parametrize("head", HEADS, ids=lambda head: type(head).__name__)
class TestAllHeads:
    def test_weights_sum_to_one_and_are_positive(self, head, data):
        features, log_mass, stars = data
        weights = clone(head).fit(features, log_mass, stars=stars).weights(features[:7] + 0.1)
        assert weights.shape == (7, 300)
        assert np.all(weights >= 0)
        np.testing.assert_allclose(weights.sum(axis=1), 1)

    def test_arrays_hold_the_whole_state(self, head, data):
        features, log_mass, stars = data
        fitted = clone(head).fit(features, log_mass, stars=stars)
        arrays = fitted.to_arrays()
        assert all(values.dtype.kind in "if" for values in arrays.values())
        again = clone(head).from_arrays(arrays)
        np.testing.assert_array_equal(fitted.predict(features + 0.1), again.predict(features + 0.1))
        np.testing.assert_array_equal(fitted.weights(features[:9]), again.weights(features[:9]))

    def test_fitting_twice_gives_the_same(self, head, data):
        features, log_mass, stars = data
        one, other = (clone(head).fit(features, log_mass, stars=stars).predict(features + 0.1) for _ in range(2))
        np.testing.assert_array_equal(one, other)

    def test_options_are_stored_only(self, head):
        assert clone(head).get_params() == head.get_params()

    @pytest.mark.parametrize(
        ("change", "match"),
        [
            (lambda x, y, s: (x, np.where(y > 0, np.nan, y), s), "missing or not positive"),
            (lambda x, y, s: (x, y[:-1], s), "one of each per window"),
            (lambda x, y, s: (0 * x, y, s), "do not vary"),
            (lambda x, y, s: (np.where(x > 2, np.nan, x), y, s), "not finite"),
        ],
    )
    def test_invalid_reference_sets(self, head, data, change, match):
        features, log_mass, stars = change(*data)
        with pytest.raises(ModelError, match=match):
            clone(head).fit(features, log_mass, stars=stars)

    def test_features_of_another_length(self, head, data):
        features, log_mass, stars = data
        fitted = clone(head).fit(features, log_mass, stars=stars)
        with pytest.raises(ModelError, match="expected"):
            fitted.predict(features[:, :4])


def test_the_forest_is_that_of_scikit_learn(data):
    features, log_mass, _ = data
    ours = ForestHead(n_trees=15, min_samples_leaf=3, max_features=0.5, seed=4).fit(features, log_mass)
    theirs = ExtraTreesRegressor(15, min_samples_leaf=3, max_features=0.5, random_state=4).fit(features, log_mass)
    new = np.random.default_rng(1).normal(size=(400, 10)).astype(np.float32)
    np.testing.assert_allclose(ours.predict(new), theirs.predict(new), rtol=1e-12)
    np.testing.assert_array_equal(ours.apply(new) - ours.root_, theirs.apply(new))
    np.testing.assert_allclose(ours.weights(new) @ log_mass, ours.predict(new))


def test_forest_weights_are_shares_of_leaves(data):
    features, log_mass, _ = data
    head = ForestHead(n_trees=8).fit(features, log_mass)
    same = head.apply(features[:5])[:, None] == head.leaf_
    expected = (same / same.sum(axis=1, keepdims=True)).mean(axis=2)
    np.testing.assert_allclose(head.weights(features[:5]), expected)


def test_neighbors_vote_with_weights_that_predict(data):
    features, log_mass, stars = data
    head = KNNHead(n_neighbors=4, n_components=3).fit(features, log_mass, stars=stars)
    weights = head.weights(features + 0.1)
    assert np.all((weights > 0).sum(axis=1) == 4)
    np.testing.assert_allclose(weights @ log_mass, head.predict(features + 0.1))


def test_the_defaults_are_the_published_pipeline(data):
    features, log_mass, _ = data
    pca = PCA(whiten=True).fit(features)
    theirs = KNeighborsRegressor(5, weights="distance").fit(pca.transform(features), log_mass)
    ours = KNNHead().fit(features, log_mass).predict(features + 0.1)
    np.testing.assert_allclose(ours, theirs.predict(pca.transform(features + 0.1)), rtol=1e-4, atol=1e-6)


def test_copies_of_a_star_have_all_votes_or_one(data):
    features, log_mass, stars = data
    copies = np.concatenate([np.zeros(100, int), np.arange(300)])
    near = features[:1] + 0.001
    by_window = KNNHead(vote_by="window").fit(features[copies], log_mass[copies], stars=stars[copies])
    by_star = KNNHead(vote_by="star").fit(features[copies], log_mass[copies], stars=stars[copies])
    assert len(set(stars[copies][by_window.weights(near)[0] > 0])) == 1
    assert len(set(stars[copies][by_star.weights(near)[0] > 0])) == 5


def test_a_kernel_follows_a_trend_beyond_the_mean_of_neighbors():
    rng = np.random.default_rng(1)
    features = rng.normal(size=(300, 3))
    log_mass = features[:, 0] + 0.1 * rng.normal(size=300)
    far = np.argsort(np.abs(features[:, 0]))[-60:]
    near = np.setdiff1d(np.arange(300), far[::2])
    slopes = [
        np.polyfit(log_mass[far[::2]], head.fit(features[near], log_mass[near]).predict(features[far[::2]]), 1)[0]
        for head in (SVRHead(n_components=3), KNNHead(n_components=3, n_neighbors=20))
    ]
    assert slopes[0] > slopes[1] + 0.1


def test_blocks_are_whitened_separately():
    rng = np.random.default_rng(0)
    informative, noise = rng.normal(size=(200, 2)), 1e3 * rng.normal(size=(200, 50))
    features, log_mass = np.concatenate([noise, informative], axis=1), informative[:, 0]

    def r2(blocks=None, **options):
        head = KNNHead(n_components=2, **options).fit(features[:150], log_mass[:150], blocks=blocks)
        return r2_score(log_mass[150:], head.predict(features[150:]))

    assert r2(blocks=(50, 2)) > r2() + 0.2
    assert r2(blocks=(50, 2), block_weights=(0.0, 1.0)) > 0.8


def test_a_star_votes_once(data):
    features, log_mass, stars = data
    head = KNNHead(n_neighbors=5, vote_by="star").fit(features, log_mass, stars=stars)
    by_star = np.stack([np.bincount(stars, row > 0) for row in head.weights(features + 0.1)])
    assert by_star.max() == 1
    with pytest.raises(ModelError, match="choose 'window' or 'star'"):
        KNNHead(vote_by="sun").fit(features, log_mass)


def test_whitening_is_that_of_scikit_learn(data):
    features, *_ = data
    ours = Whitening.fit(features, n_components=4).transform(features)
    theirs = PCA(4, whiten=True, svd_solver="full").fit_transform(features.astype(float))
    np.testing.assert_allclose(np.abs(ours), np.abs(theirs), atol=1e-8)


def test_blocks_have_equal_variance_whatever_their_units(data):
    features, *_ = data
    scaled = features * np.where(np.arange(10) < 6, 1000, 1)
    whitened = Whitening.fit(scaled, blocks=(6, 4), n_components=3, block_weights=(1, 2))
    variance = whitened.transform(scaled).var(axis=0, ddof=1)
    np.testing.assert_allclose(variance, [1 / 3] * 3 + [4 / 3] * 3, rtol=1e-6)
    assert not whitened.matrix[:6, 3:].any()
    with pytest.raises(ModelError, match="do not consist of 2 blocks"):
        Whitening.fit(features, blocks=(6, 5))


def test_standardized_features_ignore_units(data):
    features, *_ = data
    one = Whitening.fit(features, standardize=True).transform(features)
    other = Whitening.fit(features * np.geomspace(1, 1e6, 10), standardize=True)
    np.testing.assert_allclose(np.abs(one), np.abs(other.transform(features * np.geomspace(1, 1e6, 10))), atol=1e-6)


def test_directions_without_variance_are_dropped(data):
    features, *_ = data
    doubled = np.concatenate([features, features, np.ones((300, 2), np.float32)], axis=1)
    assert Whitening.fit(doubled).matrix.shape == (22, 10)
    assert Whitening.fit(features[:4]).matrix.shape == (10, 3)


def test_the_regression_is_that_of_scikit_learn(data):
    features, log_mass, _ = data
    head = SVRHead(C=2, epsilon=0.05, gamma=0.5, n_components=5).fit(features, log_mass)
    theirs = SVR(C=2, epsilon=0.05, gamma=head.gamma_).fit(head.components_, log_mass)
    new = features + 0.1
    np.testing.assert_allclose(head.predict(new), theirs.predict(head.whitening_.transform(new)), atol=1e-9)
    assert head.gamma_ == pytest.approx(0.5 / 5, rel=0.01)


def test_far_from_all_the_nearest_window_has_weight(data):
    features, log_mass, _ = data
    weights = SVRHead().fit(features, log_mass).weights(features[:2] + 1e4)
    assert np.all(np.isfinite(weights))
