import numpy as np
import pytest
from scipy.stats import binom

from stellarfm.exceptions import ModelError
from stellarfm.inference import KNNHead, StarConformal
from stellarfm.inference.masses.conformal import cross_fit, star_weights, weighted_quantile


def hierarchical(rng, n_stars, *, most_views=12):
    """Predicted and true log mass of windows of exchangeable stars.

    Errors are shared by the windows of a star, skewed, and grow with the prediction; heavy stars have more windows.
    """
    prediction = rng.uniform(-1, 1, n_stars)
    counts = np.ceil(most_views ** rng.uniform(0, 1, n_stars) * (1 + (prediction > 0))).astype(int)
    stars = np.repeat(np.arange(n_stars), counts)
    shared = (0.25 + 0.2 * prediction) * (rng.gamma(2, 1, n_stars) - 2)
    predicted = prediction[stars] + 0.05 * rng.normal(size=len(stars))
    return predicted, prediction[stars] + shared[stars] + 0.05 * rng.normal(size=len(stars)), stars


def one_window_per_star(rng, predicted, true, stars):
    """One random window of each star: what a survey sees."""
    order = rng.permutation(len(stars))
    _, first = np.unique(stars[order], return_index=True)
    return predicted[order[first]], true[order[first]]


def trials(levels, *, n_trials, n_stars, n_new, seed=1):
    """Prediction, and whether the intervals of each level hold the mass, of new stars, calibrated in every trial."""
    rng = np.random.default_rng(seed)
    at, inside = [], []
    for _ in range(n_trials):
        predicted, true, stars = hierarchical(rng, n_stars + n_new, most_views=4)
        known = stars < n_stars
        conformal = StarConformal().fit(predicted[known], true[known], stars=stars[known])
        new, mass = one_window_per_star(rng, predicted[~known], true[~known], stars[~known])
        distribution = conformal.distribution(new)
        ends = [distribution.interval(level) for level in levels]
        at.append(new)
        inside.append([(lower <= mass) & (mass <= upper) for lower, upper in ends])
    return np.concatenate(at), np.concatenate(inside, axis=1)


@pytest.fixture(scope="module")
def simulated():
    levels = (0.68, 0.9, 0.95)
    return levels, trials(levels, n_trials=150, n_stars=60, n_new=30)


def test_marginal_coverage_is_exact(simulated):
    """Not less than the level within the Monte Carlo error, and not more than the price of the star to come."""
    levels, (_, inside) = simulated
    n = inside.shape[1]
    for level, held in zip(levels, inside, strict=True):
        assert held.sum() >= binom.ppf(1e-3, n, level) - 0.005 * n  # trials share their calibration
        assert held.mean() < level + 0.03


def test_conditional_coverage_holds_in_fifths_of_predicted_mass():
    at, inside = trials((0.68, 0.95), n_trials=100, n_stars=200, n_new=200, seed=2)
    fifth = np.searchsorted(np.quantile(at, [0.2, 0.4, 0.6, 0.8]), at)
    for level, held in zip((0.68, 0.95), inside, strict=True):
        for number in range(5):
            assert held[fifth == number].mean() == pytest.approx(level, abs=0.03)


def test_intervals_widen_where_errors_do():
    predicted, true, stars = hierarchical(np.random.default_rng(0), 300)
    lower, upper = StarConformal().fit(predicted, true, stars=stars).distribution(np.array([-0.8, 0.8])).interval(0.68)
    width = upper - lower
    assert width[1] > 2 * width[0]


def test_calibration_by_window_covers_too_few_new_stars():
    """Where the many windows of few long-lived stars are well predicted."""
    rng = np.random.default_rng(1)
    held = {"star": 0, "window": 0}
    for _ in range(150):
        counts = np.ceil(40 ** rng.uniform(0, 1, 35)).astype(int)
        stars = np.repeat(np.arange(35), counts)
        error = 0.4 * rng.standard_t(4, 35) * np.where(counts > 10, 0.2, 1)
        true = error[stars] + 0.05 * rng.normal(size=len(stars))
        predicted = 0.01 * rng.normal(size=len(stars))
        known = stars < 25
        new, mass = one_window_per_star(rng, predicted[~known], true[~known], stars[~known])
        for name, unit in (("star", stars), ("window", np.arange(len(stars)))):
            fitted = StarConformal(residual_power=1).fit(predicted[known], true[known], stars=unit[known])
            lower, upper = fitted.distribution(new).interval(0.9)
            held[name] += np.sum((lower <= mass) & (mass <= upper))
    assert held["star"] / 1500 >= 0.88
    assert held["window"] / 1500 < 0.84


def test_each_star_weighs_one():
    stars = np.array(["a", "b", "a", "a"])
    np.testing.assert_allclose(star_weights(stars), [1 / 3, 1, 1 / 3, 1 / 3])
    np.testing.assert_allclose(star_weights(stars, 0.5), [3**-0.5, 1, 3**-0.5, 3**-0.5])


def test_copies_of_one_star_change_no_level():
    predicted, true, _ = hierarchical(np.random.default_rng(0), 60, most_views=1)
    copies = np.concatenate([np.zeros(100, int), np.arange(60)])
    options = {"residual_power": 1}
    one = StarConformal(**options).fit(predicted[:60], true[:60], stars=np.arange(60))
    many = StarConformal(**options).fit(predicted[copies], true[copies], stars=copies)
    at = np.linspace(-0.9, 0.9, 7)
    for level in (0.68, 0.9):
        np.testing.assert_allclose(
            one.distribution(at).interval(level), many.distribution(at).interval(level), atol=1e-6
        )


@pytest.mark.parametrize(("level", "needed"), [(0.95, 19), (0.9, 9), (0.68, 3)])
def test_too_few_stars_give_an_infinite_interval(level, needed):
    """K stars cannot promise more than K / (K + 1)."""
    predicted, true, _ = hierarchical(np.random.default_rng(0), needed, most_views=1)
    few = StarConformal().fit(predicted[: needed - 1], true[: needed - 1], stars=np.arange(needed - 1))
    lower, upper = few.distribution(np.zeros(3)).interval(level)
    assert np.all(lower == -np.inf)
    assert np.all(upper == np.inf)


def test_enough_stars_give_a_finite_interval():
    predicted, true, stars = hierarchical(np.random.default_rng(0), 60, most_views=1)
    assert np.all(
        np.isfinite(StarConformal().fit(predicted, true, stars=stars).distribution(np.zeros(3)).interval(0.9))
    )


def test_no_residual_of_a_star_is_in_its_own_score():
    """The mass of a star alone far from all others lies beyond its distribution."""
    predicted = np.linspace(-1, 1, 40)
    true = predicted.copy()
    true[20] += 2.0
    fitted = StarConformal().fit(predicted, true, stars=np.arange(40))
    assert fitted.score_[20] > 1.5
    assert np.all(np.delete(fitted.score_, 20) < 1.2)


def test_no_mass_below_the_reference_is_predicted():
    predicted, true, stars = hierarchical(np.random.default_rng(0), 100)
    distribution = StarConformal().fit(predicted, true, stars=stars).distribution(np.array([-3.0]))
    assert distribution.quantile(0.01)[0] > true.min() - 0.15


def test_arrays_hold_the_whole_state():
    predicted, true, stars = hierarchical(np.random.default_rng(0), 100)
    fitted = StarConformal(smoothing=0.05).fit(predicted, true, stars=stars)
    again = StarConformal(smoothing=0.05).from_arrays(fitted.to_arrays())
    at = np.linspace(-0.9, 0.9, 5)
    for level in (0.68, 0.95):
        np.testing.assert_array_equal(fitted.distribution(at).interval(level), again.distribution(at).interval(level))
    np.testing.assert_array_equal(fitted.distribution(at).probability, again.distribution(at).probability)
    assert len(again.distribution(np.empty(0))) == 0


def test_missing_residuals_are_refused():
    with pytest.raises(ModelError, match="not finite"):
        StarConformal().fit(np.array([0, np.nan]), np.zeros(2), stars=np.arange(2))


def test_weighted_quantile():
    values, weights = np.array([3.0, 1.0, 2.0]), np.array([0.25, 0.5, 0.25])
    assert [weighted_quantile(values, weights, level) for level in (0.5, 0.6, 0.75, 1)] == [1, 2, 2, 3]
    assert weighted_quantile(values, weights, 0.9, total=2) == np.inf


class Spy(KNNHead):
    """Remembers which stars each fold was fitted on."""

    seen: list = []

    def fit(self, features, log_mass, *, stars=None, blocks=None):
        self.seen.append(set(stars))
        return super().fit(features, log_mass, stars=stars, blocks=blocks)


@pytest.fixture
def windows():
    rng = np.random.default_rng(0)
    stars = np.repeat([f"{run}/{star}" for run in "ab" for star in range(12)], 5)
    log_mass = np.repeat(rng.uniform(-1, 1, 24), 5)
    identity = np.repeat(np.arange(24), 5)[:, None] * [[10.0]] + 0.01 * rng.normal(size=(120, 1))
    return identity, log_mass, stars, np.array([star[0] for star in stars])


@pytest.mark.parametrize("by", ["star", "simulation"])
def test_no_group_is_on_both_sides(windows, by):
    features, log_mass, stars, simulations = windows
    Spy.seen = []
    cross_fit(Spy(), features, log_mass, stars=stars, simulations=simulations, by=by, n_folds=10)
    assert len(Spy.seen) == (10 if by == "star" else 2)
    everyone = set(stars)
    for kept in Spy.seen:
        held = everyone - kept
        assert held
        if by == "simulation":
            assert {star[0] for star in held}.isdisjoint({star[0] for star in kept})


def test_features_that_only_tell_stars_apart_are_worth_nothing(windows):
    features, log_mass, stars, simulations = windows
    known = KNNHead().fit(features, log_mass).predict(features)
    assert np.std(known - log_mass) < 0.05 * log_mass.std()
    predicted = cross_fit(KNNHead(), features, log_mass, stars=stars, simulations=simulations)
    assert np.std(predicted - log_mass) > 0.8 * log_mass.std()


def test_features_that_learn_are_refitted_in_each_fold(windows):
    features, log_mass, stars, simulations = windows
    seen = []

    def refit_features(kept):
        seen.append(set(simulations[kept]))
        return features

    common = {"stars": stars, "simulations": simulations, "by": "simulation"}
    plain = cross_fit(KNNHead(), features, log_mass, **common)
    again = cross_fit(KNNHead(), 0 * features, log_mass, **common, refit_features=refit_features)
    assert sorted(map(sorted, seen)) == [["a"], ["b"]]
    np.testing.assert_array_equal(plain, again)


@pytest.mark.parametrize(("by", "match"), [("simulation", "needs two or more"), ("window", "choose 'star'")])
def test_impossible_groups(windows, by, match):
    features, log_mass, stars, _ = windows
    with pytest.raises(ModelError, match=match):
        cross_fit(KNNHead(), features, log_mass, stars=stars, simulations=np.full(len(features), "a"), by=by)
