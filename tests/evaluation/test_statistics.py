import numpy as np
import pytest
from astropy import units as u
from astropy.table import QTable

from stellarfm.evaluation.statistics import STATISTICS, radial_statistics
from stellarfm.inference.encoding.radial_profiles import N_RINGS, ring_weights
from stellarfm.maps import MapSet


@pytest.fixture
def windows():
    rng = np.random.default_rng(0)

    def make(column, velocity=None, dispersion=None):
        shape = column.shape
        velocity = rng.normal(0, 1, shape) if velocity is None else velocity
        dispersion = np.full(shape, 0.1) if dispersion is None else dispersion
        stars = QTable({"star": np.arange(shape[0])})
        units = u.cm**-2, u.km / u.s, u.km / u.s
        maps = (values * unit for values, unit in zip((column, velocity, dispersion), units, strict=True))
        return MapSet(*maps, stars=stars, pixel_scale=0.01 * u.pc)

    return make


@pytest.mark.parametrize("side", [32, 64, 65])
def test_rings_share_no_pixel_and_fill_the_inscribed_circle(side):
    weights = ring_weights((side, side))
    assert set(weights.sum(axis=0)) == {0.0, 1.0}
    assert weights.sum() == pytest.approx(np.pi / 4 * side**2, rel=0.02)
    assert np.all(weights.sum(axis=1) > 0)


def test_known_profiles_come_back(windows):
    ring = np.argmax(ring_weights((64, 64)), axis=0).reshape(64, 64)
    column = 10.0 ** (22 + ring)[None]
    velocity = np.where(np.indices((64, 64)).sum(axis=0) % 2, 2.0, -2.0)[None]
    found = dict(zip(STATISTICS, radial_statistics(windows(column, velocity))[0], strict=True))
    for number in range(N_RINGS):
        assert found[f"log_column_mean_{number}"] == pytest.approx(22 + number)
        assert found[f"log_column_scatter_{number}"] == pytest.approx(0, abs=1e-6)
        assert found[f"log_dispersion_mean_{number}"] == pytest.approx(-1)
        assert found[f"velocity_scatter_{number}"] == pytest.approx(2, rel=0.01)


def test_orientation_and_a_systemic_velocity_do_not_matter(windows):
    rng = np.random.default_rng(2)
    column, velocity, dispersion = 10 ** rng.normal(22, 0.3, (2, 64, 64)), *rng.uniform(0.1, 1, (2, 2, 64, 64))
    turned = [np.rot90(values, axes=(1, 2)) for values in (column, velocity + 40, dispersion)]
    expected = radial_statistics(windows(column, velocity, dispersion))
    np.testing.assert_allclose(radial_statistics(windows(*turned)), expected, rtol=1e-5)


def test_missing_pixels_are_left_out(windows):
    rng = np.random.default_rng(3)
    column = 10 ** rng.normal(22, 0.3, (1, 64, 64))
    column[:, :, :20] = np.nan
    weights = ring_weights((64, 64))[-1].reshape(64, 64) > 0
    found = radial_statistics(windows(column))[0]
    assert found[STATISTICS.index("log_column_mean_8")] == pytest.approx(np.nanmean(np.log10(column[0][weights])))
    assert np.isfinite(found).all()


def test_a_ring_without_data_is_missing(windows):
    column = np.full((1, 64, 64), 1e22)
    column[:, 28:36, 28:36] = np.nan
    found = radial_statistics(windows(column))[0]
    assert np.isnan(found[STATISTICS.index("log_column_mean_0")])
    assert found[STATISTICS.index("log_column_mean_8")] == pytest.approx(22)
