import argparse

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.table import QTable
from astropy.wcs import WCS

from stellarfm.cli.map_options import add_field_options, read_field
from stellarfm.exceptions import InputNotFoundError, MapError, PluginTypeError, ReaderError, UnitsError
from stellarfm.maps import GasMaps, MapSet

ONES = np.ones((9, 10))


@pytest.fixture
def files(tmp_path):
    """A field in one file and in three, and a map set."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.cdelt = ["RA---TAN", "DEC--TAN"], [-0.003, 0.003]
    paths = {name: tmp_path / f"{name}.fits" for name in ("field", "column", "velocity", "dispersion")} | {
        "maps": tmp_path / "m.h5"
    }
    kinematics = {"velocity": ONES * u.km / u.s, "velocity_dispersion": ONES * u.km / u.s}
    GasMaps(column_density=1e22 * ONES * u.cm**-2, wcs=wcs, **kinematics).write(paths["field"])
    for name, value, unit in (("column", 1e22, "MJy/sr"), ("velocity", 1.0, "km/s"), ("dispersion", 1.0, "km/s")):
        fits.PrimaryHDU(value * ONES, wcs.to_header() + fits.Header({"BUNIT": unit})).writeto(paths[name])
    windows = {name: value[None, :9, :9] for name, value in kinematics.items()}
    MapSet(
        column_density=1e22 * ONES[None, :, :9] * u.cm**-2,
        stars=QTable({"star": [1]}),
        pixel_scale=0.01 * u.pc,
        **windows,
    ).write(paths["maps"])
    return {name: str(path) for name, path in paths.items()}


def read(*words):
    parser = argparse.ArgumentParser()
    add_field_options(parser)
    return read_field(parser.parse_args(words)).maps


def three(files):
    return "--column", files["column"], "--velocity", files["velocity"], "--dispersion", files["dispersion"]


def test_one_file(files):
    maps = read(files["field"], "--distance", "140 pc", "--column-species", "H2")
    assert maps.distance == 140 * u.pc
    assert maps.column_density[0, 0].value == pytest.approx(2e22)


def test_three_files(files):
    maps = read(*three(files), "--column-unit", "cm-2", "--column-species", "X", "--abundance", "0.5")
    assert maps.column_density[0, 0].value == pytest.approx(4e22)
    with pytest.raises(UnitsError, match="column_unit='cm-2' and column_species='H2'"):
        read(*three(files))


def test_a_map_set(files):
    assert len(read(files["maps"])) == 1


@pytest.mark.parametrize(
    "option", [("--distance", "140 pc"), ("--column-unit", "cm-2"), ("--column-species", "H2"), ("--abundance", "1e-8")]
)
def test_options_that_a_map_set_would_ignore(files, option):
    name = option[0].removeprefix("--").replace("-", "_")
    with pytest.raises(PluginTypeError, match=f"m.h5: reader 'hdf5' has no option '{name}'; leave it out"):
        read(files["maps"], *option)


def test_too_little_and_too_much(files):
    with pytest.raises(MapError, match="no field given"):
        read()
    with pytest.raises(MapError, match="both .* were given"):
        read(files["field"], "--column", files["column"])
    with pytest.raises(MapError, match="missing: dispersion, velocity"):
        read("--column", files["column"])
    with pytest.raises(InputNotFoundError, match="absent.fits"):
        read("absent.fits")
    with pytest.raises(InputNotFoundError, match="absent.fits"):
        read("--column", "absent.fits")


@pytest.fixture
def cube(tmp_path):
    """A spectral cube with one bright line in every pixel."""
    axes = {1: ("RA---TAN", -0.003), 2: ("DEC--TAN", 0.003), 3: ("VRAD", 100.0)}
    cards = {f"{key}{axis}": value for axis, pair in axes.items() for key, value in zip(("CTYPE", "CDELT"), pair)}
    line = 5 * np.exp(-(((np.arange(40) - 20) / 4) ** 2) / 2)[:, None, None]
    values = line + np.random.default_rng(0).normal(0, 0.1, (40, 9, 9))
    fits.PrimaryHDU(values.astype("f4"), fits.Header({**cards, "CUNIT3": "m/s"})).writeto(tmp_path / "cube.fits")
    return tmp_path / "cube.fits"


def test_a_spectral_cube_in_place_of_maps(cube):
    pytest.importorskip("spectral_cube", reason="spectral-cube is not installed (stellarfm[cubes])")
    said = ["--brightness-unit", "K", "--column-per-intensity", "2e21 cm-2/(K km/s)", "--distance", "140 pc"]
    maps = read(str(cube), *said)
    assert maps.distance == 140 * u.pc
    assert np.isclose(np.median(maps.velocity.value), 2.1, atol=0.02)  # CRPIX is 0 where it is not said
    doubled = read(str(cube), *said, "--column-species", "H2", "--noise", "0.1 K", "--line-free", "0 to 0.8 km/s")
    assert u.allclose(doubled.column_density, 2 * maps.column_density, rtol=0.05)


def test_options_of_a_cube_are_for_cubes(cube, files):
    with pytest.raises(PluginTypeError, match="has no option 'column_unit'; leave it out .*column_per_intensity"):
        read(str(cube), "--column-unit", "cm-2")
    for field in (files["field"], files["maps"]):
        with pytest.raises(PluginTypeError, match=r"has no option 'noise'; leave it out"):
            read(str(field), "--noise", "1 K")
    with pytest.raises(PluginTypeError, match=r"three files has no option 'noise'; leave it out"):
        read(*three(files), "--noise", "1 K")


def test_a_reader_and_its_options(files):
    maps = read(files["field"], "--reader", "fits", "--reader-option", "distance=140 pc")
    assert maps.distance == 140 * u.pc
    with pytest.raises(ReaderError, match="not an HDF5 file"):
        read(files["field"], "--reader", "hdf5")
    with pytest.raises(PluginTypeError, match="reader 'fits' has no option 'colour'"):
        read(files["field"], "--reader-option", "colour=red")
    with pytest.raises(ReaderError, match="expected KEY=VALUE"):
        read(files["field"], "--reader-option", "colour")
