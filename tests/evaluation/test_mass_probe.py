"""The probe: it sees what can be read off, sees nothing it should not, and never stops a run."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from stellarfm import registry
from stellarfm.evaluation.mass_probe import MassProbe
from stellarfm.exceptions import MapError, ModelError
from stellarfm.maps import MapSet


@pytest.fixture
def encoder(tiny_encoder):
    torch.manual_seed(0)
    return registry.create("encoders", tiny_encoder)


@pytest.fixture(scope="module")
def two_clouds(cloud):
    return MapSet.concatenate([cloud("one", seed=1, n_stars=40), cloud("two", seed=2, n_stars=40)])


def shuffled(windows, seed=0):
    """The same windows, the masses of whole stars exchanged."""
    stars = windows.stars.copy()
    names, index, number = np.unique(windows.groups, return_index=True, return_inverse=True)
    order = np.random.default_rng(seed).permutation(len(names))
    stars["mass"] = stars["mass"][index][order][number]
    return replace(windows, stars=stars)


def test_a_mass_that_shows_is_found_and_one_that_does_not_is_not(two_clouds, encoder):
    scores = MassProbe(two_clouds)(encoder)
    assert set(scores) == {
        f"{part}_by_{split}" for part in ("class", "rings", "zooms") for split in ("star", "simulation")
    }
    assert min(scores.values()) > 0.3
    # Views of one star are nearly the same: whoever knew the others would know the mass.
    assert max(MassProbe(shuffled(two_clouds))(encoder).values()) < 0.15


def test_one_cloud_is_split_by_star_only(cloud, encoder):
    assert set(MassProbe(cloud("one"))(encoder)) == {"class_by_star", "rings_by_star", "zooms_by_star"}


def test_scales_come_from_the_training_side(two_clouds):
    """A cloud that is held out may be as strange as it likes."""
    strange = replace(two_clouds, column_density=two_clouds.column_density.copy())
    second = np.asarray(strange.stars["simulation"]).astype(str) == "two"
    strange.column_density[second] *= 1000
    before, after = MassProbe(two_clouds), MassProbe(strange)
    changed = [
        a.to_config() != b.to_config()
        for a, b in zip(before.scalers["simulation"], after.scalers["simulation"], strict=True)
    ]
    assert sorted(changed) == [False, True]


def test_views_are_few_and_always_the_same(two_clouds, encoder):
    first, second, other = (MassProbe(two_clouds, per_star=1, seed=seed) for seed in (0, 0, 1))
    assert len(first.windows) == 80
    assert first(encoder) == first(encoder) == second(encoder)
    assert first(encoder) != other(encoder)
    assert "80 windows of 80 stars of one, two" in first.about


def test_folds_of_equal_scales_share_one_pass(two_clouds, encoder, monkeypatch):
    probe, seen = MassProbe(two_clouds), []
    monkeypatch.setattr(type(encoder), "encode", counted(type(encoder).encode, seen))
    probe(encoder)
    scales = {str(scaler.to_config()) for scalers in probe.scalers.values() for scaler in scalers}
    assert sum(seen) == len(scales) * len(probe.windows) * probe.readout.zooms
    assert len(scales) < 7


def counted(encode, seen):
    def count(self, images, *, mask=None):
        seen.append(len(images))
        return encode(self, images, mask=mask)

    return count


def test_the_encoder_is_left_as_it_was(two_clouds, encoder):
    encoder.train()
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    MassProbe(two_clouds)(encoder)
    assert encoder.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in encoder.state_dict().items())


@pytest.mark.parametrize("value", [0.0, np.nan])
def test_a_broken_encoder_scores_nan(cloud, encoder, value):
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.fill_(value)
    assert all(np.isnan(score) for score in MassProbe(cloud("one"))(encoder).values())


def test_windows_that_do_not_fit(cloud, encoder):
    MassProbe(cloud("one")).check(encoder)
    with pytest.raises(ModelError, match="probe windows of 3 channels and 20 pixels do not fit"):
        MassProbe(cloud("one", side=20)).check(encoder)
    with pytest.raises(MapError, match="have no masses"):
        MassProbe(replace(cloud("one"), label_kind=None))
