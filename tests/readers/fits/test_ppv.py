import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits

from stellarfm import registry
from stellarfm.exceptions import MapError, ReaderError, UnitsError
from stellarfm.readers.loading import find_reader

pytest.importorskip("spectral_cube", reason="spectral-cube is not installed (stellarfm[cubes])")

from stellarfm.readers.fits.ppv import PPVReader

FACTOR = "2e21 cm-2 / (K km/s)"
NOISE = 0.1
CHANNEL = 0.1  # km/s
N = 80


def header(**cards):
    base = {
        "CTYPE1": "RA---TAN",
        "CTYPE2": "DEC--TAN",
        "CTYPE3": "VRAD",
        "CUNIT3": "m s-1",
        "BUNIT": "K",
        "CDELT1": -0.003,
        "CDELT2": 0.003,
        "CDELT3": 1000 * CHANNEL,
        "CRPIX1": 6.0,
        "CRPIX2": 6.0,
        "CRPIX3": 1.0,
        "CRVAL1": 52.0,
        "CRVAL2": 31.0,
        "CRVAL3": 0.0,
    }
    return fits.Header({key: value for key, value in {**base, **cards}.items() if value is not None})


@pytest.fixture
def truth():
    """Peak (K), velocity and dispersion (km/s) of a Gaussian line in 10 x 12 pixels."""
    y, x = np.indices((10, 12))
    return 5.0 + 0.3 * x, 4.0 + 0.05 * y, 0.4 + 0.02 * x


@pytest.fixture
def spectra(truth):
    """A cube of those lines with noise, shape (80, 10, 12)."""
    peak, velocity, sigma = truth
    axis = CHANNEL * np.arange(N)[:, None, None]
    clean = peak * np.exp(-(((axis - velocity) / sigma) ** 2) / 2)
    return (clean + np.random.default_rng(0).normal(0, NOISE, clean.shape)).astype("f4")


@pytest.fixture
def cube(spectra, tmp_path):
    fits.PrimaryHDU(spectra, header()).writeto(tmp_path / "cube.fits")
    return tmp_path / "cube.fits"


def read(path, **options):
    return PPVReader(**{"column_per_intensity": FACTOR, **options}).read(path)


def test_moments_of_gaussian_lines(cube, truth):
    peak, velocity, sigma = truth
    maps = read(cube, distance="300 pc")
    assert not maps.mask.any()
    expected = 2e21 * np.sqrt(2 * np.pi) * peak * sigma
    assert np.allclose(maps.column_density.value, expected, rtol=0.03)
    assert np.allclose(maps.velocity.value, velocity, atol=0.03)
    assert np.allclose(maps.velocity_dispersion.value, sigma, rtol=0.1)
    assert np.all(maps.velocity_dispersion.value < 1.05 * sigma)  # the mask cuts wings off
    assert maps.distance == 300 * u.pc
    assert u.allclose(maps.wcs.pixel_to_world(5, 5).ra, 52 * u.deg)


def test_errors_are_those_of_repeated_observations(spectra, truth, tmp_path):
    peak, velocity, sigma = truth
    clean = peak * np.exp(-(((CHANNEL * np.arange(N)[:, None, None] - velocity) / sigma) ** 2) / 2)
    runs = []
    for seed in range(12):
        noisy = clean + np.random.default_rng(seed).normal(0, NOISE, clean.shape)
        fits.PrimaryHDU(noisy.astype("f4"), header()).writeto(tmp_path / f"{seed}.fits")
        runs.append(read(tmp_path / f"{seed}.fits", noise="0.1 K"))
    for name in ("column_density", "velocity", "velocity_dispersion"):
        scatter = np.std([getattr(run, name).value for run in runs], axis=0, ddof=1)
        told = np.mean([getattr(run, f"{name}_error").value for run in runs], axis=0)
        assert 0.8 < np.median(scatter / told) < 1.7, name  # more than 1: the edge of the mask moves with the noise


def test_pixels_without_a_line_are_missing(spectra, tmp_path):
    spectra[:, 3:5] = np.random.default_rng(1).normal(0, NOISE, spectra[:, 3:5].shape)
    spectra[:, 7] = 0
    fits.PrimaryHDU(spectra, header()).writeto(tmp_path / "holes.fits")
    maps = read(tmp_path / "holes.fits")
    assert np.array_equal(np.flatnonzero(maps.mask.all(axis=1)), [3, 4, 7])
    assert np.isnan(maps.column_density_error[3]).all()


def test_axes_in_any_order_and_a_stokes_axis(cube, spectra, tmp_path):
    turned = header(CTYPE1="VRAD", CTYPE2="RA---TAN", CTYPE3="DEC--TAN", CUNIT1="km/s", CUNIT3="deg")
    turned.update(CDELT1=CHANNEL, CDELT2=-0.003, CDELT3=0.003, CRPIX1=1.0, CRPIX3=6.0)
    turned.update(CRVAL1=0.0, CRVAL2=52.0, CRVAL3=31.0)
    fits.PrimaryHDU(np.moveaxis(spectra, 0, 2), turned).writeto(tmp_path / "turned.fits")
    fits.PrimaryHDU(spectra[None], header(CTYPE4="STOKES", CRVAL4=1.0, CRPIX4=1.0, CDELT4=1.0)).writeto(
        tmp_path / "stokes.fits"
    )
    expected = read(cube)
    for name in ("turned.fits", "stokes.fits"):
        found = read(tmp_path / name)
        assert u.allclose(found.velocity, expected.velocity, atol=1e-4 * u.km / u.s)
        assert u.allclose(found.column_density, expected.column_density, rtol=1e-4)


def test_a_frequency_axis_needs_the_rest_frequency(cube, spectra, tmp_path):
    rest, c = 110.2e9, 299792.458
    cards = {"CTYPE3": "FREQ", "CUNIT3": "Hz", "CRVAL3": rest, "CDELT3": -rest * CHANNEL / c}
    fits.PrimaryHDU(spectra, header(**cards)).writeto(tmp_path / "f.fits")
    with pytest.raises(MapError, match=r"RESTFRQ is missing.*rest_frequency="):
        read(tmp_path / "f.fits")
    found = read(tmp_path / "f.fits", rest_frequency="110.2 GHz")
    assert u.allclose(found.velocity, read(cube).velocity, atol=1e-3 * u.km / u.s)
    fits.PrimaryHDU(spectra, header(RESTFRQ=rest, **cards)).writeto(tmp_path / "r.fits")
    assert u.allclose(read(tmp_path / "r.fits").velocity, found.velocity)


@pytest.mark.parametrize(
    ("cards", "options", "error", "message"),
    [
        ({}, {"column_per_intensity": None}, UnitsError, r"integrated intensity, not column.*column_per_intensity="),
        ({}, {"column_per_intensity": "2e20"}, UnitsError, "is not a column density; expected something like"),
        ({}, {"column_per_intensity": "2e20 cm-2"}, UnitsError, "'2e20 cm-2' times K km / s is not a column density"),
        ({}, {"column_per_intensity": "a lot"}, UnitsError, "'a lot' is not a number with a unit"),
        ({}, {"column_per_intensity": "2e5 cm-2/(K km/s)"}, UnitsError, "median hydrogen column density"),
        ({}, {"column_species": "CO"}, UnitsError, "needs the abundance"),
        ({"BUNIT": None}, {}, UnitsError, r"BUNIT is missing.*brightness_unit="),
        ({"BUNIT": "kelvins?"}, {}, UnitsError, r"'kelvins\?' is not a unit.*brightness_unit"),
        ({"BUNIT": "Jy/beam"}, {}, UnitsError, "is not a column density"),
        ({"CUNIT3": None}, {}, UnitsError, r"CUNIT3 of the spectral axis \(VRAD\) is missing.*spectral_unit="),
        ({"CUNIT3": "Hz"}, {}, UnitsError, r"\(VRAD\) is 'Hz'; expected something like km / s"),
        ({}, {"spectral_unit": "K"}, UnitsError, "is 'K'; expected something like km / s: give spectral_unit"),
        ({"CTYPE3": "FREQ", "CUNIT3": "Hz"}, {"rest_frequency": "3 mm"}, UnitsError, "rest_frequency is in mm"),
        ({"CTYPE3": "LAMBDA"}, {}, MapError, "'LAMBDA'; expected two on the sky"),
        ({"CTYPE2": "VRAD"}, {}, MapError, "expected two on the sky"),
        ({}, {"noise": "0.1"}, UnitsError, "noise '0.1'; expected a positive brightness in K"),
        ({}, {"noise": "100 K"}, MapError, "no line rises above the noise"),
        ({}, {"line_free": "0 to 0.3 km/s"}, MapError, "4 channels are line-free"),
        ({}, {"line_free": "0 to 3"}, UnitsError, "expected velocities"),
    ],
)
def test_what_is_missing_or_wrong_is_named(spectra, tmp_path, cards, options, error, message):
    fits.PrimaryHDU(spectra, header(**cards)).writeto(tmp_path / "cube.fits")
    with pytest.raises(error, match=message):
        read(tmp_path / "cube.fits", **options)


def test_what_the_header_does_not_say_can_be_said(cube, spectra, tmp_path):
    fits.PrimaryHDU(spectra, header(BUNIT=None, CUNIT3=None)).writeto(tmp_path / "mute.fits")
    found = read(tmp_path / "mute.fits", brightness_unit="K", spectral_unit="m/s", line_free="0 to 1 km/s, 7 to 8 km/s")
    assert u.allclose(found.velocity, read(cube).velocity, atol=0.02 * u.km / u.s)
    doubled = read(cube, column_species="H2")
    assert u.allclose(doubled.column_density, 2 * read(cube).column_density)
    trace = read(cube, column_species="13CO", abundance=1e-3, column_per_intensity="1e18 cm-2/(K km/s)")
    assert u.allclose(trace.column_density, read(cube).column_density)


def test_readers_know_it_by_its_axes(cube):
    assert find_reader(cube) == "fits-ppv"
    with pytest.raises(UnitsError, match="column_per_intensity="):
        registry.create("readers", "fits").read(cube)


def test_a_truncated_cube_is_refused(cube):
    content = cube.read_bytes()
    cube.write_bytes(content[: len(content) // 2])
    with pytest.raises(ReaderError, match="cube.fits"):
        read(cube)


def test_a_map_is_no_cube(tmp_path):
    fits.PrimaryHDU(np.ones((10, 10)), header()).writeto(tmp_path / "map.fits")
    assert not PPVReader().can_read(tmp_path / "map.fits")
    with pytest.raises(ReaderError, match="map.fits: not a cube"):
        read(tmp_path / "map.fits")


@pytest.mark.shared_data
def test_l1448(shared_data, caplog):
    """Real 13CO: BUNIT is missing, EQUINOX is 0, lines reach both ends of the spectral axis."""
    path = shared_data / "observed" / "L1448" / "l1448_13co.fits"
    with pytest.raises(UnitsError, match="brightness_unit="):
        read(path)
    with caplog.at_level("INFO", logger="stellarfm"):
        maps = read(path, brightness_unit="K", column_per_intensity="5e20 cm-2/(K km/s)", column_species="H2")
    assert "EQUINOX 0 is not a valid equinox" in caplog.text
    centre = maps.wcs.pixel_to_world(52, 52).icrs
    assert 51 < centre.ra.deg < 52
    assert 30 < centre.dec.deg < 31  # L1448 is at 3h25m +30d45m
    assert maps.mask.mean() < 0.2
    assert 4 < np.nanmedian(maps.velocity.value) < 5
    assert np.nanmax(maps.velocity_dispersion.value) < 2
