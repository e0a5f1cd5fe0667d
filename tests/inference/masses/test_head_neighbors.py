import numpy as np
import pytest
from sklearn.neighbors import KNeighborsRegressor

from stellarfm.inference.masses.heads.neighbors import inverse_distance_weights, nearest


@pytest.fixture
def space():
    rng = np.random.default_rng(0)
    return rng.normal(size=(60, 3)), rng.normal(size=(7, 3)), np.repeat(np.arange(20), 3)


def test_windows_vote_as_in_scikit_learn(space):
    reference, queries, stars = space
    votes = np.random.default_rng(1).normal(size=60)
    found = nearest(reference, queries, k=5, stars=stars)
    ours = (inverse_distance_weights(found.distance) * votes[found.reference]).sum(axis=1)
    theirs = KNeighborsRegressor(5, weights="distance").fit(reference, votes).predict(queries)
    np.testing.assert_allclose(ours, theirs)


def test_one_per_star_takes_the_nearest_view_of_each_star(space):
    reference, queries, stars = space
    found = nearest(reference, queries, k=5, stars=stars, one_per_star=True)
    for query, rows, distances in zip(queries, found.reference, found.distance, strict=True):
        best = {star: np.linalg.norm(reference[stars == star] - query, axis=1).min() for star in range(20)}
        expected = sorted(best, key=best.get)[:5]
        assert stars[rows].tolist() == expected
        np.testing.assert_allclose(distances, [best[star] for star in expected])


def test_an_excluded_star_is_not_found(space):
    reference, _, stars = space
    found = nearest(reference, reference, k=4, stars=stars, exclude=stars)
    assert not np.any(stars[found.reference] == stars[:, None])


def test_pieces_give_the_same_as_the_whole(space, monkeypatch):
    reference, queries, stars = space
    whole = nearest(reference, queries, k=5, stars=stars, exclude=np.arange(7))
    monkeypatch.setattr("stellarfm.inference.masses.heads.neighbors.CHUNK", 2)
    pieces = nearest(reference, queries, k=5, stars=stars, exclude=np.arange(7))
    np.testing.assert_array_equal(whole.reference, pieces.reference)


def test_fewer_stars_than_neighbours_are_infinitely_far(space):
    reference, queries, _ = space
    found = nearest(reference, queries, k=5, stars=np.zeros(60), one_per_star=True)
    assert np.isfinite(found.distance).sum(axis=1).tolist() == [1] * 7


def test_exact_matches_share_all_the_weight():
    weights = inverse_distance_weights(np.array([[0.0, 0.0, 1.0], [1.0, 2.0, np.inf]]))
    np.testing.assert_allclose(weights, [[0.5, 0.5, 0], [2 / 3, 1 / 3, 0]])
