import gzip
import time

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.wcs import WCS

from stellarfm.exceptions import InputNotFoundError, MapError, OutputExistsError, ReaderError, UnitsError
from stellarfm.maps import GasMaps

from .conftest import gas_maps, smooth_maps, tan_wcs, write_plane

MAPS = ("column_density", "velocity", "velocity_dispersion")


def with_value(shape, name, value, where=(3, 4)):
    maps = dict(zip(MAPS, smooth_maps(shape), strict=True))
    maps[name][where] = value
    return list(maps.values())


def test_scales():
    maps = gas_maps()
    assert maps.shape == (40, 50)
    assert maps.pixel_angle.to_value("arcsec") == pytest.approx(11.52)
    assert maps.pixel_scale.to_value("pc") == pytest.approx(np.deg2rad(0.0032) * 140)
    with pytest.raises(MapError, match="distance='140 pc'"):
        gas_maps(distance=None).pixel_scale  # noqa: B018


@pytest.mark.parametrize("name", MAPS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_pixel_without_all_three_is_masked(name, value):
    maps = gas_maps(maps=with_value((40, 50), name, value))
    assert maps.mask.sum() == 1
    assert maps.mask[3, 4]
    assert np.isnan(getattr(maps, name)[3, 4])


def test_pixels_masked_by_the_caller_are_missing_in_all():
    mask = np.zeros((40, 50), dtype=bool)
    mask[0] = True
    maps = gas_maps(mask=mask)
    assert maps.mask.sum() == 50
    assert all(np.isnan(getattr(maps, name)[0]).all() for name in MAPS)


@pytest.mark.parametrize("name", MAPS)
def test_bare_numbers_and_wrong_units_are_refused(name):
    maps = gas_maps()
    given = {key: getattr(maps, key) for key in (*MAPS, "wcs")}
    with pytest.raises(UnitsError, match=f"{name} has no unit"):
        GasMaps(**given | {name: given[name].value})
    with pytest.raises(UnitsError, match=f"{name} is in K"):
        GasMaps(**given | {name: given[name].value * u.K})


def test_impossible_maps_are_refused():
    column, velocity, dispersion = smooth_maps((40, 50))
    with pytest.raises(MapError, match=r"velocity has shape \(40, 49\); expected \(40, 50\)"):
        gas_maps(maps=(column, velocity[:, 1:], dispersion))
    with pytest.raises(MapError, match="negative in 2000 pixels"):
        gas_maps(maps=(column, velocity, -dispersion))
    with pytest.raises(MapError, match="at least 8 pixels"):
        gas_maps((7, 50))
    with pytest.raises(MapError, match="two dimensions"):
        gas_maps(maps=[values.ravel() for values in (column, velocity, dispersion)], wcs=tan_wcs((40, 50)))
    with pytest.raises(MapError, match="celestial"):
        gas_maps(wcs=WCS(naxis=2))
    with pytest.raises(MapError, match="celestial"):
        gas_maps(wcs=None)
    with pytest.raises(MapError, match=r"mask has shape \(3,\)"):
        gas_maps(mask=np.zeros(3))
    with pytest.raises(MapError, match="velocity_error has shape"):
        gas_maps(velocity_error=np.ones((3, 3)) * u.km / u.s)
    with pytest.raises(UnitsError, match="distance"):
        gas_maps(distance=140)


def test_nothing_valid_names_the_counts():
    column, velocity, dispersion = smooth_maps((10, 10))
    column[:5], velocity[5:], dispersion[:] = np.nan, np.nan, np.nan
    with pytest.raises(MapError, match="column_density 50, velocity 50, velocity_dispersion 0 of 100"):
        gas_maps(maps=(column, velocity, dispersion))


def test_round_trip(tmp_path):
    maps = gas_maps(
        maps=with_value((40, 50), "velocity", np.nan),
        velocity_error=np.full((40, 50), 0.01) * u.km / u.s,
        meta={"object": "made up", "beam": (0.01, 0.008, 30.0)},
    )
    maps.write(tmp_path / "field.fits")
    again = GasMaps.read(tmp_path / "field.fits")
    for name in (*MAPS, "velocity_error"):
        np.testing.assert_allclose(getattr(again, name), getattr(maps, name), rtol=1e-6)
    np.testing.assert_array_equal(again.mask, maps.mask)
    assert again.distance == maps.distance
    assert len(again.meta.pop("decisions")) > 5
    assert again.meta == {"object": "made up", "beam": (0.01, 0.008, 30.0), "files": "field.fits"}
    assert again.pixel_scale.value == pytest.approx(maps.pixel_scale.value)
    with pytest.raises(OutputExistsError):
        maps.write(tmp_path / "field.fits")


def test_each_hdu_stands_alone_and_passes_its_checksum(tmp_path):
    gas_maps().write(tmp_path / "field.fits")
    with fits.open(tmp_path / "field.fits", checksum=True) as hdus:
        assert [hdu.name for hdu in hdus] == ["PRIMARY", "COLUMN", "VELOCITY", "DISPERSION", "MASK"]
        assert [hdu.header["BUNIT"] for hdu in hdus[1:4]] == ["cm-2", "km s-1", "km s-1"]
        assert all(WCS(hdu.header).is_celestial for hdu in hdus[1:])
    assert not fits.FITSDiff(tmp_path / "field.fits", tmp_path / "field.fits").diff_hdus


def test_two_writes_give_the_same_bytes(tmp_path):
    maps = gas_maps(velocity_error=np.full((40, 50), 0.01) * u.km / u.s, meta={"object": "made up"})
    maps.write(tmp_path / "one.fits")
    written = (tmp_path / "one.fits").read_bytes()
    time.sleep(1.1)  # time stamps of FITS checksums have a resolution of one second
    maps.write(tmp_path / "other.fits")
    assert (tmp_path / "other.fits").read_bytes() == written
    GasMaps.read(tmp_path / "one.fits").write(tmp_path / "again.fits")
    assert (tmp_path / "again.fits").read_bytes() == written


def test_repr_is_a_summary():
    lines = repr(gas_maps(maps=with_value((40, 50), "velocity", np.nan))).splitlines()
    assert lines[:3] == [
        "GasMaps",
        "  shape       40 x 50 pixels, 0.1% missing",
        "  pixel_scale 11.5 arcsec, 0.00782 pc at 140 pc",
    ]
    assert len(lines) < 8
    assert "unknown distance" in repr(gas_maps(distance=None))


def test_every_form_of_input(tmp_path, planes):
    gas_maps().write(tmp_path / "field.fits")
    (tmp_path / "field.fits.gz").write_bytes(gzip.compress((tmp_path / "field.fits").read_bytes()))
    read = [GasMaps.read(tmp_path / "field.fits"), GasMaps.read(str(tmp_path / "field.fits.gz"))]
    with fits.open(tmp_path / "field.fits") as hdus:
        read.append(GasMaps.read(hdus))
    for maps in read:
        np.testing.assert_array_equal(maps.velocity, read[0].velocity)
    assert GasMaps.read(planes(), distance="140 pc").distance == 140 * u.pc


def test_a_mask_extension_is_respected(tmp_path):
    gas_maps().write(tmp_path / "field.fits")
    with fits.open(tmp_path / "field.fits", mode="update") as hdus:
        hdus["MASK"].data[:, 0] = 1
        del hdus[0].header["DISTANCE"]
    maps = GasMaps.read(tmp_path / "field.fits")
    assert maps.mask[:, 0].all()
    assert np.isnan(maps.column_density[:, 0]).all()
    assert maps.distance is None


def test_three_files(planes):
    maps = GasMaps.read(planes(velocity=smooth_maps((24, 30))[1] * 1000, velocity_unit="m/s"), distance="0.14 kpc")
    column, velocity, dispersion = smooth_maps((24, 30))
    np.testing.assert_allclose(maps.column_density.value, column)
    np.testing.assert_allclose(maps.velocity.value, velocity)
    np.testing.assert_allclose(maps.velocity_dispersion.value, dispersion)
    assert maps.distance.value == pytest.approx(140)
    assert maps.meta["files"] == "column.fits, velocity.fits, dispersion.fits"


@pytest.mark.parametrize(
    ("unit", "options", "factor"),
    [
        ("cm-2", {}, 1),
        ("cm-2", {"column_species": "H2"}, 2),
        ("H2 cm-2", {"column_species": "H2"}, 2),
        ("HI cm-2", {}, 1),
        ("H2 cm-2", {"column_unit": "cm-2", "column_species": "H2"}, 2),
        ("H2 cm-2", {"column_unit": "H cm-2"}, 1),
        ("MJy/sr", {"column_unit": "cm-2", "column_species": "H2"}, 2),
        (None, {"column_unit": u.cm**-2}, 1),
        ("m-2", {}, 1e-4),
        ("cm-2", {"column_species": "NH3", "abundance": 0.1}, 20),
    ],
)
def test_units_and_species_of_the_column_density(planes, unit, options, factor):
    maps = GasMaps.read(planes(column_unit=unit), **options)
    np.testing.assert_allclose(maps.column_density.value, smooth_maps((24, 30))[0] * factor, rtol=1e-12)


def test_logarithmic_column_density(planes):
    logarithm = np.log10(smooth_maps((24, 30))[0])
    logarithm[0, :2] = 0
    maps = GasMaps.read(planes(column=logarithm), column_unit="dex(cm-2)")
    np.testing.assert_allclose(maps.column_density.value[1:], smooth_maps((24, 30))[0][1:])
    assert np.isnan(maps.column_density[0, :2]).all()


@pytest.mark.parametrize(
    ("changed", "options", "words"),
    [
        ({"column_unit": None}, {}, "column.fits: BUNIT is missing.*column_unit="),
        ({"column_unit": "  "}, {}, "column.fits: BUNIT is missing"),
        ({"column_unit": "MJy/sr"}, {}, "column.fits.*MJy/sr.*column_unit='cm-2' and column_species='H2'"),
        ({"column_unit": "K km s-1"}, {}, "column.fits.*integrated intensity"),
        ({"column_unit": "gibberish"}, {}, "gibberish.*is not a unit"),
        ({"column_unit": "H2 cm-2"}, {}, "counts H2, not H; use column_species='H2'"),
        ({}, {"column_unit": "mag"}, "extinction"),
        ({}, {"column_species": "CO"}, "abundance=1e-8"),
        ({"column": np.full((24, 30), 22.0)}, {}, r"column_unit='dex\(cm-2\)'"),
        ({"velocity_unit": None}, {}, "velocity.fits: BUNIT is missing"),
        ({"dispersion_unit": None}, {}, "dispersion.fits: BUNIT is missing"),
        ({"velocity_unit": "Hz"}, {}, "velocity.fits: unit 'Hz' is not a velocity"),
        ({"dispersion_unit": "km2 s-2"}, {}, "dispersion.fits: unit 'km2 s-2' is a variance"),
        ({}, {"distance": 140}, "distance"),
        ({}, {"distance": "140"}, "distance"),
        ({}, {"distance": "-1 pc"}, "distance"),
    ],
)
def test_units_at_fault(planes, changed, options, words):
    with pytest.raises(UnitsError, match=words):
        GasMaps.read(planes(**changed), **options)


def nonsense_wcs():
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["LINEAR", "LINEAR"]
    return wcs


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"column_wcs": None}, "column.fits: no celestial WCS"),
        ({"velocity_wcs": nonsense_wcs()}, "velocity.fits: no celestial WCS"),
        ({"dispersion_cards": {"CTYPE1": "RA---XXX"}}, "dispersion.fits: the WCS cannot be read"),
        ({"dispersion_cards": {"CDELT1": 0.0}}, "dispersion.fits"),
        ({"column": np.ones((3, 24, 30)), "column_wcs": None}, r"a cube of shape \(3, 24, 30\)"),
        ({"column": np.ones(900), "column_wcs": None}, r"data of shape \(900,\)"),
        ({"column": np.ones((5, 30))}, r"data of shape \(5, 30\).*at least 8 x 8"),
        ({"dispersion": -smooth_maps((24, 30))[2]}, "dispersion.fits: 720 velocity dispersions are negative"),
        ({"column": np.full((24, 30), np.nan)}, "column_density 0, velocity 720, velocity_dispersion 720 of 720"),
        ({"dispersion": np.zeros((24, 30))}, "column_density 720, velocity 720, velocity_dispersion 0 of 720"),
        ({"velocity": np.full((24, 30), np.nan), "dispersion": np.full((24, 30), np.nan)}, "velocity 0"),
    ],
)
def test_maps_at_fault(planes, changed, words):
    with pytest.raises(MapError, match=words):
        GasMaps.read(planes(**changed))


def test_degenerate_axes_are_squeezed(planes):
    wcs = WCS(naxis=4)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN", "VRAD", "STOKES"]
    wcs.wcs.cdelt = [-0.0032, 0.0032, 1, 1]
    wcs.wcs.crval = [65, 27.5, 0, 1]
    wcs.wcs.crpix = [15.5, 12.5, 1, 1]
    column = smooth_maps((24, 30))[0][None, None]
    maps = GasMaps.read(planes(column=column, column_wcs=wcs))
    assert maps.shape == (24, 30)
    assert maps.wcs.naxis == 2
    np.testing.assert_allclose(maps.wcs.pixel_to_world(3, 4).ra.deg, tan_wcs((24, 30)).pixel_to_world(3, 4).ra.deg)


def test_zeros_that_mean_missing(planes, caplog):
    caplog.set_level("INFO", logger="stellarfm")
    column, velocity, dispersion = smooth_maps((24, 30))
    column[0], velocity[1], dispersion[1], velocity[2] = 0, 0, 0, 0
    maps = GasMaps.read(planes(column=column, velocity=velocity, dispersion=dispersion))
    assert np.isnan(maps.column_density[0]).all()
    assert np.isnan(maps.velocity[1]).all()
    assert np.isnan(maps.velocity_dispersion[1]).all()
    assert (maps.velocity[2].value == 0).all()  # beside a real dispersion, zero is a velocity
    assert maps.mask.sum() == 60
    assert caplog.text.count("30 pixels are exactly zero") == 3


def test_integer_and_scaled_images(planes, tmp_path):
    paths = planes()
    hdu = fits.PrimaryHDU(np.round(smooth_maps((24, 30))[0] / 1e20).astype(np.int16), tan_wcs((24, 30)).to_header())
    hdu.header["BUNIT"] = "1e20 cm-2"
    hdu.writeto(tmp_path / "integers.fits")
    maps = GasMaps.read(paths | {"column": tmp_path / "integers.fits"})
    np.testing.assert_allclose(maps.column_density.value, smooth_maps((24, 30))[0], rtol=0.2)


def test_wild_velocities_are_mentioned(planes, caplog):
    velocity = smooth_maps((24, 30))[1]
    velocity[0, 0] = -2582
    GasMaps.read(planes(velocity=velocity))
    assert "1 pixels are over 100 km/s off the median" in caplog.text


def test_frames_that_agree_within_a_tenth_of_a_pixel_are_one_grid(planes):
    wcs = tan_wcs((24, 30))
    wcs.wcs.radesys, wcs.wcs.equinox = "FK5", 2000.0
    wcs.wcs.crpix += 0.05
    maps = GasMaps.read(planes(velocity_wcs=wcs, dispersion_wcs=wcs))
    np.testing.assert_array_equal(maps.velocity.value, smooth_maps((24, 30))[1])


@pytest.mark.parametrize("own_grid", [True, False])
def test_shifted_maps_are_brought_onto_the_column_grid(planes, own_grid):
    shifted = tan_wcs((24, 30))
    shifted.wcs.crpix += [3, 0]
    wcs = {"velocity_wcs": shifted} | ({"dispersion_wcs": shifted} if own_grid else {})
    maps = GasMaps.read(planes(**wcs))
    _, velocity, dispersion = smooth_maps((24, 30))
    np.testing.assert_allclose(maps.velocity.value[:, :-4], velocity[:, 3:-1], atol=1e-4)
    expected = dispersion[:, 3:-1] if own_grid else dispersion[:, :-4]
    np.testing.assert_allclose(maps.velocity_dispersion.value[:, :-4], expected, atol=1e-4)
    assert np.isnan(maps.velocity.value[:, -3:]).all()


def test_finer_maps_are_averaged_and_their_shear_becomes_dispersion(planes):
    fine = tan_wcs((96, 120), scale=0.0032 / 4)
    velocity = np.tile(np.arange(120.0) / 4, (96, 1))  # 1 km/s a coarse pixel
    dispersion = np.full((96, 120), 0.3)
    maps = GasMaps.read(planes(velocity=velocity, dispersion=dispersion, velocity_wcs=fine, dispersion_wcs=fine))
    inner = np.s_[2:-2, 2:-2]
    expected = np.sqrt(0.3**2 + np.var(np.arange(4) / 4))
    np.testing.assert_allclose(maps.velocity_dispersion.value[inner], expected, rtol=0.01)
    np.testing.assert_allclose(np.diff(maps.velocity.value[inner], axis=1), 1, atol=0.01)


def test_maps_of_other_skies_have_no_pixel_in_common(planes):
    elsewhere = tan_wcs((24, 30), centre=(10.0, 0.0))
    with pytest.raises(MapError, match="no pixel has all three maps"):
        GasMaps.read(planes(velocity_wcs=elsewhere, dispersion_wcs=elsewhere))


def test_both_axes_reversed_are_fine(planes):
    wcs = tan_wcs((24, 30), flip=(1, -1))
    assert GasMaps.read(planes(wcs=wcs)).pixel_angle.to_value("arcsec") == pytest.approx(11.52)


def test_noisy_headers_make_log_messages_not_warnings(planes, caplog):
    caplog.set_level("INFO", logger="stellarfm")
    cards = {
        "OBSGEO-X": -1601156.67,
        "OBSGEO-Y": -5041988.98,
        "OBSGEO-Z": 3554879.23,
        "MJD-OBS": 55850.2,
        "DATE-OBS": "30/02/99",
    }
    assert GasMaps.read(planes(velocity_cards=cards)).shape == (24, 30)
    assert "velocity.fits: " in caplog.text


def test_missing_roles_are_named(planes):
    paths = planes()
    with pytest.raises(MapError, match="maps given: column; missing: dispersion, velocity"):
        GasMaps.read({"column": paths["column"]})
    with pytest.raises(MapError, match="missing: velocity"):
        GasMaps.read({"column": paths["column"], "dispersion": paths["dispersion"], "speed": paths["velocity"]})


def test_files_at_fault(planes, tmp_path):
    paths = planes()
    with pytest.raises(InputNotFoundError, match="absent.fits: no such file"):
        GasMaps.read(tmp_path / "absent.fits")
    with pytest.raises(ReaderError, match=r"column.fits: extensions PRIMARY.*velocity="):
        GasMaps.read(paths["column"])
    (tmp_path / "text.fits").write_text("not FITS")
    with pytest.raises(ReaderError, match="text.fits: not a FITS file"):
        GasMaps.read(tmp_path / "text.fits")
    (tmp_path / "empty.fits").write_bytes(b"")
    with pytest.raises(ReaderError, match="empty.fits"):
        GasMaps.read(tmp_path / "empty.fits")
    whole = paths["velocity"].read_bytes()
    paths["velocity"].write_bytes(whole[: len(whole) - 2880])
    with pytest.raises(ReaderError, match="velocity.fits: not a FITS file, or a truncated one"):
        GasMaps.read(paths)
    fits.HDUList([fits.PrimaryHDU()]).writeto(tmp_path / "nothing.fits")
    with pytest.raises(ReaderError, match="holds no image"):
        GasMaps.read(paths | {"velocity": tmp_path / "nothing.fits"})


def test_a_cube_given_as_a_field_says_so(tmp_path):
    write_plane(tmp_path / "cube.fits", np.ones((9, 10, 11)), None, "K")
    with pytest.raises(MapError, match="cube.fits: a cube"):
        GasMaps.read(tmp_path / "cube.fits")


def test_a_broken_card_does_not_stop_the_reader(planes, caplog):
    paths = planes()
    content = paths["column"].read_bytes()
    card = b"BUNIT   = 'cm-2    '"
    broken = b"WEIRD   = 'unclosed "
    end = content.index(b"END" + b" " * 77)
    assert card in content
    paths["column"].write_bytes(content[:end] + broken.ljust(80) + content[end : end + 80] + content[end + 160 :])
    assert GasMaps.read(paths).shape == (24, 30)
