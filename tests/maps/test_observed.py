"""Real maps: each is read, or refused with the words that help."""

import numpy as np
import pytest
from astropy import units as u

from stellarfm.exceptions import MapError, ReaderError, UnitsError
from stellarfm.maps import GasMaps, MapScaler, MapSet, column_peaks, windows_around
from stellarfm.readers.tables import read_sources

pytestmark = pytest.mark.shared_data

PIXEL = 4 / 512 * u.pc


@pytest.fixture
def observed(shared_data):
    def paths(folder, column, velocity, dispersion):
        names = {"column": column, "velocity": velocity, "dispersion": dispersion}
        return {role: shared_data / "observed" / folder / name for role, name in names.items()}

    return paths


@pytest.fixture
def h_mm1(observed):
    names = ("NH2_6arcsec_aligned", "NH3_Vlsr_snr5", "NH3_sigma_v_snr5")
    return observed("H-MM1", *(f"H-MM1_{name}.fits" for name in names))


def ammonia(observed, cloud):
    return observed(cloud, *(f"{cloud}_{name}_DR1_rebase3_flag.fits" for name in ("N_NH3", "Vlsr", "Sigma")))


@pytest.mark.parametrize("field", ["cloud-b_x", "cloud-b_z", "cloud-c_x", "cloud-c_z"])
def test_fields_put_every_star_in_the_middle_of_its_window(shared_data, field):
    path = shared_data / "fields" / f"{field}.fits"
    maps, stars = GasMaps.read(path), read_sources(path)
    windows = windows_around(maps, stars, pixel_scale=PIXEL)
    assert len(windows) == len(stars)
    np.testing.assert_allclose(windows.stars["x_pixel"], stars["x_pixel"], atol=1e-6)
    assert windows.stars["coverage"].min() > 0.25
    row, column = (np.round(windows.stars[name]).astype(int) for name in ("y_pixel", "x_pixel"))
    np.testing.assert_array_equal(windows.column_density[:, 32, 32], maps.column_density[row, column])
    tensor = MapScaler().fit(windows).transform(windows)
    assert np.isfinite(tensor).all()


def test_clouds_are_scaled_to_order_one(shared_data):
    paths = shared_data / "clouds" / "cloud-a.h5", shared_data / "ramses" / "windows.h5"
    clouds = MapSet.concatenate([MapSet.read(path)[:60] for path in paths])
    assert set(clouds.stars["simulation"]) == {"cloud-a", "sample"}
    tensor = MapScaler(column_reference="window").fit(clouds).transform(clouds)
    assert np.isfinite(tensor).all()
    assert 0.7 < tensor.std() < 1.5


def test_h_mm1(h_mm1, caplog):
    caplog.set_level("INFO", logger="stellarfm")
    maps = GasMaps.read(h_mm1, distance="138 pc", column_unit="cm-2", column_species="H2")
    assert maps.shape == (300, 300)
    assert maps.pixel_angle.value == pytest.approx(1, rel=1e-6)
    assert np.nanmax(maps.column_density.value) == pytest.approx(2 * 6.112e22, rel=1e-3)
    assert "30967 pixels are exactly zero" in caplog.text
    assert (~maps.mask).mean() == pytest.approx(0.0982, abs=1e-3)
    assert np.nanmedian(maps.velocity.value) == pytest.approx(4.12, abs=0.01)  # the three grids agree: nothing moved
    windows = windows_around(maps, column_peaks(maps), pixel_scale=PIXEL)
    assert np.isfinite(windows.velocity_dispersion.value).sum() > 20


def test_h_mm1_as_its_header_has_it_is_refused(h_mm1, observed):
    with pytest.raises(UnitsError, match="MJy/sr.*column_unit='cm-2' and column_species='H2'"):
        GasMaps.read(h_mm1)
    second = h_mm1["dispersion"].with_name("H-MM1_NH3_11_mom2.fits")
    with pytest.raises(UnitsError, match="mom2.fits: unit 'km2 s-2' is a variance"):
        GasMaps.read(h_mm1 | {"dispersion": second}, column_unit="cm-2", column_species="H2")


def test_h_mm1_without_a_mask_is_warned_of(h_mm1, caplog):
    first = h_mm1["velocity"].with_name("H-MM1_NH3_11_mom1.fits")
    GasMaps.read(h_mm1 | {"velocity": first}, column_unit="cm-2", column_species="H2")
    assert "over 100 km/s off the median" in caplog.text


@pytest.mark.parametrize(("cloud", "fraction", "zeros"), [("L1688", 0.076, 35591), ("B18", 0.0048, 50319)])
def test_ammonia_survey(observed, cloud, fraction, zeros, caplog):
    caplog.set_level("INFO", logger="stellarfm")
    options = {"column_unit": "dex(cm-2)", "column_species": "NH3", "abundance": 1e-8}
    maps = GasMaps.read(ammonia(observed, cloud), distance="138 pc", **options)
    assert (~maps.mask).mean() == pytest.approx(fraction, rel=0.02)
    assert f"{zeros} pixels are exactly zero" in caplog.text
    assert 1e21 < np.nanmedian(maps.column_density.value) < 1e23
    assert np.nanmin(maps.velocity_dispersion.value) > 0
    sources = read_sources(ammonia(observed, cloud)["column"].with_name(f"{cloud}_YSO_catalog.csv"))
    windows = windows_around(maps, sources, pixel_scale=PIXEL)
    assert len(windows) == len(sources)
    assert windows.stars["coverage"].max() > 0.02
    assert (windows.stars["coverage"] == 0).any()


def test_ammonia_as_its_header_has_it_is_refused(observed):
    paths = ammonia(observed, "L1688")
    with pytest.raises(UnitsError, match=r"median hydrogen column density would be 13.8.*dex\(cm-2\)"):
        GasMaps.read(paths)
    with pytest.raises(UnitsError, match=r"N\(NH3\)/N\(H2\), for instance abundance=1e-8"):
        GasMaps.read(paths, column_unit="dex(cm-2)", column_species="NH3")
    with pytest.raises(UnitsError, match="another species.*column_species="):
        GasMaps.read(paths, column_unit="dex(cm-2)")


def test_barnard_5_has_no_column_density(observed):
    paths = observed(
        "Barnard5", "B5_NH3_11_8arcsec_match_TdV.fits", "B5_NH3_merged_Vlsr.fits", "B5_NH3_merged_sigma_v.fits"
    )
    with pytest.raises(UnitsError, match="'K km s-1' is an integrated intensity, not a column density"):
        GasMaps.read(paths)


@pytest.mark.parametrize("name", ["Perseus/PerA_Extn2MASS_F_Gal.fits", "Taurus/Taurusfwhm5_logNHmap.fits"])
def test_a_single_map_is_not_a_field(shared_data, h_mm1, name):
    path = shared_data / "observed" / name
    edited = {"verify_checksum": False}  # the archive edited Perseus and left its DATASUM
    with pytest.raises(ReaderError, match="extensions PRIMARY; expected COLUMN, VELOCITY and DISPERSION"):
        GasMaps.read(path, **edited)
    with pytest.raises(MapError, match="missing: dispersion, velocity"):
        GasMaps.read({"column": path})
    with pytest.raises(UnitsError, match="BUNIT is missing.*column_unit="):
        GasMaps.read(h_mm1 | {"column": path}, **edited)
    with pytest.raises(UnitsError, match=r"dex\(cm-2\)"):
        GasMaps.read(h_mm1 | {"column": path}, column_unit="cm-2", **edited)


def test_maps_of_different_skies(shared_data, h_mm1):
    taurus = shared_data / "observed" / "Taurus" / "Taurusfwhm5_logNHmap.fits"
    with pytest.raises(MapError, match="no pixel has all three maps"):
        GasMaps.read(h_mm1 | {"column": taurus}, column_unit="dex(cm-2)")


def test_l1448_is_a_cube(shared_data):
    with pytest.raises(MapError, match=r"a cube of shape \(53, 105, 105\)"):
        GasMaps.read(shared_data / "observed" / "L1448" / "l1448_13co.fits")
