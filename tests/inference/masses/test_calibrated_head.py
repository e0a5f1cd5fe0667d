import logging

import numpy as np
import pytest

from stellarfm.exceptions import ModelError
from stellarfm.inference import ForestHead, KNNHead
from stellarfm.inference.masses.analogues import find_analogues
from stellarfm.inference.masses.calibrated_head import CalibratedHead, head_name
from stellarfm.inference.masses.reference_set import ReferenceSet


def reference_windows(rng, *, deep=True):
    """Two runs of 15 stars, three windows each, as cubes and, with a bias and more scatter, in their whole depth."""
    log_mass = np.repeat(rng.normal(0, 0.5, 30), 3)
    star = np.repeat(np.tile(np.arange(15), 2), 3).astype(str)
    simulation = np.repeat(["a", "b"], 45)
    cubes = np.column_stack([log_mass + 0.1 * rng.normal(size=90), rng.normal(size=(90, 3))])
    fields = np.column_stack([log_mass + 0.5 + 0.4 * rng.normal(size=90), rng.normal(size=(90, 3))])
    times = 2 if deep else 1
    return ReferenceSet(
        features=np.concatenate([cubes, fields][:times]).astype(np.float32),
        mass=np.tile(10**log_mass, times),
        star=np.tile(star, times),
        simulation=np.tile(simulation, times),
        time=np.tile(np.repeat([0.1, 0.2, 0.3], 30), times),
        depth=np.repeat([0.5, 4.0][:times], 90),
        depth_class=np.repeat(["cube", "field"][:times], 90),
    )


@pytest.fixture(scope="module")
def unfitted():
    return CalibratedHead(head=KNNHead(n_components=2, n_neighbors=3))


@pytest.fixture(scope="module")
def reference():
    return reference_windows(np.random.default_rng(0))


@pytest.fixture(scope="module")
def head(unfitted, reference):
    return unfitted.fit(reference, blocks=(3, 1))


def test_fitting_leaves_the_options_as_they_are(unfitted, head):
    assert unfitted.reference is None
    assert head.summary()["stars"] == 30
    assert head.summary()["windows_by_depth"] == {"cube": 90, "field": 90}
    assert head.summary()["depth_pc"] == {"cube": 0.5, "field": 4.0}
    with pytest.raises(ModelError, match="call fit first"):
        unfitted.summary()


@pytest.mark.parametrize("depth", ["cube", "field"])
def test_a_head_survives_its_arrays(head, reference, depth):
    again = CalibratedHead.from_arrays(head.options(), head.to_arrays(), reference)
    one, other = (h.predict(reference.features, depth_class=depth) for h in (head, again))
    np.testing.assert_array_equal(one.probability, other.probability)
    np.testing.assert_array_equal(one.interval(0.68), other.interval(0.68))
    assert again.cross_validation == head.cross_validation
    assert again.trusted_mass_range == head.trusted_mass_range


def test_the_reference_stars_are_known(head):
    assert head.is_reference(np.array(["a/1", "b/14", "a/15", "c/1"])).tolist() == [True, True, False, False]


def test_each_depth_is_calibrated_with_its_own_windows(head):
    at = np.column_stack([np.zeros(1), np.zeros((1, 3))]).astype(np.float32)
    widths = {}
    for depth in ("cube", "field"):
        lower, upper = head.predict(at, depth_class=depth).interval(0.68)
        widths[depth] = upper[0] - lower[0]
        assert len(head.calibrations[depth].score_) == 90
    assert widths["field"] > 1.3 * widths["cube"]


def test_a_star_is_in_one_fold_whatever_its_depth(reference):
    """Otherwise the cube of a star would tell the mass of its field: here features name the star."""
    numbers = np.unique(reference.groups, return_inverse=True)[1]
    named = ReferenceSet.from_arrays({**reference.to_arrays(), "features": 10.0 * numbers[:, None].astype(np.float32)})
    fitted = CalibratedHead(head=KNNHead(n_neighbors=1)).fit(named)
    for one in fitted.calibrations.values():
        assert np.corrcoef(one.predicted_, one.log_mass_)[0, 1] < 0.5


def test_an_absent_depth_is_replaced_with_a_warning(caplog):
    fitted = CalibratedHead(head=KNNHead()).fit(reference_windows(np.random.default_rng(0), deep=False))
    with caplog.at_level(logging.WARNING, logger="stellarfm"):
        found = fitted.predict(fitted.reference.features[:3], depth_class="field")
    assert "no windows of depth 'field'" in caplog.text
    assert len(found) == 3
    with pytest.raises(ModelError, match="choose 'cube' or 'field'"):
        fitted.predict(fitted.reference.features[:3], depth_class="sky")


def test_missing_features_become_typical_ones(head, reference):
    features = reference.features[:2].copy()
    features[0, 1] = np.nan
    features[1] = np.nan
    found = head.predict(features, depth_class="cube")
    assert np.all(np.isfinite(found.mean()))
    median = np.median(reference.features, axis=0)[None]
    assert found.mean()[1] == pytest.approx(head.predict(median, depth_class="cube").mean()[0])


def test_a_prior_moves_the_mass_and_the_reference_prior_does_not(head, reference):
    features = reference.features[:20]
    before = head.predict(features, depth_class="field")
    np.testing.assert_array_equal(before.mean(), head.predict(features, depth_class="field", prior="reference").mean())
    assert np.all(head.predict(features, depth_class="field", prior="kroupa").mean() < before.mean() + 0.2)
    assert np.ptp(head.predict(features, depth_class="field", prior="flat").mean() - before.mean()) > 0


def test_unregistered_heads_cannot_be_stored():
    class Mine(ForestHead):
        pass

    assert head_name(ForestHead()) == "forest"
    with pytest.raises(ModelError, match="Mine is not registered"):
        head_name(Mine())


def test_analogues_are_the_stars_with_the_largest_weights(reference):
    weights = np.zeros((3, 180))
    weights[0, [0, 1, 90]] = 0.3, 0.1, 0.2  # windows of one star, one of them in its whole depth
    weights[0, 50] = 0.4
    weights[1] = np.nan
    weights[2, 179] = 1.0
    found = find_analogues(weights, reference, n_analogues=2)
    assert found["source"].tolist() == [0, 0, 2]
    assert found["rank"].tolist() == [1, 2, 1]
    np.testing.assert_allclose(found["weight"], [0.6, 0.4, 1.0], rtol=1e-6)
    assert found["window"].tolist() == [0, 50, 179]
    np.testing.assert_allclose(found["window_weight"], [0.3, 0.4, 1.0], rtol=1e-6)
    assert found["simulation"].tolist() == ["a", "b", "b"]
    assert found["depth_class"].tolist() == ["cube", "cube", "field"]
    np.testing.assert_allclose(found["mass"].to_value("solMass"), reference.mass[[0, 50, 179]])
    assert len(find_analogues(weights[1:2], reference)) == 0
