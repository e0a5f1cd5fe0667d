import numpy as np
import pytest

from stellarfm.exceptions import ModelError
from stellarfm.inference.masses.conformal import StarConformal
from stellarfm.inference.masses.mass_head import MassHead
from stellarfm.inference.masses.regression import MassRegressor


@pytest.fixture(scope="module")
def unfitted():
    return MassHead(MassRegressor(n_components=2, n_neighbors=3), StarConformal())


@pytest.fixture(scope="module")
def windows():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(90, 4)).astype(np.float32)
    stars, simulations = np.tile(np.arange(15), 6).astype(str), np.repeat(["a", "b"], 45)
    return features, 10.0 ** features[:, 0], {"stars": stars, "simulations": simulations}


@pytest.fixture(scope="module")
def head(unfitted, windows):
    features, mass, names = windows
    return unfitted.fit(features, mass, **names, blocks=(3, 1))


def test_fitting_leaves_the_options_as_they_are(unfitted, head):
    assert unfitted.reference is None
    assert unfitted.regressor.blocks is None
    assert head.regressor.blocks == (3, 1)
    assert head.summary()["stars"] == 30
    with pytest.raises(ModelError, match="call fit first"):
        unfitted.summary()


def test_a_head_survives_its_arrays(head, windows):
    again = MassHead.from_arrays(head.options(), head.to_arrays())
    one, other = head.predict(windows[0]), again.predict(windows[0])
    np.testing.assert_array_equal(one.log_mass, other.log_mass)
    np.testing.assert_array_equal(one.ood, other.ood)
    np.testing.assert_array_equal(one.interval(0.68), other.interval(0.68))
    assert again.cross_validation == head.cross_validation
    assert again.trusted_mass_range == head.trusted_mass_range


def test_the_reference_stars_are_known(head):
    assert head.is_reference(np.array(["a/1", "b/14", "a/15", "c/1"])).tolist() == [True, True, False, False]
