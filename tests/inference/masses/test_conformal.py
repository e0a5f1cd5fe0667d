import numpy as np
import pytest
from scipy.stats import binom

from stellarfm.exceptions import ModelError
from stellarfm.inference import MassRegressor, StarConformal
from stellarfm.inference.masses.conformal import cross_fit, star_weights


def hierarchical(rng, n_stars, *, between=0.4, within=0.1, most_views=40):
    """Residuals that a star's windows share, and the star of each; a few stars own most windows."""
    counts = np.ceil(most_views ** rng.uniform(0, 1, n_stars)).astype(int)
    stars = np.repeat(np.arange(n_stars), counts)
    shared = between * rng.standard_t(4, n_stars) * np.where(counts > 10, 0.3, 1)
    return shared[stars] + within * rng.normal(size=len(stars)), stars


def covered(calibrator, level, rng, n_trials, n_stars, view):
    """How often a random window of one new star lies in its interval, calibrated anew each time."""
    hits = 0
    for _ in range(n_trials):
        residual, stars = hierarchical(rng, n_stars + 1)
        known = stars < n_stars
        calibrator.fit(residual[known], np.zeros(known.sum()), stars=view(stars[known]))
        lower, upper = calibrator.interval(level, np.zeros(1))
        hits += lower[0] <= rng.choice(residual[~known]) <= upper[0]
    return hits


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("level", [0.68, 0.9])
def test_a_new_star_is_covered_as_promised(level, symmetric):
    n_trials = 1500
    hits = covered(StarConformal(symmetric=symmetric), level, np.random.default_rng(1), n_trials, 25, view=lambda s: s)
    assert hits >= binom.ppf(1e-3, n_trials, level)
    assert hits / n_trials < level + 0.08  # no more than the price of K + 1 and of whole scores


def test_calibration_by_window_covers_too_few_new_stars():
    n_trials = 1500
    naive = covered(
        StarConformal(), 0.9, np.random.default_rng(1), n_trials, 25, view=lambda stars: np.arange(len(stars))
    )
    assert naive < binom.ppf(1e-3, n_trials, 0.9)


def test_each_star_weighs_one():
    weights = star_weights(np.array(["a", "b", "a", "a"]))
    np.testing.assert_allclose(weights, [1 / 3, 1, 1 / 3, 1 / 3])


def test_copies_of_one_star_change_nothing():
    rng = np.random.default_rng(0)
    residual, stars = rng.normal(size=60), np.arange(60)
    copies = np.concatenate([np.zeros(500, int), np.arange(60)])
    one = StarConformal().fit(residual, residual, stars=stars).interval(0.9, np.zeros(1))
    many = StarConformal().fit(residual[copies], residual[copies], stars=stars[copies]).interval(0.9, np.zeros(1))
    np.testing.assert_array_equal(one, many)


@pytest.mark.parametrize(("symmetric", "needed"), [(True, 19), (False, 39)])
def test_too_few_stars_give_an_infinite_interval(symmetric, needed):
    residual = np.random.default_rng(0).normal(size=needed)
    enough = StarConformal(symmetric=symmetric).fit(residual, residual, stars=np.arange(needed))
    assert np.all(np.isfinite(enough.interval(0.95, np.zeros(3))))
    few = StarConformal(symmetric=symmetric).fit(residual[1:], residual[1:], stars=np.arange(1, needed))
    lower, upper = few.interval(0.95, np.zeros(3))
    assert np.all(lower == -np.inf)
    assert np.all(upper == np.inf)


def test_sides_may_differ():
    residual = np.random.default_rng(0).exponential(size=400)
    lower, upper = StarConformal().fit(residual, residual, stars=np.arange(400)).interval(0.9, np.zeros(1))
    assert 0 < lower[0] < 0.2
    assert upper[0] == pytest.approx(3.0, abs=0.6)


def test_scaled_intervals_follow_the_spread():
    rng = np.random.default_rng(0)
    spread = rng.uniform(0, 1, 500)
    residual = rng.normal(size=500) * (spread + 0.1)
    lower, upper = (
        StarConformal(scaled=True).fit(residual, spread, stars=np.arange(500)).interval(0.68, np.array([0, 1]))
    )
    np.testing.assert_allclose((upper - lower)[1] / (upper - lower)[0], 11)
    assert upper[1] == pytest.approx(1.1, rel=0.2)


@pytest.mark.parametrize("level", [0, 1, 68])
def test_level_must_be_a_probability(level):
    fitted = StarConformal().fit(np.zeros(3), np.zeros(3), stars=np.arange(3))
    with pytest.raises(ModelError, match=r"give 0\.68"):
        fitted.interval(level, np.zeros(1))


def test_missing_residuals_are_refused():
    with pytest.raises(ModelError, match="not finite"):
        StarConformal().fit(np.array([0, np.nan]), np.zeros(2), stars=np.arange(2))


class Spy(MassRegressor):
    """Remembers which stars each fold was fitted on."""

    seen: list = []

    def fit(self, X, mass, *, stars=None):
        self.seen.append(set(stars))
        return super().fit(X, mass, stars=stars)


@pytest.fixture
def windows():
    rng = np.random.default_rng(0)
    stars = np.repeat([f"{run}/{star}" for run in "ab" for star in range(12)], 5)
    log_mass = np.repeat(rng.uniform(-1, 1, 24), 5)
    identity = np.repeat(np.arange(24), 5)[:, None] * [[10.0]] + 0.01 * rng.normal(size=(120, 1))
    return identity, 10**log_mass, stars, np.array([star[0] for star in stars])


@pytest.mark.parametrize("by", ["star", "simulation"])
def test_no_group_is_on_both_sides(windows, by):
    X, mass, stars, simulations = windows
    Spy.seen = []
    cross_fit(Spy(), X, mass, stars=stars, simulations=simulations, by=by)
    assert len(Spy.seen) == (10 if by == "star" else 2)
    everyone = set(stars)
    for kept in Spy.seen:
        held = everyone - kept
        assert held
        if by == "simulation":
            assert {star[0] for star in held}.isdisjoint({star[0] for star in kept})


def test_features_that_only_tell_stars_apart_are_worth_nothing(windows):
    X, mass, stars, simulations = windows
    assert MassRegressor().fit(X, mass).score(X, mass) > 0.99
    residual = cross_fit(MassRegressor(), X, mass, stars=stars, simulations=simulations).residual
    assert residual.std() > 0.8 * np.log10(mass).std()


def test_features_that_learn_are_learnt_anew_in_each_fold(windows):
    X, mass, stars, simulations = windows
    seen = []

    def refit_features(kept):
        seen.append(set(simulations[kept]))
        return X

    plain = cross_fit(MassRegressor(), X, mass, stars=stars, simulations=simulations, by="simulation")
    again = cross_fit(
        MassRegressor(),
        0 * X,
        mass,
        stars=stars,
        simulations=simulations,
        by="simulation",
        refit_features=refit_features,
    )
    assert sorted(map(sorted, seen)) == [["a"], ["b"]]
    np.testing.assert_array_equal(plain.residual, again.residual)


@pytest.mark.parametrize(("by", "match"), [("simulation", "needs two or more"), ("window", "choose 'star'")])
def test_impossible_groups(windows, by, match):
    X, mass, stars, _ = windows
    with pytest.raises(ModelError, match=match):
        cross_fit(MassRegressor(), X, mass, stars=stars, simulations=np.full(len(X), "a"), by=by)
