import numpy as np
import pytest
from scipy.stats import norm

from stellarfm.exceptions import ModelError
from stellarfm.inference import MassDistribution

GRID = np.arange(-3, 3, 0.01)


def normal(mean, deviation):
    mean, deviation = np.atleast_1d(mean), np.atleast_1d(deviation)
    return MassDistribution(GRID, norm.pdf(GRID, mean[:, None], deviation[:, None]))


@pytest.fixture
def many():
    rng = np.random.default_rng(0)
    mean, deviation = rng.uniform(-1, 1, 400), rng.uniform(0.1, 0.4, 400)
    return normal(mean, deviation), mean, deviation


def test_moments_and_quantiles_are_those_of_a_normal(many):
    distribution, mean, deviation = many
    np.testing.assert_allclose(distribution.mean(), mean, atol=1e-3)
    np.testing.assert_allclose(distribution.median(), mean, atol=1e-3)
    found = distribution.quantile([0.1, 0.9])
    assert found.shape == (400, 2)
    np.testing.assert_allclose(found, mean[:, None] + deviation[:, None] * norm.ppf([0.1, 0.9]), atol=2e-3)
    np.testing.assert_allclose(distribution.cdf(mean + deviation), norm.cdf(1), atol=1e-3)
    np.testing.assert_allclose(distribution.pdf(mean), norm.pdf(0) / deviation, rtol=1e-2)
    np.testing.assert_allclose(distribution.cdf(9.0), 1)
    np.testing.assert_allclose(distribution.pdf(9.0), 0)


@pytest.mark.parametrize(("level", "atol"), [(0.5, 0.05), (0.68, 0.05), (0.9, 0.05), (0.95, 0.05)])
def test_intervals_of_a_normal_are_central(many, level, atol):
    distribution, mean, deviation = many
    lower, upper = distribution.interval(level)
    half = norm.ppf((1 + level) / 2)
    np.testing.assert_allclose((lower - mean) / deviation, -half, atol=atol)
    np.testing.assert_allclose((upper - mean) / deviation, half, atol=atol)


def test_intervals_of_a_pile_up_are_at_its_edge():
    """Not equal tails: the shortest interval of a falling density begins where it begins."""
    falling = MassDistribution(GRID, np.where(GRID > -1, np.exp(-(GRID + 1) / 0.3), 0)[None])
    lower, upper = falling.interval(0.68)
    assert lower[0] == pytest.approx(-1, abs=0.02)
    assert upper[0] == pytest.approx(-1 - 0.3 * np.log(0.32), abs=0.02)


def test_intervals_are_nested_also_with_two_peaks():
    two = MassDistribution(GRID, (0.6 * norm.pdf(GRID, -1, 0.1) + 0.4 * norm.pdf(GRID, 1, 0.1))[None])
    ends = np.array([two.interval(level) for level in np.linspace(0.01, 0.99, 99)])[:, :, 0]
    assert np.all(np.diff(ends[:, 0]) <= 1e-12)
    assert np.all(np.diff(ends[:, 1]) >= -1e-12)


def test_the_score_is_the_smallest_level_that_covers(many):
    distribution, mean, deviation = many
    value = mean + deviation * np.random.default_rng(1).normal(size=400)
    score = distribution.score(value)
    for level in (0.1, 0.5, 0.683, 0.9, 0.99):
        lower, upper = distribution.interval(level)
        np.testing.assert_array_equal(score <= level, (lower <= value) & (value <= upper))


def test_beyond_the_support_the_score_grows_with_the_distance():
    box = MassDistribution(GRID, (np.abs(GRID) < 0.5).astype(float)[None])
    assert box.score(np.array([0.0]))[0] < 0.9
    assert box.score(np.array([1.0]))[0] == pytest.approx(1.5, abs=0.02)
    assert box.score(np.array([-2.0]))[0] == pytest.approx(2.5, abs=0.02)
    wider = MassDistribution(GRID, box.probability, None, lambda level: np.array([1.25]))
    lower, upper = wider.interval(0.9)
    assert (lower[0], upper[0]) == (pytest.approx(-0.75, abs=0.02), pytest.approx(0.75, abs=0.02))


def test_uncalibrated_levels_cover_draws_from_the_distribution(many):
    distribution, *_ = many
    drawn = distribution.sample(200, seed=3)
    assert drawn.shape == (400, 200)
    lower, upper = distribution.interval(0.68)
    inside = (lower[:, None] <= drawn) & (drawn <= upper[:, None])
    assert inside.mean() == pytest.approx(0.68, abs=0.01)
    np.testing.assert_array_equal(drawn, distribution.sample(200, seed=3))
    assert not np.array_equal(drawn, distribution.sample(200, seed=4))


def test_crps_is_that_of_a_normal(many):
    distribution, mean, deviation = many
    value = mean + deviation * np.random.default_rng(1).normal(size=400)
    z = (value - mean) / deviation
    expected = deviation * (z * (2 * norm.cdf(z) - 1) + 2 * norm.pdf(z) - 1 / np.sqrt(np.pi))
    np.testing.assert_allclose(distribution.crps(value), expected, atol=1e-4)


def test_crps_outside_the_grid_grows_with_the_distance():
    spike = MassDistribution(GRID, (np.abs(GRID) < 0.005).astype(float)[None])
    assert spike.crps(np.array([5.0]))[0] == pytest.approx(5, abs=0.01)
    assert spike.crps(np.array([-5.0]))[0] == pytest.approx(5, abs=0.01)


def test_reweighting_is_bayes_theorem():
    """Of two normal densities, the product is a normal one between them."""
    posterior = normal(0, 0.3).reweight(lambda x: norm.pdf(x, 1, 0.4))
    precision = 1 / 0.09 + 1 / 0.16
    assert posterior.mean()[0] == pytest.approx(1 / 0.16 / precision, abs=1e-3)
    assert np.diff(posterior.quantile([norm.cdf(-1), norm.cdf(1)])[0])[0] / 2 == pytest.approx(
        precision**-0.5, abs=1e-3
    )


def test_parts_keep_their_levels(many):
    distribution, *_ = many
    level = np.linspace(0.3, 0.9, 400)
    calibrated = MassDistribution(GRID, distribution.probability, distribution.mean(), lambda _: level)
    np.testing.assert_allclose(calibrated[100:200].interval(0.68), np.array(calibrated.interval(0.68))[:, 100:200])
    np.testing.assert_array_equal(calibrated[:3].predicted, distribution.mean()[:3])
    assert len(calibrated[level > 0.6]) == (level > 0.6).sum()


def test_repr_is_short(many):
    distribution, *_ = many
    assert repr(distribution).startswith("MassDistribution(400 stars, medians 0.1")
    assert repr(distribution[:0]) == "MassDistribution(0 stars)"


@pytest.mark.parametrize("level", [0, 1, 68])
def test_level_must_be_a_probability(level):
    with pytest.raises(ModelError, match=r"give 0\.68"):
        normal(0, 1).interval(level)


@pytest.mark.parametrize("probability", [np.zeros((1, len(GRID))), np.full((1, len(GRID)), np.nan)])
def test_empty_distributions_are_refused(probability):
    with pytest.raises(ModelError, match="no probability"):
        MassDistribution(GRID, probability)


def test_shapes_must_fit():
    with pytest.raises(ModelError, match="expected"):
        MassDistribution(GRID, np.ones((1, 3)))
    with pytest.raises(ModelError, match="not between 0 and 1"):
        normal(0, 1).quantile(1.5)
