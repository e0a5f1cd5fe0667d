import json
from dataclasses import replace

import numpy as np
import pytest
from astropy import units as u

from stellarfm.exceptions import MapError, ModelError
from stellarfm.maps import MapScaler

from .conftest import map_set

OPTIONS = [(column, dispersion) for column in ("set", "window") for dispersion in ("set", "window")]


def scaler(options=("set", "set"), **more):
    return MapScaler(column_reference=options[0], dispersion_reference=options[1], **more)


def with_missing(mapset, name, where, value=np.nan):
    quantity = getattr(mapset, name).copy()
    quantity[where] = value * quantity.unit
    return replace(mapset, **{name: quantity})


@pytest.mark.parametrize("options", OPTIONS)
def test_channels_are_of_order_one(options):
    tensor = scaler(options).fit(map_set(20)).transform(map_set(20))
    assert tensor.shape == (20, 3, 8, 8)
    assert tensor.dtype == np.float32
    assert np.abs(tensor).max() <= 5
    np.testing.assert_allclose(np.median(tensor, axis=(0, 2, 3)), 0, atol=0.1)
    spread = np.diff(np.percentile(tensor, [15.865, 84.135], axis=(0, 2, 3)), axis=0) / 2
    np.testing.assert_allclose(spread, 1, rtol=0.02)


def test_numbers_by_hand():
    mapset = map_set(5)
    fitted = scaler().fit(mapset)
    tensor = fitted.transform(mapset)
    column, velocity = mapset.column_density.value.astype(float), mapset.velocity.value.astype(float)
    mean = (column * velocity).sum(axis=(1, 2)) / column.sum(axis=(1, 2))
    np.testing.assert_allclose(tensor[:, 1], (velocity - mean[:, None, None]) / fitted.scale_[1], atol=1e-5)
    np.testing.assert_allclose(tensor[:, 0], (np.log10(column) - fitted.center_[0]) / fitted.scale_[0], atol=1e-4)
    assert fitted.center_[0] == pytest.approx(np.median(np.log10(column)), abs=1e-5)


@pytest.mark.parametrize("options", OPTIONS)
def test_a_common_velocity_changes_nothing(options):
    mapset = map_set()
    moved = replace(mapset, velocity=mapset.velocity + 300 * u.km / u.s)
    fitted = scaler(options).fit(mapset)
    np.testing.assert_allclose(fitted.transform(moved), fitted.transform(mapset), atol=1e-3)


def test_only_a_window_reference_hides_the_overall_level():
    mapset = map_set()
    denser = replace(mapset, column_density=10 * mapset.column_density)
    by_set, by_window = scaler().fit(mapset), scaler(("window", "window")).fit(mapset)
    np.testing.assert_allclose(by_window.transform(denser), by_window.transform(mapset), atol=1e-4)
    assert by_set.transform(denser)[:, 0].mean() > by_set.transform(mapset)[:, 0].mean() + 1


@pytest.mark.parametrize("options", OPTIONS)
def test_a_window_alone_gives_what_it_gives_among_others(options):
    mapset = map_set(8)
    fitted = scaler(options).fit(mapset)
    np.testing.assert_array_equal(fitted.transform(mapset)[3:4], fitted.transform(mapset[3]))


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("channel", [0, 1, 2])
def test_missing_pixels_are_the_centre(options, channel):
    name = ("column_density", "velocity", "velocity_dispersion")[channel]
    whole = map_set()
    fitted = scaler(options).fit(whole)
    tensor = fitted.transform(with_missing(whole, name, (2, 3, 4)))
    assert np.isfinite(tensor).all()
    assert tensor[2, channel, 3, 4] == 0
    assert (tensor[2, :, 3, 4] == 0).sum() == 1
    np.testing.assert_array_equal(tensor[[0, 1, 3, 4, 5]], fitted.transform(whole)[[0, 1, 3, 4, 5]])


@pytest.mark.parametrize("options", OPTIONS)
def test_empty_windows_are_zero(options):
    mapset = map_set()
    for name in ("column_density", "velocity", "velocity_dispersion"):
        mapset = with_missing(mapset, name, 1)
    tensor = scaler(options).fit(map_set()).transform(mapset)
    assert (tensor[1] == 0).all()
    assert np.isfinite(tensor).all()


def test_column_densities_that_are_not_positive_are_missing():
    mapset = with_missing(map_set(), "column_density", (0, 0, 0), -1e20)
    tensor = scaler().fit(mapset).transform(mapset)
    assert tensor[0, 0, 0, 0] == 0
    assert np.isfinite(tensor).all()


def test_outliers_do_not_move_the_scale():
    mapset = map_set(20)
    wild = with_missing(mapset, "velocity", (slice(None), 0, 0), 2000.0)
    np.testing.assert_allclose(scaler().fit(wild).scale_[2], scaler().fit(mapset).scale_[2])
    assert np.abs(scaler(clip=3.0).fit(mapset).transform(wild)).max() == 3


def test_constant_channels():
    mapset = map_set()
    constant = replace(mapset, velocity=0 * mapset.velocity)
    assert (scaler().fit(constant).transform(constant)[:, 1] == 0).all()


def test_config_round_trip():
    fitted = scaler(("window", "set"), clip=4.0).fit(map_set())
    again = MapScaler.from_config(json.loads(json.dumps(fitted.to_config())))
    np.testing.assert_array_equal(again.transform(map_set()), fitted.transform(map_set()))


@pytest.mark.parametrize(
    "change",
    [{"scale": [1, 0, 1]}, {"scale": [1, 1]}, {"centre": "x"}, {"centre": [0, 0, float("nan")]}, {"clip": -1},
     {"clip": "a"}, {"column_reference": "sky"}, {"scale": None}, {"scale": [1, 1, float("inf")]}],
)  # fmt: skip
def test_tampered_configurations(change):
    config = scaler().fit(map_set()).to_config()
    with pytest.raises(ModelError, match="scaler"):
        MapScaler.from_config(config | change)
    with pytest.raises(ModelError, match="scaler"):
        MapScaler.from_config({})


def test_refusals():
    with pytest.raises(MapError, match="column_reference is 'sky'"):
        scaler(("sky", "set")).fit(map_set())
    with pytest.raises(MapError, match="clip"):
        scaler(clip=0).fit(map_set())
    with pytest.raises(ModelError, match="not fitted"):
        scaler().transform(map_set())
    with pytest.raises(MapError, match="no valid pixel of velocity in 6 windows"):
        scaler().fit(with_missing(map_set(), "velocity", slice(None)))
    with pytest.raises(MapError, match="no valid pixel"):
        scaler().fit(map_set()[[]])


def test_no_windows_give_no_tensor():
    for options in OPTIONS:
        assert scaler(options).fit(map_set()).transform(map_set()[[]]).shape == (0, 3, 8, 8)
