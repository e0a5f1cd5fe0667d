import numpy as np
import pytest
from astropy import units as u
from astropy.table import QTable, Table
from scipy.stats import norm

from stellarfm.exceptions import ModelError
from stellarfm.inference.masses.conformal import StarConformal, star_weights
from stellarfm.inference.masses.priors import PRIORS, MassPrior, ReferencePrior, kernel_density

FINE = np.linspace(-3, 3, 6001)


def density(prior, low=-3, high=3):
    """Normalized between two log masses."""
    values = np.where((low <= FINE) & (high >= FINE), prior.density(FINE), 0)
    return values / values.sum() / (FINE[1] - FINE[0])


def test_kroupa_has_its_slopes_and_is_continuous():
    prior = MassPrior.resolve("kroupa")
    slope = np.gradient(np.log10(prior.density(FINE)), FINE)
    for mass, expected in ((0.03, 0.7), (0.2, -0.3), (5, -1.3)):
        assert np.interp(np.log10(mass), FINE, slope) == pytest.approx(expected, abs=1e-6)
    for edge in (0.08, 0.5):
        below, above = prior.density(np.log10([edge * 0.999999, edge * 1.000001]))
        assert below == pytest.approx(above, rel=1e-4)


def test_chabrier_has_its_peak_and_slope_and_is_continuous():
    prior = MassPrior.resolve("chabrier")
    assert 10 ** FINE[prior.density(FINE).argmax()] == pytest.approx(0.079, rel=0.01)
    slope = np.gradient(np.log10(prior.density(FINE)), FINE)
    assert np.interp(np.log10(5), FINE, slope) == pytest.approx(-1.3, abs=1e-6)
    below, above = prior.density(np.array([-1e-6, 1e-6]))
    assert below == pytest.approx(above, rel=1e-4)


def test_flat_is_flat_and_reference_is_left_alone():
    assert np.ptp(MassPrior.resolve("flat").density(FINE)) == 0
    reference = ReferencePrior(np.linspace(-1, 1, 50), np.full(50, 0.02))
    assert reference.ratio(MassPrior.resolve("reference")) is None


def test_a_table_of_a_density():
    mass = np.geomspace(0.01, 100, 200)
    prior = MassPrior.resolve(Table({"mass": mass, "pdf": norm.pdf(np.log10(mass), 0.2, 0.4)}))
    np.testing.assert_allclose(density(prior), norm.pdf(FINE, 0.2, 0.4), atol=0.01)


def test_a_table_of_weighted_stars_in_a_file(tmp_path):
    rng = np.random.default_rng(0)
    log_mass = rng.uniform(-2, 2, 20000)
    table = QTable({"mass": 10**log_mass * u.solMass, "weight": norm.pdf(log_mass, 0.2, 0.4)})
    table.write(tmp_path / "stars.ecsv")
    prior = MassPrior.resolve(tmp_path / "stars.ecsv")
    assert prior.name == "stars.ecsv"
    np.testing.assert_allclose(density(prior), norm.pdf(FINE, 0.2, 0.4), atol=0.06)


def test_kernel_density_does_not_leak_over_the_edge():
    log_mass = np.abs(np.random.default_rng(0).normal(0, 0.4, 5000)) - 1
    found = kernel_density(log_mass, np.ones(5000))
    assert found(np.array([-1.01]))[0] == 0
    assert found(np.array([-0.99]))[0] == pytest.approx(2 * norm.pdf(0) / 0.4, rel=0.1)


@pytest.mark.parametrize(
    ("prior", "match"),
    [
        ("salpeter", "unknown prior 'salpeter'; choose reference, flat, kroupa, chabrier"),
        (Table({"m": [1.0]}), "no column 'mass'"),
        (Table({"mass": [1.0, -1.0]}), "positive masses"),
        (Table({"mass": [1.0, 2.0], "weight": [0.0, 0.0]}), "some positive"),
        (Table({"mass": [1.0, 2.0], "pdf": [1.0, -1.0]}), "no negative pdf"),
    ],
)
def test_impossible_priors(prior, match):
    with pytest.raises(ModelError, match=match):
        MassPrior.resolve(prior)


def test_a_file_that_is_not_a_table(tmp_path):
    (tmp_path / "stars.fits").write_text("nothing")
    with pytest.raises(ModelError, match=r"stars\.fits: cannot be read as a table"):
        MassPrior.resolve(tmp_path / "stars.fits")


def test_a_prior_beyond_the_reference_is_refused():
    reference = ReferencePrior(np.linspace(-1, 1, 50), np.full(50, 0.02))
    far = MassPrior.resolve(Table({"mass": [100.0, 200.0], "pdf": [1.0, 1.0]}))
    with pytest.raises(ModelError, match="from 0.1 to 10 solMass"):
        reference.ratio(far)


def test_names_in_the_documentation_exist():
    assert list(PRIORS) == ["reference", "flat", "kroupa", "chabrier"]


def stars(rng, log_mass, *, views=2):
    """Noisy predictions of stars of these masses, several windows each; noise is shared within a star."""
    noise = rng.normal(0, 0.25, len(log_mass))
    star = np.repeat(np.arange(len(log_mass)), views)
    return star, (log_mass + noise)[star] + 0.05 * rng.normal(size=len(star)), log_mass[star]


@pytest.fixture(scope="module")
def reference_stars():
    """Predicted is the posterior mean under the reference prior, normal of mean 0 and deviation 0.5."""
    rng = np.random.default_rng(0)
    star, observed, log_mass = stars(rng, rng.normal(0, 0.5, 700))
    shrink = 0.25 / (0.25 + 0.0625)
    return star, shrink * observed, log_mass, shrink


@pytest.mark.parametrize("new", [(0.4, 0.35), (-0.3, 0.4)])
def test_under_a_new_prior_the_posterior_is_calibrated(reference_stars, new):
    """Stars of another mass function: biased under the prior of the reference, calibrated under the true one."""
    star, predicted, log_mass, shrink = reference_stars
    rng = np.random.default_rng(1)
    truth = rng.normal(*new, 2000)
    observed = shrink * stars(rng, truth, views=1)[1]
    reference = ReferencePrior(log_mass, star_weights(star) / len(np.unique(star)))
    ratio = reference.ratio(MassPrior("new", lambda x: norm.pdf(x, *new)))
    before = StarConformal().fit(predicted, log_mass, stars=star).distribution(observed)
    after = StarConformal().fit(predicted, log_mass, stars=star, ratio=ratio).distribution(observed)
    assert abs(np.mean(before.mean() - truth)) > 2.5 * abs(np.mean(after.mean() - truth))
    assert after.crps(truth).mean() < before.crps(truth).mean()
    for level in (0.68, 0.95):
        lower, upper = after.interval(level)
        held = (lower <= truth) & (truth <= upper)
        assert held.mean() == pytest.approx(level, abs=0.03)
        fifth = np.searchsorted(np.quantile(after.mean(), [0.2, 0.4, 0.6, 0.8]), after.mean())
        for number in range(5):
            assert held[fifth == number].mean() == pytest.approx(level, abs=0.08)
    pit = after.cdf(truth)
    assert np.histogram(pit, bins=4, range=(0, 1))[0] / len(pit) == pytest.approx(0.25, abs=0.04)


def test_the_density_of_the_reference_counts_stars_not_windows():
    rng = np.random.default_rng(0)
    log_mass = np.concatenate([rng.normal(0, 0.3, 300), np.full(3000, 1.5)])
    star = np.concatenate([np.arange(300), np.full(3000, 300)])
    reference = ReferencePrior(log_mass, star_weights(star) / 301)
    assert reference.density(np.array([0.0]))[0] == pytest.approx(norm.pdf(0) / 0.3, rel=0.15)
    assert reference.density(np.array([1.4]))[0] < 0.1
