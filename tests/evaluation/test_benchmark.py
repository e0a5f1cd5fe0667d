import numpy as np
import pytest
from astropy import units as u
from sklearn.base import BaseEstimator
from sklearn.linear_model import LinearRegression

from stellarfm.evaluation.baselines import (
    LogMassRegressor,
    Method,
    NoFeatures,
    Statistics,
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
        assert row["half_width_95"] > row["half_width_68"]


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


def test_the_report_sorts_by_r2_and_calls_a_loser_a_loser(clouds, linear):
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
    assert [method.name for method in default_methods(embedder(random), KNNHead())] == names[1:]


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
    assert names[:2] == ["statistics", "hand-made statistics + forest"]


def test_crps_is_reported_and_that_of_the_mean_is_worse(found):
    crps = {(row["split"], row["method"]): row["star_crps"].value for row in found.scores}
    assert crps["star", "linear"] < 0.5 * crps["star", "mean of the training stars"]
