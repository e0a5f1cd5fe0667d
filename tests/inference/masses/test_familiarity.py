from dataclasses import replace

import numpy as np
import pytest
from astropy import units as u
from astropy.table import QTable
from safetensors.numpy import load_file, save_file
from scipy.ndimage import gaussian_filter

from stellarfm.exceptions import ModelError
from stellarfm.inference.masses.familiarity import GROUPS, Familiarity, _thresholds, familiarity_features
from stellarfm.inference.masses.flags import MassFlag
from stellarfm.maps import MapSet

UNITS = (u.cm**-2, u.km / u.s, u.km / u.s)


def mapset(column, velocity, dispersion, star):
    maps = (values * unit for values, unit in zip((column, velocity, dispersion), UNITS, strict=True))
    return MapSet(*maps, stars=QTable({"star": star}), pixel_scale=0.01 * u.pc)


def changed(windows, **maps):
    units = {"column_density": UNITS[0], "velocity": UNITS[1], "velocity_dispersion": UNITS[2]}
    return replace(windows, **{name: values * units[name] for name, values in maps.items()})


def cloud(seed, *, stars=120, views=3, side=32):
    """Smooth random maps around stars; views of one star resemble each other, dispersion follows column density."""
    rng = np.random.default_rng(seed)
    own, common = rng.normal(size=(3, stars, views, side, side)), rng.normal(size=(3, stars, 1, side, side))
    fields = gaussian_filter(own + common, (0, 0, 0, 1.5, 1.5), mode="wrap").reshape(3, stars * views, side, side)
    offset = np.repeat(rng.normal(0, 0.2, stars), views)[:, None, None]
    column = 22 + offset + fields[0]
    dispersion = np.log10(0.3) + 0.5 * (offset + fields[0]) + 0.3 * fields[2]
    return mapset(10**column, fields[1], 10**dispersion, np.repeat(np.arange(stars), views))


@pytest.fixture(scope="module")
def reference():
    return cloud(0)


@pytest.fixture(scope="module")
def others():
    return cloud(1)


@pytest.fixture(scope="module")
def familiarity(reference):
    return Familiarity().fit(reference)


def test_new_stars_are_flagged_at_about_the_nominal_rate(familiarity, others):
    scores = familiarity.score(others)
    assert np.isfinite(scores.ood).all()
    assert 0.005 < np.mean(scores.ood > 1) < 0.1


def noisy(windows):
    rng = np.random.default_rng(2)
    return changed(windows, column_density=windows.column_density.value * 10 ** rng.normal(0, 0.1, windows.mask.shape))


def smooth(windows):
    return changed(windows, velocity=gaussian_filter(windows.velocity.value, (0, 1.5, 1.5)))


def constant(windows):
    names = ("column_density", "velocity", "velocity_dispersion")
    maps = {name: getattr(windows, name).value for name in names}
    return changed(windows, **{k: np.median(x, axis=(1, 2), keepdims=True) + 0 * x for k, x in maps.items()})


@pytest.mark.parametrize(
    ("alter", "group"),
    [
        (lambda w: changed(w, column_density=w.column_density.value * 100), "level"),
        (noisy, "scale"),
        (smooth, "scale"),
        (constant, "structure"),
        (lambda w: changed(w, velocity_dispersion=w.velocity_dispersion.value * 100), "kinematics"),
        (lambda w: changed(w, velocity=w.velocity.value * 1000), "kinematics"),
    ],
    ids=["N x 100", "noise", "beam", "constant", "unit of the dispersion", "unit of the velocity"],
)
def test_altered_maps_are_flagged_in_their_group(familiarity, others, alter, group):
    scores = familiarity.score(alter(others))
    assert np.mean(getattr(scores, group) > 1) > 0.9
    np.testing.assert_array_equal(scores.flags & GROUPS[group] > 0, getattr(scores, group) > 1)


def test_wrong_level_is_not_a_matter_of_structure(familiarity, others):
    scores = familiarity.score(changed(others, column_density=others.column_density.value * 100))
    unaltered = familiarity.score(others)
    np.testing.assert_allclose(scores.structure, unaltered.structure, rtol=1e-3)
    np.testing.assert_allclose(scores.scale, unaltered.scale, rtol=1e-3)
    np.testing.assert_allclose(scores.kinematics, unaltered.kinematics, rtol=1e-3)


@pytest.mark.parametrize("group", GROUPS)
def test_score_is_the_largest_and_flags_have_its_bit(familiarity, others, group):
    scores = familiarity.score(others[:1])
    values = {name: np.zeros(1) for name in GROUPS} | {group: np.array([1.5])}
    scores = replace(scores, **values)
    assert scores.ood == 1.5
    assert scores.flags == MassFlag[f"UNUSUAL_{group.upper()}"]


def test_orientation_and_zero_point_of_the_velocity_do_not_matter(familiarity, others):
    few = others[:9]
    expected = familiarity.score(few).ood
    names = ("column_density", "velocity", "velocity_dispersion")

    def turned(values, change):
        values = values.value.copy()
        values[:, 1:, 1:] = change(values[:, 1:, 1:])
        return values

    for change in (lambda x: np.rot90(x, axes=(1, 2)), lambda x: x[:, ::-1]):
        inner = replace(few, **{name: getattr(few, name)[:, 1:, 1:] for name in names})
        other = replace(inner, **{name: change(getattr(inner, name)) for name in names})
        found, inner_expected = familiarity.score(other).ood, familiarity.score(inner).ood
        np.testing.assert_allclose(found, inner_expected, rtol=1e-3)
    for velocity in (-few.velocity.value, few.velocity.value + 30):
        np.testing.assert_allclose(familiarity.score(changed(few, velocity=velocity)).ood, expected, rtol=1e-2)


def test_arrays_restore_the_scores(familiarity, others, tmp_path):
    save_file(familiarity.to_arrays(), tmp_path / "a")
    restored = Familiarity.from_arrays(load_file(tmp_path / "a"))
    expected, found = familiarity.score(others[:20]), restored.score(others[:20])
    for group in GROUPS:
        np.testing.assert_allclose(getattr(found, group), getattr(expected, group), rtol=1e-10)


def test_incomplete_arrays_are_refused(familiarity):
    arrays = familiarity.to_arrays()
    with pytest.raises(ModelError, match=r"incomplete \(thresholds\)"):
        Familiarity.from_arrays({name: values for name, values in arrays.items() if name != "thresholds"})
    with pytest.raises(ModelError, match=r"incomplete \(scale\)"):
        Familiarity.from_arrays({name: values for name, values in arrays.items() if not name.startswith("scale")})


def test_windows_with_some_missing_pixels_have_a_score(familiarity, others):
    column = others.column_density.value[:20].copy()
    column[:, :8] = np.nan
    column[-1] = np.nan
    scores = familiarity.score(changed(others[:20], column_density=column))
    assert np.isfinite(scores.ood[:-1]).all()
    assert np.mean(scores.ood[:-1] > 1) < 0.5
    assert np.isnan(scores.ood[-1])
    assert scores.flags[-1] == 0


def test_reference_windows_without_data_are_left_out(reference):
    column = reference.column_density.value.copy()
    column[:3] = np.nan
    found = Familiarity().fit(changed(reference, column_density=column))
    assert np.isfinite(found.thresholds_).all()


def test_stars_may_be_given(reference, familiarity):
    found = Familiarity().fit(reference, stars=np.repeat(np.arange(120), 3))
    assert set(found.thresholds_.shape) == {len(GROUPS)}
    relabeled = Familiarity().fit(reference, stars=reference.groups)
    np.testing.assert_array_equal(relabeled.thresholds_, familiarity.thresholds_)


def test_bad_options_are_refused(reference):
    with pytest.raises(ModelError, match="false_alarm_rate is 2; expected a number between 0 and 1"):
        Familiarity(false_alarm_rate=2).fit(reference)
    with pytest.raises(ModelError, match="has 1 stars"):
        Familiarity().fit(reference[:3])


def test_features_of_a_linear_ramp():
    rows = np.arange(32.0)[:, None] * np.ones(32)
    ones = np.ones((1, 32, 32))
    features = familiarity_features(mapset(1e22 * ones, (0.3 * rows)[None], ones, np.arange(1)))
    coarse = features["coarse"].reshape(3, 2, 2, 3)
    np.testing.assert_allclose(coarse[1, :, 0, 2], np.log10([0.6, 1.2]), atol=1e-3)  # gradients along rows
    np.testing.assert_allclose(coarse[1, :, 1], -5, atol=0.2)  # no curvature
    np.testing.assert_allclose(coarse[0], -5, atol=1e-3)
    assert all(values.shape[0] == 1 for values in features.values())


@pytest.mark.parametrize("rate", [0.04, 0.3])
def test_thresholds_flag_the_nominal_share_of_the_weight(rate):
    rng = np.random.default_rng(0)
    scores, weights = rng.exponential(size=(2000, 4)), rng.uniform(0.5, 1, 2000)
    flagged = (scores > _thresholds(scores, weights, rate)).any(axis=1)
    assert np.average(flagged, weights=weights) == pytest.approx(rate, abs=1e-3)
    by_group = np.average(scores > _thresholds(scores, weights, rate), axis=0, weights=weights)
    np.testing.assert_allclose(by_group, by_group.mean(), atol=1e-3)
