import numpy as np
import pytest
from astropy import units as u
from astropy.wcs import WCS
from astropy.wcs.utils import pixel_to_pixel

from stellarfm.exceptions import MapError, UnitsError
from stellarfm.maps import regrid

from .conftest import gas_maps, smooth_maps, tan_wcs

SHAPE = (48, 60)
SCALE = np.deg2rad(0.0032) * 140 * u.pc


def constant(column=1e22, velocity=2.0, dispersion=0.4):
    return [np.full(SHAPE, value) for value in (column, velocity, dispersion)]


@pytest.mark.parametrize("factor", [0.4, 1 / 3, 1.5, 2, 2.7, 6])
def test_a_uniform_field_stays_uniform(factor):
    coarse = regrid(gas_maps(SHAPE, maps=constant()), SCALE * factor)
    valid = ~coarse.mask
    assert valid.mean() > 0.8
    np.testing.assert_allclose(coarse.column_density.value[valid], 1e22, rtol=1e-9)
    np.testing.assert_allclose(coarse.velocity.value[valid], 2.0)
    np.testing.assert_allclose(coarse.velocity_dispersion.value[valid], 0.4, rtol=1e-7)
    assert coarse.pixel_scale.to_value("pc") == pytest.approx((SCALE * factor).to_value("pc"), rel=1e-6)


@pytest.mark.parametrize("factor", [2, 3, 4, 0.5, 0.25])
def test_mass_and_momentum_and_energy_are_conserved(factor):
    fine = gas_maps(SHAPE)
    coarse = regrid(fine, SCALE * factor)

    def totals(maps):
        mass = maps.column_density.value * maps.pixel_scale.value**2
        speed, sigma = maps.velocity.value, maps.velocity_dispersion.value
        return [mass.sum(), (mass * speed).sum(), (mass * (speed**2 + sigma**2)).sum()]

    np.testing.assert_allclose(totals(coarse), totals(fine), rtol=1e-5)


def test_shear_within_a_pixel_becomes_dispersion():
    column, velocity, dispersion = constant()
    velocity = np.tile(0.1 * np.arange(SHAPE[1]), (SHAPE[0], 1))
    coarse = regrid(gas_maps(SHAPE, maps=(column, velocity, dispersion)), SCALE * 4)
    expected = np.sqrt(0.4**2 + np.var(0.1 * np.arange(4)))
    np.testing.assert_allclose(coarse.velocity_dispersion.value, expected, rtol=1e-7)
    np.testing.assert_allclose(coarse.velocity.value[0, :2], [0.15, 0.55])


def test_velocities_are_weighted_by_column_density():
    column, velocity, dispersion = constant(velocity=0.0)
    column[:, 1::2], velocity[:, 1::2] = 3e22, 1.0
    coarse = regrid(gas_maps(SHAPE, maps=(column, velocity, dispersion)), SCALE * 2)
    np.testing.assert_allclose(coarse.column_density.value, 2e22)
    np.testing.assert_allclose(coarse.velocity.value, 0.75)
    np.testing.assert_allclose(coarse.velocity_dispersion.value, np.sqrt(0.4**2 + 0.75 * 0.25))


def test_a_large_common_velocity_costs_no_precision():
    column, velocity, dispersion = smooth_maps(SHAPE)
    near = regrid(gas_maps(SHAPE, maps=(column, velocity, dispersion)), SCALE * 3)
    far = regrid(gas_maps(SHAPE, maps=(column, velocity + 1e4, dispersion)), SCALE * 3)
    np.testing.assert_allclose(far.velocity_dispersion.value, near.velocity_dispersion.value, rtol=1e-6)


def test_missing_pixels_do_not_dilute():
    column, velocity, dispersion = constant()
    column[:4, :4], velocity[10, 10] = np.nan, np.nan
    dispersion[20:22, 20:24] = np.nan
    coarse = regrid(gas_maps(SHAPE, maps=(column, velocity, dispersion)), SCALE * 4)
    assert np.isnan(coarse.column_density[0, 0])
    assert coarse.mask.sum() == 1
    np.testing.assert_allclose(coarse.column_density.value[~coarse.mask], 1e22)
    np.testing.assert_allclose(coarse.velocity.value[~coarse.mask], 2.0)


def test_nothing_is_done_at_nearly_the_same_scale():
    maps = gas_maps(SHAPE)
    assert regrid(maps, SCALE * 1.015) is maps
    assert regrid(maps, SCALE * 1.03) is not maps


def with_cd(wcs, matrix):
    header = wcs.to_header()
    for name in ("CDELT1", "CDELT2"):
        del header[name]
    header.update({f"CD{i + 1}_{j + 1}": matrix[i, j] for i in range(2) for j in range(2)})
    return WCS(header)


@pytest.mark.parametrize("flip", [(-1, 1), (1, -1)])
@pytest.mark.parametrize("form", ["CDELT", "CD", "rotated"])
def test_positions_on_the_sky_are_kept(flip, form):
    wcs = tan_wcs(SHAPE, flip=flip)
    if form != "CDELT":
        angle = 0.5 if form == "rotated" else 0.0
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        wcs = with_cd(wcs, turn @ np.diag(wcs.wcs.cdelt))
    maps = gas_maps(SHAPE, wcs=wcs)
    coarse = regrid(maps, SCALE * 2)
    x, y = pixel_to_pixel(maps.wcs, coarse.wcs, np.array([0.5, 10.5, 58.5]), np.array([0.5, 20.5, 46.5]))
    np.testing.assert_allclose(x, [0, 5, 29], atol=1e-6)
    np.testing.assert_allclose(y, [0, 10, 23], atol=1e-6)


def test_oblong_pixels_become_square():
    wcs = tan_wcs(SHAPE)
    wcs.wcs.cdelt = -0.0016, 0.0032
    coarse = regrid(gas_maps(SHAPE, wcs=wcs), SCALE)
    assert coarse.shape == (48, 30)


def test_what_cannot_be_regridded():
    with pytest.raises(MapError, match="distance="):
        regrid(gas_maps(SHAPE, distance=None), SCALE)
    with pytest.raises(UnitsError, match="pixel_scale"):
        regrid(gas_maps(SHAPE), 0.01)
    with pytest.raises(MapError, match="at least 8 pixels"):
        regrid(gas_maps(SHAPE), SCALE * 10)


def test_coarse_maps_are_mentioned(caplog):
    regrid(gas_maps(SHAPE), SCALE / 3)
    assert "structure of" in caplog.text
