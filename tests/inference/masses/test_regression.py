import numpy as np
import pytest
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.neighbors import KNeighborsRegressor

from stellarfm.exceptions import ModelError
from stellarfm.inference import MassRegressor


@pytest.fixture
def windows():
    """Features in which the first direction tells the mass: 30 stars, 4 views each."""
    rng = np.random.default_rng(0)
    stars = np.repeat(np.arange(30), 4)
    log_mass = np.repeat(rng.uniform(-1, 1, 30), 4)
    X = np.column_stack([log_mass, rng.normal(size=(120, 2))]) + 0.01 * rng.normal(size=(120, 3))
    return X, 10**log_mass, stars


def test_is_the_published_pipeline(windows):
    X, mass, _ = windows
    pca = PCA(whiten=True).fit(X)
    theirs = KNeighborsRegressor(5, weights="distance").fit(pca.transform(X), np.log10(mass))
    queries = X + 0.1
    ours = MassRegressor(n_components=None, n_neighbors=5, neighbours="windows").fit(X, mass).predict(queries)
    np.testing.assert_allclose(ours, 10 ** theirs.predict(pca.transform(queries)), rtol=1e-6)


def test_learns_mass_from_features(windows):
    X, mass, stars = windows
    assert MassRegressor().fit(X[:80], mass[:80], stars=stars[:80]).score(X[80:], mass[80:]) > 0.5


def test_stars_vote_once_each(windows):
    X, mass, stars = windows
    copies = np.concatenate([np.full(500, 0), np.arange(120)])  # one window seen 501 times
    crowded = MassRegressor(neighbours="stars").fit(X[copies], mass[copies], stars=stars[copies])
    by_window = MassRegressor(neighbours="windows").fit(X[copies], mass[copies], stars=stars[copies])
    beside = X[:1] + 0.001
    assert by_window.predict_log_mass(beside).spread[0] == pytest.approx(0, abs=1e-9)
    assert crowded.predict_log_mass(beside).spread[0] > 0.01


def test_excluded_star_does_not_vote(windows):
    X, mass, stars = windows
    fitted = MassRegressor().fit(X, mass, stars=stars)
    np.testing.assert_allclose(fitted.predict(X), mass, rtol=1e-3)
    assert np.all(fitted.predict_log_mass(X, exclude=stars).distance > fitted.predict_log_mass(X).distance)


def test_directions_without_variance_are_not_whitened(windows):
    X, mass, _ = windows
    padded = np.column_stack([X, X[:, :1], np.ones(120)])
    fitted = MassRegressor(n_components=None).fit(padded, mass)
    assert fitted.components_.shape[1] == 3
    np.testing.assert_allclose(fitted.components_.std(axis=0, ddof=1), 1)


def test_standardise_makes_units_of_features_irrelevant(windows):
    X, mass, _ = windows
    options = {"n_components": 2, "standardise": True}
    first = MassRegressor(**options).fit(X, mass).predict(X + 0.1)
    second = MassRegressor(**options).fit(X * [1, 1e3, 1], mass).predict((X + 0.1) * [1, 1e3, 1])
    np.testing.assert_allclose(first, second, rtol=1e-6)


def test_fewer_windows_than_components():
    rng = np.random.default_rng(0)
    fitted = MassRegressor().fit(rng.normal(size=(4, 100)), np.ones(4))
    assert fitted.components_.shape == (4, 3)


def test_a_collapsed_encoder_is_named():
    with pytest.raises(ModelError, match="do not vary"):
        MassRegressor().fit(np.ones((5, 3)), np.ones(5))


def test_clone_keeps_options():
    assert clone(MassRegressor(n_neighbors=3, neighbours="stars")).get_params()["neighbours"] == "stars"


@pytest.mark.parametrize(
    ("mass", "options", "match"),
    [
        ([1, 2, 0], {}, "not positive"),
        ([1, 2, np.nan], {}, "not positive"),
        ([1, 2], {}, "expected one each"),
        ([1, 2, 3], {"neighbours": "all"}, "choose 'windows' or 'stars'"),
    ],
)
def test_refuses(mass, options, match):
    with pytest.raises(ModelError, match=match):
        MassRegressor(**options).fit(np.eye(3), mass)


def test_blocks_are_whitened_on_their_own():
    rng = np.random.default_rng(0)
    told, noise = rng.normal(size=(200, 2)), 1e3 * rng.normal(size=(200, 50))
    X, mass = np.concatenate([noise, told], axis=1), 10 ** told[:, 0]
    options = {"n_neighbors": 5, "n_components": 2, "neighbours": "windows"}
    whole = MassRegressor(**options).fit(X[:150], mass[:150])
    parts = MassRegressor(**options, blocks=(50, 2)).fit(X[:150], mass[:150])
    assert parts.components_.shape == (150, 4)
    np.testing.assert_allclose(parts.components_.var(axis=0, ddof=1), 0.5)
    assert parts.score(X[150:], mass[150:]) > whole.score(X[150:], mass[150:]) + 0.2
    told_alone = MassRegressor(**options, blocks=(50, 2), block_weights=(0.0, 1.0)).fit(X[:150], mass[:150])
    assert told_alone.score(X[150:], mass[150:]) > 0.8


@pytest.mark.parametrize("wrong", [{"blocks": (3, 3)}, {"blocks": (2, 3), "block_weights": (1.0,)}])
def test_blocks_must_fit(wrong):
    with pytest.raises(ModelError, match="do not consist of"):
        MassRegressor(**wrong).fit(np.eye(5), np.arange(1.0, 6.0))


def test_the_kernel_follows_a_trend_beyond_the_mean_of_neighbours():
    rng = np.random.default_rng(1)
    X = rng.normal(size=(300, 3))
    log_mass = X[:, 0] + 0.1 * rng.normal(size=300)
    far = np.argsort(np.abs(X[:, 0]))[-60:]
    near = np.setdiff1d(np.arange(300), far[::2])
    slopes = {}
    for head in ("neighbours", "kernel"):
        regressor = MassRegressor(n_components=3, neighbours="windows", head=head).fit(X[near], 10 ** log_mass[near])
        slopes[head] = np.polyfit(log_mass[far[::2]], regressor.predict_log_mass(X[far[::2]]).value, 1)[0]
    assert slopes["kernel"] > slopes["neighbours"] + 0.1


def test_an_unknown_head_is_refused():
    with pytest.raises(ModelError, match="choose 'neighbours' or 'kernel'"):
        MassRegressor(head="oracle").fit(np.eye(5), np.arange(1.0, 6.0))
