import numpy as np
import pytest
from astropy import constants
from astropy import units as u
from astropy.table import QTable

from stellarfm.inference.encoding.statistics import RING_EDGES, STATISTIC_NAMES, ring_numbers, window_statistics
from stellarfm.maps import MapSet

PIXEL = 0.01 * u.pc


def mapset(column, velocity, dispersion, **options):
    maps = (
        np.asarray(values, dtype=float) * unit
        for values, unit in zip((column, velocity, dispersion), (u.cm**-2, u.km / u.s, u.km / u.s), strict=True)
    )
    return MapSet(*maps, stars=QTable({"star": np.arange(len(column))}), pixel_scale=PIXEL, **options)


@pytest.fixture
def arrays():
    rng = np.random.default_rng(0)
    shape = (3, 64, 64)
    return 10 ** rng.normal(22, 0.3, shape), rng.normal(0, 1, shape), rng.uniform(0.1, 1, shape)


def named(values):
    """The statistics of one window, by name."""
    return dict(zip(STATISTIC_NAMES, np.asarray(values, dtype=float), strict=True))


def about_the_star(values, change):
    """Rotate or mirror the 63 x 63 pixels around pixel (32, 32); row and column 0 lie outside all rings."""
    changed = values.copy()
    changed[:, 1:, 1:] = change(values[:, 1:, 1:])
    return changed


def test_names_are_unique_and_ordered_by_ring():
    assert len(STATISTIC_NAMES) == len(set(STATISTIC_NAMES)) == 121
    assert STATISTIC_NAMES[0] == "log_column_mean_0"
    assert STATISTIC_NAMES[11] == "log_column_mean_1"
    assert STATISTIC_NAMES[-1] == "velocity_shift_10"


def test_rings_follow_the_edges_in_pixels_and_scale_with_the_window():
    edges = RING_EDGES * 32
    np.testing.assert_allclose(edges[[1, 4, 11]], [0.8, 3.8, 32])
    rows, columns = np.indices((64, 64)) - 32
    distance = np.hypot(rows, columns)
    for ring in range(11):
        expected = (distance >= edges[ring]) & (distance < edges[ring + 1])
        np.testing.assert_array_equal(ring_numbers((64, 64)) == ring, expected)
    assert np.all(ring_numbers((64, 64))[distance >= 32] == -1)
    np.testing.assert_array_equal(ring_numbers((128, 128))[::2, ::2], ring_numbers((64, 64)))
    assert ring_numbers((65, 40))[32, 20] == 0


@pytest.mark.parametrize(
    "change",
    [
        lambda values: np.rot90(values, axes=(1, 2)),
        lambda values: np.rot90(values, 2, axes=(1, 2)),
        lambda values: values[:, ::-1],
        lambda values: values[:, :, ::-1],
    ],
    ids=["90 degrees", "180 degrees", "mirrored rows", "mirrored columns"],
)
def test_rotations_and_reflections_change_nothing(arrays, change):
    expected = window_statistics(mapset(*arrays))
    found = window_statistics(mapset(*(about_the_star(values, change) for values in arrays)))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("change", [lambda v: -v, lambda v: v + 40, lambda v: 3 - v], ids=["sign", "offset", "both"])
def test_sign_and_zero_point_of_the_velocity_change_nothing(arrays, change):
    column, velocity, dispersion = arrays
    expected = window_statistics(mapset(column, velocity, dispersion))
    found = window_statistics(mapset(column, change(velocity), dispersion))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_uniform_window_in_closed_form():
    ones = np.ones((1, 64, 64))
    found = named(window_statistics(mapset(1e22 * ones, 5 * ones, 0.4 * ones))[0])
    pixels = np.cumsum(np.bincount(ring_numbers((64, 64))[ring_numbers((64, 64)) >= 0]))
    pixel_mass = (1.4 * 1.00782503 * u.u * 1e22 / u.cm**2 * PIXEL**2).to_value(u.solMass)
    gravity = constants.G.to_value(u.pc * (u.km / u.s) ** 2 / u.solMass)
    for ring, edge in enumerate(RING_EDGES[1:]):
        radius = edge * 32 * PIXEL.value
        expected = {
            "log_column_mean": 22,
            "log_column_max": 22,
            "log_column_std": 0,
            "log_dispersion": np.log10(np.hypot(0.4, 0.01)),
            "log_dispersion_max": np.log10(0.41),
            "log_velocity_scatter": -2,
            "log_enclosed_mass": np.log10(pixels[ring] * pixel_mass),
            "log_enclosed_dynamical_mass": np.log10((0.4**2 + 0.188**2) * radius / gravity),
            "log_ring_dynamical_mass": np.log10((0.4**2 + 0.01**2) * radius / gravity),
            "log_column_excess": -3,
            "velocity_shift": 0,
        }
        for name, value in expected.items():
            assert found[f"{name}_{ring}"] == pytest.approx(value, abs=1e-5), name


def test_point_mass_on_a_faint_background_in_closed_form():
    column, zeros = np.full((1, 64, 64), 1e20), np.zeros((1, 64, 64))
    column[0, 32, 32] = 1e26
    velocity = zeros.copy()
    velocity[0, 32, 32] = 2
    found = named(window_statistics(mapset(column, velocity, zeros + 1))[0])
    count = np.bincount(ring_numbers((64, 64))[ring_numbers((64, 64)) >= 0])
    pixel_mass = (1.4 * 1.00782503 * u.u / u.cm**2 * PIXEL**2).to_value(u.solMass)
    for ring in range(11):
        mass = (1e26 + 1e20 * (count[: ring + 1].sum() - 1)) * pixel_mass
        assert found[f"log_enclosed_mass_{ring}"] == pytest.approx(np.log10(mass), abs=1e-5)
        assert found[f"log_column_excess_{ring}"] == pytest.approx(np.log10(1e6 - 1) if ring == 0 else -3, abs=1e-5)
    central = count[:4].sum() - 1
    share = 1e26 / (1e26 + central * 1e20)
    assert found["velocity_shift_7"] == pytest.approx(2 * share, rel=1e-5)
    assert found["log_velocity_scatter_7"] == pytest.approx(-2, abs=1e-5)


def test_alternating_velocities_give_their_scatter():
    velocity = np.where(np.indices((64, 64)).sum(axis=0) % 2, 2.0, -2.0)[None]
    ones = np.ones_like(velocity)
    found = named(window_statistics(mapset(1e22 * ones, velocity, ones))[0])
    assert found["log_velocity_scatter_9"] == pytest.approx(np.log10(2), abs=0.01)
    gravity = constants.G.to_value(u.pc * (u.km / u.s) ** 2 / u.solMass)
    expected = np.log10((1 + 4 + 0.188**2) * 0.32 / gravity)
    assert found["log_enclosed_dynamical_mass_10"] == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("factor", [10, 0.5])
def test_units_of_mass_scale_with_the_column_density(arrays, factor):
    before, after = (window_statistics(mapset(arrays[0] * scale, *arrays[1:])) for scale in (1, factor))
    change = {name: np.mean(after[:, k] - before[:, k]) for k, name in enumerate(STATISTIC_NAMES)}
    for ring in range(11):
        for name in ("log_column_mean", "log_column_max", "log_enclosed_mass"):
            assert change[f"{name}_{ring}"] == pytest.approx(np.log10(factor), abs=1e-5)
        for name in ("log_column_std", "log_dispersion", "log_column_excess", "velocity_shift"):
            assert change[f"{name}_{ring}"] == pytest.approx(0, abs=1e-5)


def test_missing_pixels_are_replaced_by_the_mean_of_their_ring():
    ones = np.ones((1, 64, 64))
    column = 1e22 * ones
    expected = window_statistics(mapset(column, ones, ones))
    column[0, :20] = np.nan
    column[0, 32, 33] = np.nan
    np.testing.assert_allclose(window_statistics(mapset(column, ones, ones)), expected, atol=1e-5)


def test_a_pixel_missing_in_one_map_is_missing_in_all(arrays):
    column, velocity, dispersion = (values.copy() for values in arrays)
    velocity[:, 40:] = np.nan
    expected = window_statistics(mapset(column, velocity, dispersion))
    column[:, 40:], dispersion[:, 40:] = np.nan, 1e3
    np.testing.assert_array_equal(window_statistics(mapset(column, velocity, dispersion)), expected)


def test_a_ring_without_data_is_like_the_next_one_that_has_some(arrays):
    column, velocity, dispersion = arrays
    ring = ring_numbers((64, 64))
    column[0, ring == 0] = np.nan
    column[1, ring == 6] = np.nan
    found = window_statistics(mapset(column, velocity, dispersion)).reshape(3, 11, 11)
    np.testing.assert_array_equal(found[0, 0, :6], found[0, 1, :6])
    np.testing.assert_array_equal(found[1, 6, :6], found[1, 5, :6])
    assert np.all(np.diff(found[:, :, 6]) > 0)
    assert np.isfinite(found).all()


@pytest.mark.parametrize("outside", [None, 1e30])
def test_background_is_that_of_the_outer_rings(arrays, outside):
    column, velocity, dispersion = arrays
    ring = ring_numbers((64, 64))
    column[:, ring >= 9] = 1e21
    column[:, ring == 5] = 5e21
    if outside:
        column[:, ring < 0] = outside
    found = named(window_statistics(mapset(column, velocity, dispersion))[0])
    assert found["log_column_excess_5"] == pytest.approx(np.log10(4), abs=1e-5)


def test_a_window_without_background_uses_the_rest():
    column = np.full((1, 64, 64), 1e22)
    column[:, ring_numbers((64, 64)) >= 9] = np.nan
    ones = np.ones_like(column)
    found = window_statistics(mapset(column, ones, ones))
    assert np.isfinite(found).all()
    assert found[0, STATISTIC_NAMES.index("log_column_excess_0")] == -3


def test_a_window_without_data_is_missing():
    ones = np.ones((2, 64, 64))
    column = 1e22 * ones
    column[1] = np.nan
    found = window_statistics(mapset(column, ones, ones))
    assert np.isfinite(found[0]).all()
    assert np.isnan(found[1]).all()


@pytest.mark.parametrize("side", [8, 16, 33])
def test_small_windows_have_finite_statistics(arrays, side):
    found = window_statistics(mapset(*(values[:, :side, :side] for values in arrays)))
    assert np.isfinite(found).all()


def test_negative_columns_of_noise_have_finite_statistics(arrays):
    column, velocity, dispersion = arrays
    column[:, 20:50] *= -1
    assert np.isfinite(window_statistics(mapset(column, velocity, dispersion))).all()


def test_windows_are_independent_of_one_another(arrays):
    whole = window_statistics(mapset(*arrays))
    alone = window_statistics(mapset(*(values[1:2] for values in arrays)))
    np.testing.assert_allclose(alone[0], whole[1], rtol=1e-6)
    assert whole.dtype == np.float32
    assert window_statistics(mapset(*(values[:0] for values in arrays))).shape == (0, 121)
