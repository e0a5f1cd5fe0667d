import numpy as np
import pytest
from sklearn.metrics import r2_score, root_mean_squared_error

from stellarfm.evaluation.metrics import (
    binomial_range,
    bootstrap_counts,
    coverage,
    fifths,
    mean_by_star,
    mean_difference,
    r2,
    r2_difference,
    score,
)


@pytest.fixture
def sample():
    rng = np.random.default_rng(1)
    stars = np.repeat(np.arange(40), rng.integers(1, 30, 40))
    truth = rng.normal(0.0, 0.5, 40)[stars] + rng.normal(0, 0.05, len(stars))
    predicted = 0.6 * truth + rng.normal(0.0, 0.3, 40)[stars] + 0.1
    return truth, predicted, stars


def test_scores_agree_with_scikit_learn(sample):
    truth, predicted, stars = sample
    found = score(truth, predicted, stars)
    assert found.r2 == pytest.approx(r2_score(truth, predicted))
    assert found.rmse == pytest.approx(root_mean_squared_error(truth, predicted))
    assert found.bias == pytest.approx(np.mean(predicted - truth))
    assert found.r2_low < found.r2 < found.r2_high
    assert found.rmse_low < found.rmse < found.rmse_high


def test_resampled_r2_agrees_with_resampled_stars(sample):
    truth, predicted, stars = sample
    counts = bootstrap_counts(40, n_bootstrap=200, seed=3)
    windows = [np.repeat(np.arange(len(stars)), row[stars]) for row in counts]
    expected = np.quantile([r2_score(truth[i], predicted[i]) for i in windows], [0.025, 0.975])
    found = score(truth, predicted, stars, seed=3)
    assert (found.r2_low, found.r2_high) == pytest.approx(expected, abs=0.1)


def test_repeating_windows_of_a_star_does_not_narrow_the_interval(sample):
    truth, predicted, stars = sample
    once = score(truth, predicted, stars)
    often = score(*(np.tile(a, 10) for a in sample))
    assert often.r2_high - often.r2_low == pytest.approx(once.r2_high - once.r2_low)


def test_scores_do_not_depend_on_an_offset_of_both(sample):
    truth, predicted, stars = sample
    assert score(truth + 30, predicted + 30, stars) == pytest.approx(score(truth, predicted, stars))


def test_a_single_star_has_no_interval():
    found = score(np.array([0.0, 0.0]), np.array([0.1, 0.2]), np.array(["a", "a"]))
    assert np.isnan(found.r2)
    assert found.bias == pytest.approx(0.15)


def test_the_better_predictor_wins_the_paired_comparison(sample):
    truth, predicted, stars = sample
    better = 0.5 * (truth + predicted)
    found = r2_difference(truth, better, predicted, stars)
    assert found.difference == pytest.approx(r2_score(truth, better) - r2_score(truth, predicted))
    assert 0 < found.low < found.difference < found.high
    assert found.probability == 1.0


def test_a_predictor_does_not_beat_itself(sample):
    truth, predicted, stars = sample
    assert r2_difference(truth, predicted, predicted, stars) == (0.0, 0.0, 0.0, 0.0)


def test_coverage_counts_the_ends():
    assert coverage(np.array([0.0, 1.0, 2.0]), np.zeros(3), np.ones(3)) == pytest.approx(2 / 3)


def test_r2_without_resampling_is_the_same(sample):
    truth, predicted, stars = sample
    assert r2(truth, predicted) == pytest.approx(score(truth, predicted, stars).r2)


def test_means_over_windows_and_stars(sample):
    truth, predicted, stars = sample
    found = mean_by_star(np.abs(truth - predicted), stars)
    assert found.mean == pytest.approx(np.mean(np.abs(truth - predicted)))
    by_star = [np.mean(np.abs(truth - predicted)[stars == star]) for star in np.unique(stars)]
    assert found.star_mean == pytest.approx(np.mean(by_star))
    assert found.low < found.mean < found.high
    assert found.star_low < found.star_mean < found.star_high


def test_a_lower_mean_score_is_better(sample):
    truth, predicted, stars = sample
    error = np.abs(truth - predicted)
    found = mean_difference(0.5 * error, error, stars)
    assert found.low < found.difference < found.high < 0
    assert found.probability == 1


def test_fifths_hold_equal_numbers_of_stars(sample):
    _, predicted, stars = sample
    fifth = fifths(predicted, stars)
    assert [len(np.unique(stars[fifth == k])) for k in range(5)] == [8] * 5
    means = [np.mean([predicted[stars == s].mean() for s in np.unique(stars[fifth == k])]) for k in range(5)]
    assert np.all(np.diff(means) > 0)


def test_the_binomial_range_holds_95_percent():
    low, high = binomial_range(46, 0.68)
    inside = np.random.default_rng(0).binomial(46, 0.68, 20_000) / 46
    assert 0.95 <= np.mean((inside >= low) & (inside <= high)) < 0.98
