"""The intake of maps: each kind of header is read as it is meant, or refused with the way out; values of our own."""

import warnings

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import QTable, Table
from astropy.wcs import WCS

from stellarfm.exceptions import MapError, ReaderError, UnitsError
from stellarfm.maps import GasMaps, normalize_sources, regrid, sky_coordinates
from stellarfm.maps.io.celestial_wcs import celestial_wcs, local_pixel_area, local_pixel_sides
from stellarfm.maps.units import clean_unit, parse_distance
from stellarfm.readers import read_maps, read_sources

from .conftest import gas_maps, smooth_maps, tan_wcs, write_plane

SHAPE = (24, 30)


def decided(maps, subject):
    """The values of the decisions about a subject."""
    return [row["value"] for row in maps.report() if row["what"].endswith(subject)]


def set_card(path, image):
    """Replace the card of the same keyword by raw bytes."""
    content = path.read_bytes()
    start = content.index(image[:9])
    path.write_bytes(content[:start] + image.ljust(80) + content[start + 80 :])


# --- the record ---


def test_every_decision_has_its_reason(planes):
    maps = GasMaps.read(planes(), distance="300 pc", column_species="H2")
    report = maps.report()
    assert report.colnames == ["what", "value", "reason"]
    assert all(row["reason"] for row in report)
    assert decided(maps, "distance") == ["300 pc"]
    assert decided(maps, "species") == ["H2"]
    assert decided(maps, "scale") == ["linear"]
    assert decided(maps, "beam") == ["unknown"]


def test_the_record_is_written_and_read_again(planes, tmp_path):
    GasMaps.read(planes(), distance="300 pc", column_species="H2").write(tmp_path / "field.fits")
    again = GasMaps.read(tmp_path / "field.fits")
    assert "column_species=" in again.report()["reason"]
    again.write(tmp_path / "again.fits")
    assert (tmp_path / "again.fits").read_bytes() == (tmp_path / "field.fits").read_bytes()


# --- WCS ---


@pytest.mark.parametrize("text", ["-0.0032", "-3.2D-3", " -0.32E-02 "])
def test_numbers_of_the_wcs_stored_as_text(planes, text):
    maps = GasMaps.read(planes(column_cards={"CDELT1": text}))
    assert maps.pixel_angle.to_value("arcsec") == pytest.approx(11.52, rel=1e-5)
    assert "number stored as text in the header" in maps.report()["reason"]


@pytest.mark.parametrize("image", [b"CDELT2  =0.0032", b"CDELT2  = 3.2-3", b"CDELT2  = 3.2D-03 / degrees"])
def test_cards_that_astropy_drops(planes, image):
    paths = planes()
    set_card(paths["velocity"], image)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        maps = GasMaps.read(paths)
    np.testing.assert_array_equal(maps.velocity.value, smooth_maps(SHAPE)[1])


@pytest.mark.parametrize("keyword", ["CDELT2", "CRVAL1", "CRPIX2"])
def test_cards_without_which_wcslib_assumes_something(planes, keyword):
    paths = planes()
    with fits.open(paths["dispersion"], mode="update") as hdus:
        del hdus[0].header[keyword]
    with pytest.raises(MapError, match=f"dispersion.fits: {keyword} missing from the WCS"):
        GasMaps.read(paths)


@pytest.mark.parametrize(
    ("cards", "words"),
    [
        ({"CTYPE1": "GLON", "CTYPE2": "GLAT"}, "names no projection; expected one such as 'GLON-TAN'"),
        ({"CTYPE1": "RA---TNX", "CTYPE2": "DEC--TNX"}, "projection 'TNX'"),
        ({"CTYPE1": True}, "CTYPE1 is True; expected text"),
        ({"CTYPE1": "SLON-SIN", "CTYPE2": "SLAT-SIN"}, "supergalactic.*RADESYS"),
        ({"RADESYS": "FK6"}, "RADESYS is 'FK6'.*expected one of ICRS"),
        ({"CRVAL1": "far"}, "CRVAL1 is the text 'far'"),
        ({"CDELT1": -1.0, "CDELT2": 1.0}, "pixels of 1 x 1 degrees"),
    ],
)
def test_headers_that_are_refused(planes, cards, words):
    with pytest.raises(MapError, match=words):
        GasMaps.read(planes(column_cards=cards))


@pytest.mark.parametrize(
    "cards",
    [{"RADESYS": "J2000.0"}, {"CTYPE1": "RA--TAN", "CTYPE2": "DEC-TAN"}, {"CTYPE1": "ra---tan"}, {"CUNIT1": "DEGREES"}],
)
def test_common_misspellings_of_the_wcs(planes, cards):
    maps = GasMaps.read(planes(column_cards=cards))
    expected = tan_wcs(SHAPE).pixel_to_world(3, 4)
    assert maps.wcs.pixel_to_world(3, 4).icrs.separation(expected.icrs) < 0.1 * u.arcsec


def distorted(kind):
    header = tan_wcs(SHAPE).to_header()
    if kind == "SIP":
        header["CTYPE1"], header["CTYPE2"] = "RA---TAN-SIP", "DEC--TAN-SIP"
        header.update({"A_ORDER": 2, "B_ORDER": 2, "A_0_2": 2e-3, "B_1_1": -1e-3})
    else:
        for axis in (1, 2):
            header[f"CD{axis}_{axis}"] = header.pop(f"CDELT{axis}")
        header["CTYPE1"], header["CTYPE2"] = ("RA---TPV", "DEC--TPV") if kind == "TPV" else ("RA---TAN", "DEC--TAN")
        header.update({"PV1_1": 1.0, "PV2_1": 1.0, "PV1_4": 0.4, "PV2_5": 0.3, "PV1_0": 1e-3})
    return header


@pytest.mark.parametrize("kind", ["SIP", "TPV", "SCAMP"])
def test_distortions_are_carried_through_resampling(tmp_path, kind):
    header = distorted(kind)
    complete = distorted("TPV") if kind == "SCAMP" else header.copy()
    if kind != "SIP":
        complete.update({f"PV{axis}_{n}": 0.0 for axis in (1, 2) for n in range(6) if f"PV{axis}_{n}" not in complete})
    wcs = WCS(complete)
    y, x = np.indices(SHAPE)
    column = 1e22 * (1 + x / 10 + y / 20)
    paths = {}
    for role, values, unit in (
        ("column", column, "cm-2"),
        ("velocity", x / 30, "km/s"),
        ("dispersion", 0.3 + y / 50, "km/s"),
    ):
        fits.PrimaryHDU(values, header + fits.Header({"BUNIT": unit})).writeto(tmp_path / f"{role}.fits")
        paths[role] = tmp_path / f"{role}.fits"
    maps = GasMaps.read(paths, distance="200 pc")
    assert not maps.wcs.has_distortion
    assert {ctype[5:] for ctype in maps.wcs.wcs.ctype} == {"TAN"}
    at_x, at_y = maps.wcs.all_world2pix(*wcs.all_pix2world([12.0, 20.0], [8.0, 15.0], 0), 0)
    row, at = np.round(at_y).astype(int), np.round(at_x).astype(int)
    expected = 1e22 * (1 + np.array([12.0, 20.0]) / 10 + np.array([8.0, 15.0]) / 20)
    np.testing.assert_allclose(maps.column_density.value[row, at], expected, rtol=0.04)
    maps.write(tmp_path / "field.fits")
    assert (
        GasMaps.read(tmp_path / "field.fits").wcs.pixel_to_world(2, 3).separation(maps.wcs.pixel_to_world(2, 3))
        < 1 * u.mas
    )


def test_polynomials_of_tpv_are_in_degrees_with_cdelt_too():
    """As it is, wcslib takes them to be in pixels unless the header has a CD matrix."""
    matrix = distorted("TPV")
    separate = matrix.copy()
    for axis in (1, 2):
        separate[f"CDELT{axis}"] = separate.pop(f"CD{axis}_{axis}")
    wcs = celestial_wcs(separate, [1, 2], where="x", shape=SHAPE)
    assert wcs.pixel_to_world(3, 4).separation(WCS(matrix).pixel_to_world(3, 4)) < 1 * u.mas


def test_scales_are_local(planes):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval = ["RA---CAR", "DEC--CAR"], [65.0, 0.0]
    wcs.wcs.cdelt, wcs.wcs.crpix = [-0.004, 0.004], [15.5, 12.5 - 45 / 0.004]
    assert local_pixel_sides(wcs, 14.5, 11.5) == pytest.approx([0.004 * np.cos(np.pi / 4), 0.004], rel=1e-4)
    assert local_pixel_area(wcs, 14.5, 11.5) == pytest.approx(0.004**2 * np.cos(np.pi / 4), rel=1e-4)
    maps = GasMaps.read(planes(wcs=wcs), distance="140 pc")
    sides = local_pixel_sides(maps.wcs, 10, 10)
    assert sides[0] == pytest.approx(sides[1], rel=1e-3)
    area = (~maps.mask).sum() * maps.pixel_angle.to_value("deg") ** 2
    assert area == pytest.approx(24 * 30 * 0.004**2 * np.cos(np.pi / 4), rel=0.05)


def test_a_mistyped_distance_does_not_ask_for_memory(planes):
    maps = GasMaps.read(planes(), distance="5 kpc")
    with pytest.raises(MapError, match="expected at most 8 times; use finer maps, or check the distance"):
        regrid(maps, "0.0078125 pc")


# --- which plane ---


def test_planes_of_files_with_several_images(planes, tmp_path):
    paths, wcs = planes(), tan_wcs(SHAPE).to_header()
    column = smooth_maps(SHAPE)[0]
    images = [fits.ImageHDU(column * factor, wcs, name=name) for factor, name in ((0.2, "UNC"), (1, "coldens"))]
    for image in images:
        image.header["BUNIT"] = "cm-2"
    fits.HDUList([fits.PrimaryHDU(), *images]).writeto(tmp_path / "two.fits")
    with pytest.raises(MapError, match=r"2 images, UNC, COLDENS; name the column map"):
        GasMaps.read(paths | {"column": tmp_path / "two.fits"})
    for name in ("two.fits[COLDENS]", "two.fits[2]"):
        maps = GasMaps.read(paths | {"column": f"{tmp_path}/{name}"})
        np.testing.assert_allclose(maps.column_density.value, column)
    with pytest.raises(ReaderError, match="no extension 'N'; found 0 PRIMARY, 1 UNC, 2 COLDENS"):
        GasMaps.read(paths | {"column": f"{tmp_path}/two.fits[N]"})


def test_errors_are_no_data_and_one_map_has_one_role(planes, tmp_path):
    paths = planes()
    with pytest.raises(MapError, match="was given as velocity and as dispersion"):
        GasMaps.read(paths | {"dispersion": paths["velocity"]})
    error = write_plane(tmp_path / "cloud_eVlsr.fits", smooth_maps(SHAPE)[1], tan_wcs(SHAPE), "km/s")
    with pytest.raises(MapError, match="file name is that of a map of errors"):
        GasMaps.read(paths | {"velocity": error})
    assert GasMaps.read(paths | {"velocity": f"{error}[0]"}).shape == SHAPE
    with pytest.raises(MapError, match="describes 'uncertainty', not a velocity map"):
        GasMaps.read(planes_again(tmp_path, BTYPE="velocity uncertainty") | {})


def planes_again(tmp_path, **cards):
    """Three new files whose velocity map has these cards."""
    folder = tmp_path / "again"
    folder.mkdir()
    names = zip(("column", "velocity", "dispersion"), smooth_maps(SHAPE), ("cm-2", "km/s", "km/s"), strict=True)
    return {
        role: write_plane(
            folder / f"{role}.fits", values, tan_wcs(SHAPE), unit, **(cards if role == "velocity" else {})
        )
        for role, values, unit in names
    }


def test_parameter_cubes(tmp_path):
    column, velocity, dispersion = smooth_maps(SHAPE)
    header = tan_wcs(SHAPE).to_header() + fits.Header({"PLANE1": "VLSR", "PLANE2": "SIGMA_V", "PLANE3": "LOG_N"})
    path = tmp_path / "fit.fits"
    fits.PrimaryHDU(np.stack([velocity, dispersion, np.log10(column)]), header).writeto(path)
    with pytest.raises(
        MapError, match=r"column='.*fit.fits\[0\]\[3\]', velocity='.*\[0\]\[1\]', dispersion='.*\[0\]\[2\]'"
    ):
        read_maps(path)
    names = {"column": f"{path}[0][log_n]", "velocity": f"{path}[0][1]", "dispersion": f"{path}[0][SIGMA_V]"}
    maps = GasMaps.read(names, column_unit="dex(cm-2)", velocity_unit="km/s", dispersion_unit="km/s")
    np.testing.assert_allclose(maps.column_density.value, column)
    np.testing.assert_allclose(maps.velocity_dispersion.value, dispersion)


# --- masks and missing values ---


@pytest.mark.parametrize(
    ("role", "value"),
    [("column", -9999.0), ("column", -1.6375e30), ("column", np.inf), ("column", 9.9e36), ("velocity", -999.0),
     ("velocity", 1e30), ("dispersion", -1e30), ("dispersion", -32768.0), ("dispersion", 99999.0)],
)  # fmt: skip
def test_sentinels_are_missing(planes, role, value):
    index = ("column", "velocity", "dispersion").index(role)
    values = smooth_maps(SHAPE)[index]
    values[3:6, 4:9] = value
    maps = GasMaps.read(planes(**{role: values}))
    assert maps.mask.sum() == 15
    assert maps.mask[3:6, 4:9].all()
    assert decided(maps, "missing")[0].startswith("15 pixels")


@pytest.mark.parametrize("value", [-np.inf, -999.0, 99.0])
def test_sentinels_of_logarithms_and_named_ones(planes, value):
    values = np.log10(smooth_maps(SHAPE)[0])
    values[0, :7] = value
    assert GasMaps.read(planes(column=values, column_unit="log10(cm-2)")).mask.sum() == 7


def test_a_missing_value_of_the_caller(planes):
    values = np.log10(smooth_maps(SHAPE)[0])
    values[0, :7] = 21.5
    assert GasMaps.read(planes(column=values, column_unit="log10(cm-2)"), missing_value=21.5).mask.sum() == 7


def test_ordinary_extremes_are_kept(planes):
    column, _velocity, _dispersion = smooth_maps(SHAPE)
    column = np.minimum(column, 2e22)  # saturated: the largest value is repeated
    assert not GasMaps.read(planes(column=column)).mask.any()


def test_masks_that_mark_good_pixels(tmp_path):
    gas_maps().write(tmp_path / "field.fits")
    with fits.open(tmp_path / "field.fits") as hdus:
        hdus["MASK"].data[:] = 1
        hdus["MASK"].data[:, :5] = 0
        hdus.writeto(tmp_path / "good.fits", checksum=True)
    with pytest.raises(MapError, match=r"\[MASK\].*mask_is='good'"):
        GasMaps.read(tmp_path / "good.fits")
    assert GasMaps.read(tmp_path / "good.fits", mask_is="good").mask.mean() == pytest.approx(0.1)
    assert GasMaps.read(tmp_path / "good.fits", mask_is="bad").mask.mean() == pytest.approx(0.9)


# --- unit, species, scale ---


@pytest.mark.parametrize(
    ("cards", "options", "words"),
    [
        ({"BTYPE": "N(13CO)"}, {}, "BTYPE 'N\\(13CO\\)' counts 13CO, not H; use column_species='13CO'"),
        ({"LABEL": "H_2 column density"}, {}, "counts H2, not H; use column_species='H2'"),
        ({"OBJECT": "L1544 column density N(H2)"}, {}, "OBJECT .* counts H2"),
        ({"HISTORY": "N(H2) from SED fits"}, {}, "HISTORY .* counts H2"),
        ({"BTYPE": "N(HI)"}, {"column_species": "H2"}, "counts H, not H2"),
        ({}, {"column_unit": "H2 cm-2", "column_species": "H"}, "column_unit 'H2 cm-2' counts H2, not H"),
        ({}, {"column_unit": "molecules/cm2"}, "counts molecules, not hydrogen nuclei; use column_species='H2'"),
        ({}, {"column_unit": "dex(cm-2)"}, "not a logarithm.*column_unit='cm-2'"),
        ({"BTYPE": "log column density"}, {}, "describes a logarithm"),
    ],
)
def test_headers_that_contradict_the_caller(planes, cards, options, words):
    with pytest.raises(UnitsError, match=words):
        GasMaps.read(planes(column_cards=cards), **options)


def test_species_that_agree(planes):
    maps = GasMaps.read(planes(column_cards={"LABEL": "N(H2)"}), column_species="H2")
    np.testing.assert_allclose(maps.column_density.value, 2 * smooth_maps(SHAPE)[0])


def test_an_unnamed_species_is_announced(planes, caplog):
    caplog.set_level("INFO", logger="stellarfm")
    GasMaps.read(planes())
    assert "taken to count hydrogen nuclei" in caplog.text


@pytest.mark.parametrize(
    ("unit", "factor"),
    [("mag", "1.9e21 cm-2 / mag"), ("K km s-1", "5e20 cm-2 / (K km/s)"), ("g cm-2", "4.27e23 cm-2/(g cm-2)")],
)
def test_other_quantities_need_a_factor_and_accept_the_advised_one(planes, unit, factor):
    column = smooth_maps(SHAPE)[0] / u.Quantity(factor.replace("km/s", "km s-1")).value
    paths = planes(column=column, column_unit=unit)
    with pytest.raises(UnitsError, match='column_per_intensity="') as error:
        GasMaps.read(paths)
    advised = str(error.value).split('column_per_intensity="')[1].split('"')[0]
    assert GasMaps.read(paths, column_per_intensity=advised).shape == SHAPE
    maps = GasMaps.read(paths, column_per_intensity=factor)
    np.testing.assert_allclose(maps.column_density.value, smooth_maps(SHAPE)[0])


# --- kinematics ---


@pytest.mark.parametrize("text", ["km/sec", "Km/S", "kms-1", "km.s^-1", "kilometers/second", "kms^{-1}"])
def test_spellings_of_velocities(text):
    assert clean_unit(text) == u.km / u.s


def test_widths_other_than_sigma(planes):
    dispersion = smooth_maps(SHAPE)[2]
    width = np.sqrt(8 * np.log(2)) * dispersion
    paths = planes(dispersion=width, dispersion_cards={"BTYPE": "Full width at half maximum"})
    with pytest.raises(UnitsError, match="dispersion_is='fwhm'"):
        GasMaps.read(paths)
    with pytest.raises(UnitsError, match="not sigma; use dispersion_is='fwhm'"):
        GasMaps.read(paths, dispersion_is="sigma")
    maps = GasMaps.read(paths, dispersion_is="fwhm")
    np.testing.assert_allclose(maps.velocity_dispersion.value, dispersion)
    with pytest.raises(MapError, match="dispersion_is='width'; expected one of sigma, fwhm, variance"):
        GasMaps.read(paths, dispersion_is="width")


def test_variances_and_units_of_the_caller(planes):
    _, velocity, dispersion = smooth_maps(SHAPE)
    paths = planes(dispersion=dispersion**2, dispersion_unit="km2 s-2", velocity=velocity * 1e5, velocity_unit=None)
    with pytest.raises(UnitsError, match="velocity.fits: BUNIT is missing.*velocity_unit='km/s'"):
        GasMaps.read(paths, dispersion_is="variance")
    maps = GasMaps.read(paths, dispersion_is="variance", velocity_unit="cm/s")
    np.testing.assert_allclose(maps.velocity_dispersion.value, dispersion)
    np.testing.assert_allclose(maps.velocity.value, velocity)


@pytest.mark.parametrize("factor", [1e-5, 1e3])
def test_implausible_velocities(planes, factor):
    with pytest.raises(UnitsError, match="the velocities would spread by .* give velocity_unit"):
        GasMaps.read(planes(velocity=smooth_maps(SHAPE)[1] * factor))


def test_implausible_dispersions(planes):
    with pytest.raises(UnitsError, match="median velocity dispersion would be .* give dispersion_unit"):
        GasMaps.read(planes(dispersion=smooth_maps(SHAPE)[2] * 1000))


def test_logarithms_of_velocities(planes):
    with pytest.raises(UnitsError, match="is a logarithm"):
        GasMaps.read(planes(dispersion_unit="log10(km/s)"))


# --- distance ---


@pytest.mark.parametrize(
    ("text", "distance", "error"),
    [
        ("415 +/- 12 pc", 415, 12),
        ("0.3 ± 0.02 kpc", 300, 20),
        ("(190+-5) pc", 190, 5),
        ("652 light years", 199.9, None),
    ],
)
def test_distances_in_words(text, distance, error):
    found, uncertainty = parse_distance(text)
    assert found.to_value("pc") == pytest.approx(distance, rel=1e-4)
    assert (None if uncertainty is None else uncertainty.to_value("pc")) == (
        error if error is None else pytest.approx(error)
    )


@pytest.mark.parametrize(
    ("value", "comment", "distance"),
    [(0.41, "[kpc]", 410), (0.41, "distance in kpc", 410), (1337.0, "[lyr]", 409.9), (410, "", 410),
     ("410 +/- 20 pc", "", 410),
     (0.0, "unknown", None), ("", "", None)],
)  # fmt: skip
def test_distances_of_headers(planes, value, comment, distance):
    paths = planes()
    with fits.open(paths["velocity"], mode="update") as hdus:
        hdus[0].header["DISTANCE"] = (value, comment)
    found = GasMaps.read(paths).distance
    assert (None if found is None else found.to_value("pc")) == (distance and pytest.approx(distance, rel=1e-3))


@pytest.mark.parametrize(
    ("value", "comment", "words"),
    [
        (True, "[pc]", "DISTANCE is True"),
        (8.1, "[Mpc]", "would be 8.1e\\+06 pc"),
        (0.41, "", "would be 0.41 pc"),
        ("near", "", "near"),
    ],
)
def test_impossible_distances_of_headers(planes, value, comment, words):
    paths = planes()
    with fits.open(paths["column"], mode="update") as hdus:
        hdus[0].header["DISTANCE"] = (value, comment)
    with pytest.raises(UnitsError, match=f"{words}.*distance='140 pc'"):
        GasMaps.read(paths)


def test_distances_that_differ(planes):
    paths = planes(column_cards={"DISTANCE": 140.0}, velocity_cards={"DISTANCE": 160.0})
    with pytest.raises(UnitsError, match="DISTANCE is 140 pc, but 160 pc in"):
        GasMaps.read(paths)


# --- damaged files ---


def test_damaged_files(tmp_path):
    gas_maps().write(tmp_path / "field.fits")
    content = bytearray((tmp_path / "field.fits").read_bytes())
    (tmp_path / "short.fits").write_bytes(content[:-4000])
    with pytest.raises(ReaderError, match="short.fits: truncated"):
        GasMaps.read(tmp_path / "short.fits")
    flipped = content.copy()
    flipped[2880 * 2 + 1000] ^= 0x40
    (tmp_path / "flipped.fits").write_bytes(flipped)
    with pytest.raises(ReaderError, match="DATASUM"):
        GasMaps.read(tmp_path / "flipped.fits")
    at = content.index(b"NAXIS2  =")
    content[at : at + 30] = b"NAXIS2  =                  -40"
    (tmp_path / "negative.fits").write_bytes(content)
    with pytest.raises(ReaderError, match="NAXIS2 = -40"):
        GasMaps.read(tmp_path / "negative.fits")
    with pytest.raises(ReaderError):
        read_maps(tmp_path / "negative.fits", reader="fits")


# --- sources ---

POSITIONS = SkyCoord([83.51, 83.88], [-5.21, -5.6], unit="deg")


def at_positions(sources):
    found = SkyCoord(sources["ra"], sources["dec"])
    return bool(np.all(found.separation(POSITIONS) < 0.1 * u.arcsec))


@pytest.mark.parametrize(
    ("name", "form"),
    [("s.parquet", "parquet"), ("s.mrt", "ascii.mrt"), ("s.tbl", "ascii.ipac"), ("s.ecsv", "ascii.ecsv")],
)
def test_formats_of_sources(tmp_path, name, form):
    if form == "parquet":
        pytest.importorskip("pyarrow")
    Table({"ra": POSITIONS.ra.deg, "dec": POSITIONS.dec.deg}).write(tmp_path / name, format=form)
    assert at_positions(read_sources(tmp_path / name))


def test_ds9_regions(tmp_path):
    pytest.importorskip("regions")
    first = POSITIONS[0]
    second = POSITIONS[1].galactic
    (tmp_path / "s.reg").write_text(
        f'icrs\ncircle({first.ra.deg:.7f},{first.dec.deg:.7f},10") # text={{IRS 1}}\n'
        f"galactic\npoint({second.l.deg:.7f},{second.b.deg:.7f})\n"
    )
    sources = read_sources(tmp_path / "s.reg")
    assert at_positions(sources)
    assert sources["name"][0] == "IRS 1"
    (tmp_path / "p.reg").write_text("image\ncircle(10,20,3)\n")
    with pytest.raises(ReaderError, match="in WCS coordinates"):
        read_sources(tmp_path / "p.reg")


def test_parts_of_sexagesimal_numbers():
    hms, dms = POSITIONS.ra.hms, POSITIONS.dec.signed_dms
    parts = {"RAh": hms.h, "RAm": hms.m, "RAs": hms.s, "DE-": ["-", "-"], "DEd": dms.d, "DEm": dms.m, "DEs": dms.s}
    table = normalize_sources(Table(parts | {"id": [1, 2]}))
    assert at_positions(table)
    assert table.colnames == ["star", "ra", "dec", "id"]


def test_galactic_coordinates_and_text():
    galactic = POSITIONS.galactic
    assert at_positions(normalize_sources(Table({"GLON": galactic.l.deg, "GLAT": galactic.b.deg})))
    text = {
        "RAJ2000": POSITIONS.ra.to_string(u.hour, sep=" ", precision=4),
        "DEJ2000": POSITIONS.dec.to_string(sep=" ", precision=3),
    }
    objects = Table({name: np.array(list(values), dtype=object) for name, values in text.items()})
    assert at_positions(normalize_sources(objects))
    assert at_positions(
        normalize_sources(
            Table({"ra": [f"{a:.6f}" for a in POSITIONS.ra.deg], "dec": [f"{d:.6f}" for d in POSITIONS.dec.deg]})
        )
    )


def test_units_of_angles_in_any_spelling(tmp_path):
    hdu = fits.table_to_hdu(Table({"RA": POSITIONS.ra.deg, "DEC": POSITIONS.dec.deg}))
    hdu.header["TUNIT1"], hdu.header["TUNIT2"] = "Degrees", "DEGREE"
    hdu.name = "stars"
    hdu.writeto(tmp_path / "s.fits")
    assert at_positions(read_sources(tmp_path / "s.fits"))


def test_masses_without_a_unit_are_dropped():
    table = normalize_sources(QTable({"ra": POSITIONS.ra, "dec": POSITIONS.dec, "mass": [1.0, 2.0]}))
    assert "mass" not in table.colnames
    assert len(sky_coordinates(table)) == 2


def test_a_lower_case_extension_of_stars(tmp_path):
    gas_maps().write(tmp_path / "field.fits")
    hdu = fits.table_to_hdu(Table({"ra": [65.0], "dec": [27.5]}))
    hdu.header["EXTNAME"] = "stars"
    with fits.open(tmp_path / "field.fits") as hdus:
        hdus.append(hdu)
        hdus.writeto(tmp_path / "with.fits")
    content = (tmp_path / "with.fits").read_bytes().replace(b"'STARS   '", b"'stars   '")
    (tmp_path / "with.fits").write_bytes(content)
    assert len(read_maps(tmp_path / "with.fits").sources) == 1
