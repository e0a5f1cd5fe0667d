import numpy as np
import pytest
from astropy import units as u
from astropy.table import QTable
from sklearn.base import BaseEstimator
from sklearn.linear_model import LinearRegression

from stellarfm.evaluation.baselines import (
    LogMassRegressor,
    Method,
    NoFeatures,
    Statistics,
    constant_width,
    default_methods,
    mean_of_training,
    statistics_boosting,
)
from stellarfm.evaluation.benchmark import benchmark_model, held_out_masses, run_benchmark, subsample_windows
from stellarfm.evaluation.report import model_card, report
from stellarfm.evaluation.scores import compare, score_table
from stellarfm.exceptions import MapError
from stellarfm.inference import KNNHead
from stellarfm.inference.encoding.embedding import Embedder
from stellarfm.inference.encoding.features import Readout
from stellarfm.inference.encoding.frozen_encoder import FrozenEncoder
from stellarfm.inference.masses.conformal import StarConformal
from stellarfm.inference.masses.heads.forest import ForestHead
from stellarfm.maps import MapScaler, MapSet


@pytest.fixture(scope="module")
def clouds(cloud):
    names = ("one", "two", "three")
    return MapSet.concatenate([cloud(name, n_stars=20, seed=seed) for seed, name in enumerate(names)])


@pytest.fixture(scope="module")
def linear():
    return Method("linear", Statistics(), LogMassRegressor(LinearRegression()))


@pytest.fixture(scope="module")
def found(clouds, linear):
    return run_benchmark(clouds, [linear, mean_of_training()])


class Memory(BaseEstimator):
    """Knows the mass of every group it was shown; asserts that it was never shown the one it is asked for."""

    def fit(self, features, log_mass, *, stars, blocks=None):
        self.shown_ = set(features[:, 0])
        return self

    def predict(self, features):
        assert not self.shown_ & set(features[:, 0])
        return np.zeros(len(features))


class GroupNumbers(NoFeatures):
    """The group of each window as its feature, by star or by simulation."""

    def __init__(self, windows, by):
        names = windows.groups if by == "star" else np.asarray(windows.stars["simulation"])
        self.number = {name: float(k) for k, name in enumerate(np.unique(names))}
        self.by = by

    def transform(self, windows):
        names = windows.groups if self.by == "star" else np.asarray(windows.stars["simulation"])
        return np.array([[self.number[name]] for name in names])


@pytest.mark.parametrize("by", ["star", "simulation"])
def test_no_group_is_shown_before_it_is_asked_for_not_even_to_calibrate(clouds, by):
    held_out_masses(clouds, [Method("memory", GroupNumbers(clouds, by), Memory())], splits=[by], calibration_by=by)


def test_features_are_learnt_from_the_training_side_alone(clouds):
    seen = []

    class Spy(NoFeatures):
        def fit(self, windows):
            seen.append(set(windows.stars["simulation"]))
            return self

    spy = Method("spy", Spy(), mean_of_training().head)
    held_out_masses(clouds, [spy], splits=["simulation"], calibration_by="simulation")
    # Each fold learns from two clouds, then from each of these alone to calibrate on the other.
    assert len(seen) == 9
    for outer in range(0, 9, 3):
        assert len(seen[outer]) == 2
        assert seen[outer + 1] | seen[outer + 2] == seen[outer]
        assert not seen[outer + 1] & seen[outer + 2]


def test_every_window_is_predicted_once_by_each_method_and_split(clouds, found):
    for by in ("star", "simulation"):
        for name in ("linear", "mean of the training stars"):
            part = found.predictions[(found.predictions["split"] == by) & (found.predictions["method"] == name)]
            assert sorted(part["group"]) == sorted(clouds.groups)
    assert found.predictions["mass"].unit == u.solMass


def test_what_can_be_learnt_is_learnt_and_the_mean_is_worth_nothing(found):
    r2 = {(row["split"], row["method"]): row["r2"] for row in found.scores}
    assert r2["star", "linear"] > 0.9
    assert r2["simulation", "linear"] > 0.9
    assert r2["star", "mean of the training stars"] < 0.05


def test_intervals_hold(found):
    for row in found.scores:
        assert 0.55 < row["star_coverage_68"] < 0.95
        assert row["star_coverage_95"] > 0.88
        assert row["width_95"] > row["width_68"]
        assert row["star_width_95"] > row["star_width_68"]


def test_the_mean_is_that_of_the_training_side(clouds, found):
    part = found.predictions
    part = part[(part["split"] == "simulation") & (part["method"] == "mean of the training stars")]
    others = np.asarray(clouds.stars["simulation"]) != "one"
    expected = np.log10(clouds.stars["mass"][others].value).mean()
    np.testing.assert_allclose(np.log10(part["mass_predicted"][part["simulation"] == "one"].value), expected)


def test_comparison_says_who_wins(found):
    assert list(found.differences["other"]) == ["mean of the training stars"] * 2
    assert np.all(found.differences["low"] > 0)
    reverse = compare(found.predictions, "mean of the training stars")
    np.testing.assert_allclose(reverse["difference"], -found.differences["difference"])
    assert "**better than**" in report(found)


def test_the_report_sorts_by_crps_and_calls_a_loser_a_loser(clouds, linear):
    lost = run_benchmark(clouds, [mean_of_training(), linear], splits=["star"])
    text = report(lost)
    assert text.index("| linear") < text.index("| mean of the training stars")
    assert "**worse than** *linear*" in text


def test_repeated_runs_agree(clouds, linear):
    one, two = (score_table(held_out_masses(clouds, [statistics_boosting()], splits=["star"], n_folds=2)) for _ in "ab")
    assert one["r2"][0] == two["r2"][0]


def test_thinning_keeps_every_star(clouds):
    few = subsample_windows(clouds, per_star=2)
    names, counts = np.unique(few.groups, return_counts=True)
    assert set(names) == set(clouds.groups)
    assert set(counts) == {2}


def test_windows_without_masses_are_refused(clouds):
    from dataclasses import replace

    with pytest.raises(MapError, match="no masses"):
        held_out_masses(replace(clouds, label_kind=None), [mean_of_training()])


def test_one_simulation_cannot_be_left_out(cloud):
    with pytest.raises(MapError, match="single group"):
        held_out_masses(cloud("one"), [mean_of_training()], splits=["simulation"])


def embedder(encoder, **readout):
    return Embedder(encoder, MapScaler(), Readout(**readout), pixels=32, pixel_scale=4 / 512 * u.pc)


def test_a_pretrained_encoder_is_compared_with_random_weights_in_the_same_readout(tiny_encoder):
    random = FrozenEncoder.random(tiny_encoder, image_size=32)
    trained = FrozenEncoder(random.name, random.options, lambda: random.module, {"steps": 3})
    names = [method.name for method in default_methods(embedder(trained), KNNHead())]
    assert names[:2] == ["test.tiny, pretrained: rings", "test.tiny, random weights: rings"]
    assert names[2] == "test.tiny, pretrained: rings, constant-width intervals"
    again = [method.name for method in default_methods(embedder(random), KNNHead())]
    assert again == [names[1], f"{names[1]}, constant-width intervals", *names[3:]]


def test_a_model_is_judged_without_its_memory(fitted_model, cloud):
    """The reference set of the model holds these stars; a leak would give R2 of 1."""
    windows = MapSet.concatenate([cloud("one", seed=1), cloud("two", seed=2)])
    remembered = fitted_model.head.head.predict(fitted_model.features(windows))
    np.testing.assert_allclose(10**remembered, windows.stars["mass"].value, rtol=1e-4)
    found = benchmark_model(windows, model=fitted_model, quick=True)
    judged = found.predictions[found.predictions["method"] == found.predictions["method"][0]]
    assert "random" in judged["method"][0]
    assert len(judged) == 2 * len(windows)
    assert np.median(np.abs(np.log10(judged["mass"] / judged["mass_true"]))) > 0.01
    card = model_card(fitted_model, found, command="stellarfm benchmark a.h5")
    for text in ("`stellarfm benchmark a.h5`", "never trained", "sink masses", "| hand-made statistics", "## Limits"):
        assert text in card
    n_heavy = len(np.unique(windows.groups[windows.stars["mass"].value > 3]))
    assert f"{n_heavy} of its 24 stars are heavier than 3 solar masses" in " ".join(card.split())


def test_parts_of_a_readout_are_judged_alone_too(tiny_encoder):
    random = FrozenEncoder.random(tiny_encoder, image_size=32)
    trained = FrozenEncoder(random.name, random.options, lambda: random.module, {"steps": 3})
    weighted = KNNHead(block_weights=(0.3, 1.0))
    methods = default_methods(embedder(trained, pooling=("class", "profiles")), weighted)
    names = [method.name for method in methods]
    assert names[:3] == [
        "test.tiny, pretrained: class + profiles",
        "test.tiny, pretrained: class",
        "radial profiles alone, same head",
    ]
    assert names[3:5] == ["test.tiny, random weights: class + profiles", "test.tiny, random weights: class"]
    assert methods[0].features is methods[2].features
    assert methods[2].columns == slice(methods[0].blocks[0], sum(methods[0].blocks))
    assert methods[0].head.block_weights == (0.3, 1.0)
    assert methods[1].head.block_weights is None


def test_statistics_need_no_encoder_in_a_benchmark():
    names = [method.name for method in default_methods(embedder(None, pooling="statistics"), KNNHead())]
    assert names[:3] == ["statistics", "statistics, constant-width intervals", "hand-made statistics + forest"]
    same = [method.name for method in default_methods(embedder(None, pooling="statistics"), ForestHead())]
    assert same == [
        "hand-made statistics + forest",
        "hand-made statistics + forest, constant-width intervals",
        "hand-made statistics + gradient boosting",
        "mean of the training stars",
    ]


def test_all_methods_have_the_calibration_of_the_model_but_for_the_constant_width():
    conformal = StarConformal(residual_power=0.5)
    methods = default_methods(embedder(None, pooling="statistics"), ForestHead(), conformal=conformal)
    assert all(method.conformal.residual_power == 0.5 for method in methods)
    bandwidths = [method.conformal.residual_bandwidth for method in methods]
    assert bandwidths[1] > 100
    assert {bandwidths[0], *bandwidths[2:]} == {conformal.residual_bandwidth}
    assert methods[0].features is methods[1].features is methods[2].features


def test_methods_that_differ_in_calibration_alone_share_their_predictions(clouds, linear):
    predictions = held_out_masses(clouds, [linear, constant_width(linear)], splits=["star"])
    first, second = (predictions[predictions["method"] == name] for name in dict.fromkeys(predictions["method"]))
    np.testing.assert_array_equal(first["mass_predicted"], second["mass_predicted"])
    width = [np.log10(part["mass_upper_68"] / part["mass_lower_68"]) for part in (first, second)]
    for fold in range(5):
        inner = (second["fold"] == fold) & (second["mass_predicted"] > 0.3 * u.solMass)
        assert np.ptp(width[1][inner]) < 0.02
    assert np.ptp(width[0]) > np.ptp(width[1])


def test_coverage_counts_stars_in_fifths_of_predicted_mass():
    stars = np.repeat(np.arange(10), [1, 9] * 5)
    mass = 10 ** (stars / 10.0)
    predictions = QTable({"split": ["star"] * 50, "method": ["one"] * 50, "group": [f"a/{k}" for k in stars]})
    for name in ("mass_true", "mass", "mass_mean"):
        predictions[name] = mass * u.solMass
    predictions["crps"] = np.where(stars % 2, 0.1, 0.3)
    inside = stars % 2 == 1  # one of the two stars of each fifth, nine tenths of the windows
    for level in (68, 95):
        predictions[f"mass_lower_{level}"] = np.where(inside, 0.5, 2) * predictions["mass"]
        predictions[f"mass_upper_{level}"] = 4 * predictions["mass"]
    row = score_table(predictions)[0]
    assert row["coverage_68"] == pytest.approx(0.9)
    assert row["star_coverage_68"] == pytest.approx(0.5)
    np.testing.assert_allclose(row["star_coverage_68_fifths"], 0.5)
    np.testing.assert_allclose(row["star_coverage_68_fifths_low"], 0)
    assert 0.3 < row["star_coverage_68_low"] < row["star_coverage_68_high"] < 1
    assert row["crps"].value == pytest.approx(0.12)
    assert row["star_crps"].value == pytest.approx(0.2)
    assert row["star_crps_low"] < row["star_crps"] < row["star_crps_high"]
    assert row["star_width_68"].value == pytest.approx(np.log10(4))
    assert row["r2"] == row["r2_mean"] == 1


def test_the_report_has_a_table_of_fifths_for_each_split(found):
    text = report(found)
    assert text.count("Coverage [%] in fifths of predicted mass; within") == 2
    assert "68 %: 5" in text
    assert "R2 of mean" in text


def test_crps_is_reported_and_that_of_the_mean_is_worse(found):
    crps = {(row["split"], row["method"]): row["star_crps"].value for row in found.scores}
    assert crps["star", "linear"] < 0.5 * crps["star", "mean of the training stars"]
