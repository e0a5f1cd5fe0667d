from dataclasses import replace

import numpy as np
import pytest
from astropy import units as u
from astropy.table import QTable

from stellarfm.exceptions import MapError, UnitsError
from stellarfm.maps import MapSet, Observation
from stellarfm.maps.observing import FWHM
from stellarfm.maps.regridding import regrid

from .conftest import gas_maps

PIXEL = 0.01 * u.pc


def windows(column, velocity=None, dispersion=None):
    """Windows of the given arrays; at rest, with a dispersion of 0.2 km/s by default."""
    velocity = np.zeros_like(column) if velocity is None else velocity
    dispersion = np.full_like(column, 0.2) if dispersion is None else dispersion
    return MapSet(
        column / u.cm**2,
        velocity * u.km / u.s,
        dispersion * u.km / u.s,
        stars=QTable({"star": np.arange(len(column))}),
        pixel_scale=PIXEL,
    )


def point(side=64, background=0.0, peak=1e22):
    column = np.full((1, side, side), background)
    column[0, side // 2, side // 2] = peak
    return column


def random_windows(seed=0, n=2, side=64):
    rng = np.random.default_rng(seed)
    shape = (n, side, side)
    return windows(10 ** rng.normal(22, 0.3, shape), rng.normal(0, 1, shape), rng.uniform(0.1, 1, shape))


def same(found, expected, rtol=1e-6):
    for name in ("column_density", "velocity", "velocity_dispersion"):
        np.testing.assert_allclose(getattr(found, name).value, getattr(expected, name).value, rtol=rtol)


def test_nothing_is_changed_by_default():
    for maps in (random_windows(), gas_maps()):
        found = Observation().apply(maps)
        assert type(found) is type(maps)
        same(found, maps)


def test_a_point_becomes_the_beam_and_its_mass_is_conserved():
    fwhm = 6.0
    found = Observation(beam=fwhm * PIXEL).apply(windows(point())).column_density.value[0]
    assert found.sum() == pytest.approx(1e22, rel=1e-6)
    rows, columns = np.indices(found.shape) - 32
    variance = (found * rows**2).sum() / found.sum()
    assert variance == pytest.approx((fwhm / FWHM) ** 2, rel=0.01)
    assert found[32, 32 + 3] / found[32, 32] == pytest.approx(0.5, rel=0.02)
    assert (found * columns).sum() / found.sum() == pytest.approx(0, abs=1e-9)


def test_a_velocity_gradient_in_the_beam_adds_to_the_dispersion():
    gradient, fwhm = 0.1, 8.0
    velocity = np.broadcast_to(gradient * np.arange(64.0) - 40, (1, 64, 64))
    found = Observation(beam=fwhm * PIXEL).apply(windows(np.full((1, 64, 64), 1e22), velocity))
    expected = np.hypot(0.2, gradient * fwhm / FWHM)
    inside = (0, slice(20, 45), slice(20, 45))
    np.testing.assert_allclose(found.velocity_dispersion.value[inside], expected, rtol=1e-3)
    np.testing.assert_allclose(found.velocity.value[inside], velocity[inside], atol=1e-6)


def test_moments_are_weighted_by_column_density():
    column, velocity = np.zeros((1, 64, 64)), np.zeros((1, 64, 64))
    dispersion = np.full((1, 64, 64), 0.3)
    column[0, 32, 32], column[0, 32, 33] = 3e22, 1e22
    velocity[0, 32, 32], velocity[0, 32, 33] = 1, -1
    found = Observation(beam=4 * PIXEL).apply(windows(column + 1e-10, velocity, dispersion))
    a, b = 3.0, np.exp(-0.5 * (FWHM / 4) ** 2)  # weights at the pixel of the first: 3, and 1 one pixel away
    mean = (a - b) / (a + b)
    assert found.velocity.value[0, 32, 32] == pytest.approx(mean, rel=2e-3)
    expected = np.sqrt(0.3**2 + 1 - mean**2)
    assert found.velocity_dispersion.value[0, 32, 32] == pytest.approx(expected, rel=2e-3)


def test_mass_and_momentum_are_conserved_away_from_the_edge():
    maps = random_windows()
    column = np.where(np.hypot(*(np.indices((64, 64)) - 32)) < 16, maps.column_density.value, 1e-3)
    maps = replace(maps, column_density=column / u.cm**2)
    found = Observation(beam=5 * PIXEL).apply(maps)

    def totals(maps):
        n, v, s = (x.value for x in (maps.column_density, maps.velocity, maps.velocity_dispersion))
        return [x.sum() for x in (n, n * v, n * (s**2 + v**2))]

    np.testing.assert_allclose(totals(found), totals(maps), rtol=1e-6)


def test_uniform_maps_stay_uniform_up_to_the_edge_and_next_to_missing_pixels():
    column = np.full((1, 64, 64), 1e22)
    column[0, 30:34, 30:34] = np.nan
    found = Observation(beam=8 * PIXEL).apply(windows(column, np.full_like(column, 7.0)))
    np.testing.assert_array_equal(found.mask, np.isnan(column))
    np.testing.assert_allclose(found.column_density.value[~found.mask], 1e22)
    np.testing.assert_allclose(found.velocity.value[~found.mask], 7)
    np.testing.assert_allclose(found.velocity_dispersion.value[~found.mask], 0.2)


def test_an_angle_at_a_distance_is_a_length():
    maps = random_windows()
    distance = 200 * u.pc
    angle = (0.05 / 200 * u.rad).to(u.arcsec)
    same(Observation(beam=angle, distance=distance).apply(maps), Observation(beam="0.05 pc").apply(maps))
    with pytest.raises(MapError, match="beam is an angle, .* set distance or give a length"):
        Observation(beam=angle).apply(maps)


def test_a_field_is_convolved_like_its_windows():
    field = gas_maps(shape=(64, 64))
    as_windows = MapSet(
        field.column_density[None],
        field.velocity[None],
        field.velocity_dispersion[None],
        stars=QTable({"star": [1]}),
        pixel_scale=field.pixel_scale,
    )
    for observation in (
        Observation(beam=5 * field.pixel_scale),
        Observation(beam=5 * field.pixel_angle, distance=field.distance),
    ):
        found, expected = observation.apply(field), observation.apply(as_windows)
        np.testing.assert_allclose(found.column_density.value, expected.column_density.value[0])
        np.testing.assert_allclose(found.velocity_dispersion.value, expected.velocity_dispersion.value[0])


def test_an_angle_needs_no_distance_on_a_field_in_angles():
    near, unknown = gas_maps(), gas_maps(distance=None)
    observation = Observation(beam=5 * near.pixel_angle)
    same(observation.apply(unknown), observation.apply(near))
    with pytest.raises(MapError, match="distance is not known"):
        Observation(beam="0.1 pc").apply(unknown)


def test_beams_of_a_field_add_in_quadrature():
    field = gas_maps()
    pixel = field.pixel_angle.to_value(u.deg)
    field = replace(field, meta={"beam": (3 * pixel, 2 * pixel, 30.0)})
    found = Observation(beam=4 * field.pixel_angle).apply(field).meta["beam"]
    np.testing.assert_allclose(found, (5 * pixel, np.hypot(4, 2) * pixel, 30))


def test_larger_pixels_of_a_field_are_those_of_regridding():
    field = gas_maps()
    target = 2.5 * field.pixel_scale
    found, expected = Observation(pixel_scale=target).apply(field), regrid(field, target)
    same(found, expected)
    assert found.pixel_scale.value == pytest.approx(target.value)


@pytest.mark.parametrize("factor", [2, 3, 4, 2.5])
def test_larger_pixels_of_windows_keep_the_star_in_the_middle(factor):
    found = Observation(pixel_scale=factor * PIXEL).apply(windows(point(background=0.0)))
    column = found.column_density.value[0]
    side = len(column)
    assert column[side // 2, side // 2] == pytest.approx(1e22 / factor**2)
    assert column.sum() == pytest.approx(1e22 / factor**2)
    assert found.pixel_scale.value == pytest.approx(factor * PIXEL.value)
    assert 64 - 2 * factor <= side * factor <= 64


def test_motion_within_a_larger_pixel_becomes_dispersion():
    velocity = np.broadcast_to(0.3 * np.arange(64.0), (1, 64, 64))
    found = Observation(pixel_scale=3 * PIXEL).apply(windows(np.full((1, 64, 64), 1e22), velocity))
    np.testing.assert_allclose(found.velocity_dispersion.value, np.sqrt(0.2**2 + 0.3**2 * 2 / 3))
    np.testing.assert_allclose(np.diff(found.velocity.value, axis=2), 0.9)


def test_pixels_can_only_grow():
    for maps in (random_windows(), gas_maps()):
        with pytest.raises(MapError, match="smaller than that of the maps"):
            Observation(pixel_scale=maps.pixel_scale / 2).apply(maps)


def test_noise_has_its_standard_deviation_and_its_seed():
    maps = windows(np.full((4, 64, 64), 1e22), dispersion=np.full((4, 64, 64), 5.0))
    observation = Observation(column_noise=0.1, velocity_noise=0.3 * u.km / u.s, dispersion_noise=100 * u.m / u.s)
    found = observation.apply(maps, seed=3)
    assert found.column_density.value.std() == pytest.approx(1e21, rel=0.03)
    assert found.velocity.value.std() == pytest.approx(0.3, rel=0.03)
    assert found.velocity_dispersion.value.std() == pytest.approx(0.1, rel=0.03)
    same(observation.apply(maps, seed=3), found, rtol=0)
    assert not np.array_equal(observation.apply(maps, seed=4).velocity, found.velocity)


def test_absolute_noise_does_not_depend_on_the_column_density():
    column = np.full((2, 64, 64), 1e20)
    column[1] = 1e24
    found = Observation(column_noise=1e25 / u.m**2).apply(windows(column)).column_density.value
    np.testing.assert_allclose((found - column).std(axis=(1, 2)), 1e21, rtol=0.05)


def test_dispersions_that_noise_makes_negative_are_missing():
    found = Observation(dispersion_noise=0.2 * u.km / u.s).apply(windows(np.full((4, 64, 64), 1e22)))
    assert np.mean(np.isnan(found.velocity_dispersion.value)) == pytest.approx(0.159, abs=0.01)


def test_zero_level_comes_before_the_limits():
    column = np.full((1, 64, 64), 1e22)
    column[0, :10], column[0, 10:20] = 1e21, 1e24
    limits = (1e21 / u.cm**2, 1e23 / u.cm**2)
    found = Observation(zero_level=-5e20 / u.cm**2, column_limits=limits).apply(windows(column))
    assert found.mask[0, :20].all()
    assert not found.mask[0, 20:].any()
    assert np.isnan(found.velocity.value[0, :20]).all()
    np.testing.assert_allclose(found.column_density.value[0, 20:], 9.5e21)
    only_low = Observation(column_limits=(limits[0] * 2, None)).apply(windows(column))
    np.testing.assert_array_equal(only_low.mask[0], column[0] < 2e21)


def test_missing_pixels_at_random_or_by_a_mask():
    found = Observation(missing=0.3).apply(random_windows(n=4))
    assert found.mask.mean() == pytest.approx(0.3, abs=0.02)
    field = gas_maps()
    mask = np.zeros(field.shape, dtype=bool)
    mask[:7] = True
    np.testing.assert_array_equal(Observation(missing=mask).apply(field).mask, mask)
    with pytest.raises(MapError, match=r"missing has shape \(3, 3\); expected"):
        Observation(missing=np.zeros((3, 3), dtype=bool)).apply(field)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"beam": 3}, UnitsError, "expected an angle or a length"),
        ({"beam": "0 arcsec"}, UnitsError, "expected one positive"),
        ({"pixel_scale": "large"}, UnitsError, "pixel_scale 'large' is not an angle or length"),
        ({"column_noise": 1 * u.km}, UnitsError, "column_noise is in km"),
        ({"column_noise": -0.1}, MapError, "column_noise is -0.1"),
        ({"velocity_noise": 0.1}, UnitsError, "velocity_noise has no unit"),
        ({"zero_level": 1e20}, UnitsError, "zero_level has no unit"),
        ({"column_limits": (1e23 / u.cm**2, 1e22 / u.cm**2)}, MapError, "expected \\(lowest, highest\\)"),
        ({"missing": 1.0}, MapError, "missing is 1.0"),
        ({"distance": "5 arcsec"}, UnitsError, "distance"),
    ],
)
def test_bad_values_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        Observation(**options)


def test_the_table_and_the_rest_of_a_map_set_are_kept():
    maps = replace(random_windows(), simulation="run", depth=0.3 * u.pc, cell_size=np.full((2, 64, 64), 0.01) * u.pc)
    found = Observation(beam="0.05 pc").apply(maps)
    assert list(found.stars["star"]) == list(maps.stars["star"])
    assert (found.simulation, found.depth, found.cell_size.shape) == ("run", maps.depth, maps.cell_size.shape)
    assert Observation(pixel_scale="0.04 pc").apply(maps).cell_size is None
