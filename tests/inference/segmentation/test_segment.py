import logging

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.table import QTable
from astropy.wcs import WCS

from stellarfm.exceptions import MapError, ModelError, OutputExistsError
from stellarfm.maps import GasMaps, MapSet


def two_halves(field_with_stars, *, scale=4 / 512):
    """A field whose right half is a hundred times denser."""
    maps, _ = field_with_stars(mass=(0, 0, 0), scale=scale)
    dense = np.where(np.arange(96) >= 48, 100.0, 1.0)
    column = maps.column_density * dense
    return GasMaps(column, maps.velocity, maps.velocity_dispersion, maps.wcs, distance=maps.distance)


@pytest.fixture
def segmentation(fitted_model, field_with_stars):
    return fitted_model.segment(two_halves(field_with_stars), segments=2)


def test_segments_follow_the_gas(segmentation):
    assert segmentation.labels.shape == (80, 96)
    assert segmentation.labels.dtype == np.int16
    assert np.all(segmentation.labels[:, :40] == 1)
    assert np.all(segmentation.labels[:, 56:] == 2)
    border = np.argmax(segmentation.labels == 2, axis=1)
    assert np.all(np.abs(border - 48) <= 4)


def test_colours_rise_with_column_density(segmentation):
    first = segmentation.components[0]
    assert segmentation.components.shape == (3, 80, 96)
    assert first[:, 60:].mean() > first[:, :36].mean()


def test_confidence_is_low_on_the_border(segmentation):
    assert segmentation.confidence[:, 46:50].mean() < segmentation.confidence[:, 8:36].mean()
    assert np.nanmin(segmentation.confidence) >= 0
    assert np.nanmax(segmentation.confidence) <= 1


def test_segment_table(segmentation, field_with_stars):
    maps = two_halves(field_with_stars)
    table = segmentation.segments
    assert table["pixels"].sum() == 80 * 96
    np.testing.assert_allclose(table["area"].sum().to_value(u.pc**2), 80 * 96 * (4 / 512) ** 2, rtol=1e-4)
    np.testing.assert_allclose(table["solid_angle"].sum(), (80 * 96 * maps.pixel_angle**2).to(u.arcmin**2))
    assert table["column_density"][1] > 20 * table["column_density"][0]
    assert table["column_density"].unit == u.cm**-2
    assert table["velocity_dispersion"].unit == u.km / u.s


def test_other_pixels_than_the_models_come_back_on_the_input_grid(fitted_model, field_with_stars):
    maps = two_halves(field_with_stars, scale=6 / 512)
    segmentation = fitted_model.segment(maps, segments=2)
    assert segmentation.labels.shape == maps.shape
    border = np.argmax(segmentation.labels == 2, axis=1)
    assert np.all(np.abs(border - 48) <= 3)
    assert segmentation.wcs.wcs.compare(maps.wcs.wcs)


def test_missing_pixels_have_no_label(fitted_model, field_with_stars):
    maps, _ = field_with_stars(missing=30)
    segmentation = fitted_model.segment(maps, segments=3)
    assert np.all(segmentation.labels[:, :30] == 0)
    assert np.all(segmentation.labels[:, 32:] > 0)
    for values in (segmentation.confidence, segmentation.ood, *segmentation.components):
        assert np.isnan(values[:, :30]).all()
        assert np.isfinite(values[:, 32:]).all()


def test_a_field_smaller_than_a_tile(fitted_model, field_with_stars):
    maps, _ = field_with_stars()
    small = GasMaps(
        maps.column_density[:20, :24],
        maps.velocity[:20, :24],
        maps.velocity_dispersion[:20, :24],
        maps.wcs,
        distance=140 * u.pc,
    )
    labels = fitted_model.segment(small, segments=2).labels
    assert labels.shape == (20, 24)
    assert np.all(labels > 0)


def test_a_small_field_is_segmented_on_finer_pixels_and_this_is_said(fitted_model, field_with_stars, caplog):
    maps = two_halves(field_with_stars, scale=1 / 512)
    with caplog.at_level(logging.INFO, logger="stellarfm"):
        segmentation = fitted_model.segment(maps, segments=2)
    assert "the field is small" in caplog.text
    assert u.Quantity(segmentation.meta["pixel_scale"]) < 2 / 512 * u.pc
    border = np.argmax(segmentation.labels == 2, axis=1)
    assert np.all(np.abs(border - 48) <= 4)


def test_the_pixel_scale_may_be_given(fitted_model, field_with_stars):
    maps, _ = field_with_stars()
    assert fitted_model.segment(maps, pixel_scale=0.01 * u.pc).meta["pixel_scale"] == "0.01 pc"


def test_windows_have_their_own_scale(fitted_model, cloud):
    with pytest.raises(MapError, match="leave it out"):
        fitted_model.segment(cloud(), pixel_scale=0.01 * u.pc)
    with pytest.raises(ModelError, match="expects"):
        fitted_model.segment(cloud(side=24))


def test_strange_gas_is_out_of_distribution(fitted_model, field_with_stars):
    usual, _ = field_with_stars()
    y, x = np.indices(usual.shape)
    checks = np.where((x // 4 + y // 4) % 2, 100.0, 0.01)
    strange = GasMaps(
        usual.column_density * checks, usual.velocity, usual.velocity_dispersion, usual.wcs, distance=140 * u.pc
    )
    scores = [np.median(fitted_model.segment(maps, segments=2).ood) for maps in (usual, strange)]
    assert scores[0] < 1 < scores[1]


def test_windows(fitted_model, cloud):
    windows = cloud("three", seed=3)
    segmentation = fitted_model.segment(windows, segments=3)
    assert segmentation.labels.shape == (36, 32, 32)
    heavy, light = np.argmax(windows.stars["mass"]), np.argmin(windows.stars["mass"])
    assert segmentation.labels[heavy, 16, 16] == 3
    assert segmentation.labels[light, 16, 16] < 3
    centre = segmentation.wcs.pixel_to_world_values(16, 16, 4)
    np.testing.assert_allclose(centre, [0, 0, 5], atol=1e-12)
    assert [str(unit) for unit in segmentation.wcs.world_axis_units[:2]] == ["pc", "pc"]


def test_windows_without_data(fitted_model, cloud):
    windows = cloud("three", seed=3)[:4]
    column = windows.column_density.copy()
    column[1] = np.nan
    holed = MapSet(column, windows.velocity, windows.velocity_dispersion, windows.stars, windows.pixel_scale)
    labels = fitted_model.segment(holed, segments=2).labels
    assert np.all(labels[1] == 0)
    assert np.all(labels[[0, 2, 3]] > 0)


def test_the_fits_form(segmentation, tmp_path):
    path = segmentation.write(tmp_path / "segments.fits")
    with fits.open(path, checksum=True) as hdus:
        assert [hdu.name for hdu in hdus] == ["PRIMARY", "PCA", "CONFIDENCE", "OOD", "SEGMENTS", "PROVENANCE"]
        assert hdus[0].data.dtype.kind == "i"
        assert hdus[0].header["BITPIX"] == 16
        assert hdus["PCA"].data.dtype == ">f4"
        for hdu in hdus:
            assert {"CHECKSUM", "DATASUM"} <= set(hdu.header)
        for number in (0, 2, 3):
            assert WCS(hdus[number].header).wcs.compare(segmentation.wcs.wcs, tolerance=1e-12)
        cube = WCS(hdus["PCA"].header)
        assert cube.naxis == 3
        assert cube.wcs.ctype[2] == "FEATURE"
        assert cube.celestial.wcs.compare(segmentation.wcs.wcs, tolerance=1e-12)
        np.testing.assert_array_equal(hdus[0].data, segmentation.labels)
        provenance = {row["key"]: row["value"] for row in hdus["PROVENANCE"].data}
        assert provenance["label_kind"] == "sink"
        assert provenance["segments"] == "2"
        table = QTable.read(hdus["SEGMENTS"])
    assert table["column_density"].unit == u.cm**-2
    np.testing.assert_array_equal(table["pixels"], segmentation.segments["pixels"])
    assert fits.FITSDiff(path, path).identical


def test_windows_have_a_fits_form_too(fitted_model, cloud, tmp_path):
    segmentation = fitted_model.segment(cloud("three", seed=3), segments=2)
    with fits.open(segmentation.write(tmp_path / "segments.fits")) as hdus:
        assert hdus["PCA"].data.shape == (3, 36, 32, 32)
        assert WCS(hdus["PCA"].header).wcs.ctype[3] == "FEATURE"
        assert list(WCS(hdus[0].header).wcs.ctype) == ["XOFFSET", "YOFFSET", "WINDOW"]


def test_two_runs_give_the_same_file(fitted_model, field_with_stars, tmp_path):
    maps, _ = field_with_stars()
    one, other = (fitted_model.segment(maps).write(tmp_path / f"{name}.fits") for name in ("one", "other"))
    assert one.read_bytes() == other.read_bytes()


def test_existing_files_are_kept(segmentation, tmp_path):
    path = segmentation.write(tmp_path / "segments.fits")
    with pytest.raises(OutputExistsError):
        segmentation.write(path)


@pytest.mark.parametrize("segments", [1, 100_000])
def test_impossible_numbers_of_segments(fitted_model, field_with_stars, segments):
    maps, _ = field_with_stars()
    with pytest.raises(MapError, match="usable patches"):
        fitted_model.segment(maps, segments=segments)


def test_scattered_pixels_are_no_patch(fitted_model, field_with_stars):
    maps, _ = field_with_stars()
    mask = np.ones(maps.shape, bool)
    mask[::5, ::5] = False
    with pytest.raises(MapError, match="no patch has enough usable pixels"):
        fitted_model.segment(
            GasMaps(
                maps.column_density, maps.velocity, maps.velocity_dispersion, maps.wcs, mask=mask, distance=140 * u.pc
            )
        )


def test_the_distance_must_be_known(fitted_model, field_with_stars):
    maps, _ = field_with_stars()
    with pytest.raises(MapError, match="distance="):
        fitted_model.segment(GasMaps(maps.column_density, maps.velocity, maps.velocity_dispersion, maps.wcs))
