import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import QTable

from stellarfm.exceptions import MapError
from stellarfm.maps import column_peaks, regrid, tiles, windows_around

from .conftest import gas_maps, smooth_maps

SHAPE = (40, 50)
SCALE = np.deg2rad(0.0032) * 140 * u.pc


def at_pixels(maps, *positions):
    return SkyCoord([maps.wcs.pixel_to_world(x, y) for x, y in positions])


def test_the_source_is_in_the_middle_in_image_order():
    maps = gas_maps(SHAPE)
    windows = windows_around(maps, at_pixels(maps, (20.3, 17.8), (24.0, 19.0)), pixels=16, pixel_scale=SCALE)
    assert windows.velocity.shape == (2, 16, 16)
    np.testing.assert_array_equal(windows.velocity[0], maps.velocity[18 - 8 : 18 + 8, 20 - 8 : 20 + 8])
    np.testing.assert_array_equal(windows.column_density[1], maps.column_density[11:27, 16:32])
    np.testing.assert_allclose(windows.stars["x_pixel"], [20.3, 24], atol=1e-6)
    np.testing.assert_allclose(windows.stars["y_pixel"], [17.8, 19], atol=1e-6)
    np.testing.assert_array_equal(windows.stars["coverage"], 1)
    assert windows.label_kind is None
    assert np.isnan(windows.depth)


def test_beyond_the_edge_is_missing_and_counted():
    maps = gas_maps(SHAPE)
    windows = windows_around(maps, at_pixels(maps, (0, 0), (49, 39)), pixels=16, pixel_scale=SCALE)
    np.testing.assert_array_equal(windows.velocity[0, 8:, 8:], maps.velocity[:8, :8])
    assert np.isnan(windows.velocity[0, :8]).all()
    np.testing.assert_array_equal(windows.stars["coverage"], [0.25, 81 / 256])
    assert np.isfinite(windows.column_density[1, 8, 8])


def test_sources_outside_keep_their_row_with_nothing_in_it():
    maps = gas_maps(SHAPE)
    sources = QTable({"ra": [65.0, 70.0, 245.0, np.nan] * u.deg, "dec": [27.5, 27.5, -27.5, np.nan] * u.deg})
    windows = windows_around(maps, sources, pixels=16, pixel_scale=SCALE)
    np.testing.assert_array_equal(windows.stars["coverage"], [1, 0, 0, 0])
    assert windows.mask[1:].all()
    with pytest.raises(MapError, match="none of the 3 sources lies in the field around RA 65.0000, Dec 27.5000"):
        windows_around(maps, sources[1:], pixel_scale=SCALE)


def test_what_the_table_tells_is_kept():
    maps = gas_maps(SHAPE, meta={"object": "Taurus"})
    sources = QTable(
        {
            "RAJ2000": [65.0, 65.01],
            "DEJ2000": [27.5, 27.49],
            "star": [7, 9],
            "mass": [0.3, 2] * u.solMass,
            "name": ["A", "B"],
        }
    )
    windows = windows_around(maps, sources, pixels=16, pixel_scale=SCALE)
    assert windows.stars.colnames[:3] == ["star", "ra", "dec"]
    assert list(windows.stars["name"]) == ["A", "B"]
    np.testing.assert_array_equal(windows.groups, ["Taurus/7", "Taurus/9"])
    assert windows.stars["mass"].unit == u.solMass


def test_windows_at_another_scale():
    maps = gas_maps((80, 100))
    windows = windows_around(maps, at_pixels(maps, (40.5, 40.5)), pixels=16, pixel_scale=2 * SCALE)
    np.testing.assert_allclose(windows.velocity[0], regrid(maps, 2 * SCALE).velocity[12:28, 12:28])
    assert windows.pixel_scale.value == pytest.approx(2 * SCALE.to_value("pc"), rel=1e-6)
    np.testing.assert_allclose(windows.stars["x_pixel"], 40.5, atol=1e-6)


def test_windows_need_a_distance():
    maps = gas_maps(SHAPE, distance=None)
    with pytest.raises(MapError, match="distance="):
        windows_around(maps, at_pixels(maps, (20, 20)), pixel_scale=SCALE)


def test_windows_and_masks_survive_a_round_trip(tmp_path):
    maps = gas_maps(SHAPE)
    windows = windows_around(maps, at_pixels(maps, (20, 20), (1, 1)), pixels=16, pixel_scale=SCALE)
    windows.write(tmp_path / "windows.h5")
    again = type(windows).read(tmp_path / "windows.h5")
    np.testing.assert_array_equal(again.mask, windows.mask)
    assert again.stars["ra"].unit == u.deg
    assert np.isnan(again.depth)


@pytest.mark.parametrize(("shape", "pixels", "stride"), [((40, 50), 16, 8), ((40, 50), 16, 16), ((41, 53), 16, 7)])
def test_tiles_cover_every_pixel_exactly(shape, pixels, stride):
    maps = gas_maps(shape)
    windows, first = tiles(maps, pixels=pixels, stride=stride)
    seen = np.zeros(shape, dtype=int)
    for tile, (row, column) in zip(windows.velocity, first, strict=True):
        np.testing.assert_array_equal(tile, maps.velocity[row : row + pixels, column : column + pixels])
        seen[row : row + pixels, column : column + pixels] += 1
    assert seen.min() >= 1
    assert len({tuple(position) for position in first}) == len(first)


def test_a_field_smaller_than_a_tile_is_padded():
    maps = gas_maps((10, 40))
    windows, first = tiles(maps, pixels=16, stride=8)
    assert first[:, 0].max() == 0
    np.testing.assert_array_equal(windows.velocity[0, :10], maps.velocity[:, :16])
    assert np.isnan(windows.velocity[0, 10:]).all()


@pytest.mark.parametrize("stride", [0, -1, 17])
def test_strides_that_leave_gaps(stride):
    with pytest.raises(MapError, match="stride"):
        tiles(gas_maps(SHAPE), pixels=16, stride=stride)


def cores(shape, *positions):
    column, velocity, dispersion = smooth_maps(shape)
    y, x = np.indices(shape)
    column = np.full(shape, 1e22)
    for peak, (x0, y0) in enumerate(positions, start=1):
        column += peak * 1e23 * np.exp(-((x - x0) ** 2 + (y - y0) ** 2) / 8)
    return column, velocity, dispersion


def test_peaks_are_found_highest_first():
    maps = gas_maps(SHAPE, maps=cores(SHAPE, (10, 10), (30, 25)))
    peaks = column_peaks(maps)
    np.testing.assert_array_equal(peaks["x_pixel"], [30, 10])
    np.testing.assert_array_equal(peaks["y_pixel"], [25, 10])
    np.testing.assert_allclose(maps.wcs.world_to_pixel(SkyCoord(peaks["ra"], peaks["dec"]))[0], [30, 10], atol=1e-6)
    assert len(column_peaks(maps, n_peaks=1)) == 1
    assert len(column_peaks(maps, separation="1 pc")) == 1
    assert len(windows_around(maps, peaks, pixel_scale=SCALE)) == 2


def test_peaks_avoid_missing_pixels():
    column, velocity, dispersion = cores(SHAPE, (10, 10), (30, 25))
    velocity[20:30, 25:35] = np.nan
    peaks = column_peaks(gas_maps(SHAPE, maps=(column, velocity, dispersion)))
    assert (10, 10) in list(zip(peaks["x_pixel"], peaks["y_pixel"], strict=True))
    assert not np.any((peaks["x_pixel"] == 30) & (peaks["y_pixel"] == 25))


def test_a_flat_field_has_no_peaks():
    _, velocity, dispersion = smooth_maps(SHAPE)
    with pytest.raises(MapError, match="no peak.*sources="):
        column_peaks(gas_maps(SHAPE, maps=(np.full(SHAPE, 1e22), velocity, dispersion)))
    with pytest.raises(MapError, match="distance="):
        column_peaks(gas_maps(SHAPE, distance=None))
