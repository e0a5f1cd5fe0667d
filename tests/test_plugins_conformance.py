"""Conformance checks of every registered plugin, including those of third parties."""

import astropy.units as u
import h5py
import numpy as np
import pytest
from astropy.io import fits
from astropy.table import QTable
from astropy.wcs import WCS
from PIL import Image

from stellarfm import registry
from stellarfm.maps import GasMaps, MapSet
from stellarfm.readers.hdf5.writer import write_snapshot
from stellarfm.testing import (
    CommandConformance,
    DatasetConformance,
    EncoderConformance,
    HeadConformance,
    MethodConformance,
    ReaderConformance,
)

#: Options for small and fast instances where the defaults are expensive.
OPTIONS = {
    "dinov2": {"prototypes": 256, "hidden": 64, "bottleneck": 32, "global_size": 32, "local_size": 16},
    "fits-ppv": {"column_per_intensity": "2e21 cm-2/(K km/s)"},
}


class Registered:
    """Mixin that runs the checks of a class for each name of a group."""

    group: str

    @pytest.fixture(autouse=True)
    def _plugin(self, name):
        self.name = name
        self.plugin = registry.get(self.group, name)
        self.options = OPTIONS.get(name, self.options)


@pytest.mark.parametrize("name", registry.names("encoders"))
class TestEncoders(Registered, EncoderConformance):
    group = "encoders"


@pytest.mark.parametrize("name", registry.names("datasets"))
class TestDatasets(Registered, DatasetConformance):
    group = "datasets"

    @pytest.fixture(autouse=True)
    def _map_set(self, name, _plugin, tmp_path):
        if name == "mapset":
            windows(count=12).write(tmp_path / "maps.h5")
            self.options = {"path": str(tmp_path / "maps.h5"), "size": 16}
        if name == "images":
            for number in range(4):
                pixels = np.random.default_rng(number).integers(0, 255, (20, 20, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / f"{number}.png")
            self.options = {"path": str(tmp_path), "size": 16}


@pytest.mark.parametrize("name", registry.names("heads"))
class TestHeads(Registered, HeadConformance):
    group = "heads"


@pytest.mark.parametrize("name", registry.names("methods"))
class TestMethods(Registered, MethodConformance):
    group = "methods"


@pytest.mark.parametrize("name", registry.names("commands"))
class TestCommands(Registered, CommandConformance):
    group = "commands"


@pytest.mark.parametrize("name", registry.names("readers"))
class TestReaders(Registered, ReaderConformance):
    group = "readers"

    def sample(self, folder):
        return SAMPLES[self.name](folder) if self.name in SAMPLES else None


class TestExchange(ReaderConformance):
    """Checks of the reader ``hdf5`` with a snapshot in the exchange format."""

    plugin = registry.get("readers", "hdf5")

    @pytest.fixture(autouse=True)
    def _snapshot_to_write(self, make_snapshot):
        self.snapshot = make_snapshot(kind="particles")

    def sample(self, folder):
        write_snapshot(self.snapshot, folder / "snapshot.h5")
        return folder / "snapshot.h5"


def field():
    """Return a small field of gas."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.cdelt, wcs.wcs.crpix = ["RA---TAN", "DEC--TAN"], [-0.003, 0.003], [8.0, 8.0]
    plane = np.random.default_rng(0).uniform(1, 2, (16, 16))
    return GasMaps(
        column_density=1e22 * plane * u.cm**-2,
        velocity=plane * u.km / u.s,
        velocity_dispersion=plane * u.km / u.s,
        wcs=wcs,
    )


def windows(count=2):
    """Return small windows around `count` stars."""
    planes = np.random.default_rng(0).uniform(1, 2, (count, 16, 16))
    return MapSet(
        column_density=1e22 * planes * u.cm**-2,
        velocity=planes * u.km / u.s,
        velocity_dispersion=planes * u.km / u.s,
        stars=QTable({"star": np.arange(count), "mass": np.linspace(0.5, 2.0, count) * u.solMass}),
        pixel_scale=0.0078 * u.pc,
        depth=0.5 * u.pc,
        mass_per_hydrogen=1.4,
        label_kind="sink",
        simulation="test",
        provenance="made up",
    )


def write_sinks(path):
    """Write two sinks and some gas in the format of GIZMO."""
    units = {"UnitLength_In_CGS": 3.0857e18, "UnitMass_In_CGS": 1.989e33, "UnitVelocity_In_CGS": 100.0}
    with h5py.File(path, "w") as file:
        header = {"BoxSize": 10.0, "Time": 0.001, "NumPart_ThisFile": [50, 0, 0, 0, 0, 2], **units}
        file.create_group("Header").attrs.update(header)
        file["PartType5/Coordinates"] = file["PartType5/Velocities"] = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]
        file["PartType5/Masses"] = [0.5, 2.0]
        rng = np.random.default_rng(0)
        file["PartType0/Coordinates"], file["PartType0/Velocities"] = rng.uniform(0, 10, (2, 50, 3))
        file["PartType0/Masses"], file["PartType0/Density"] = np.full((2, 50), 0.1)
        file["PartType0/SmoothingLength"] = np.full(50, 0.5)
    return path


def written(maps, path):
    """Write maps to `path`, and return it."""
    maps.write(path)
    return path


def density_cube(path):
    """Write a small cube of density and three of velocity."""
    cards = {f"{key}{axis}": value for axis in (1, 2, 3) for key, value in {"CDELT": 0.1, "CUNIT": "pc"}.items()}
    cube = np.random.default_rng(0).uniform(1e3, 1e4, (6, 8, 10)).astype("f4")
    hdus = [fits.PrimaryHDU(cube, fits.Header({**cards, "BUNIT": "cm-3"}))]
    hdus += [fits.ImageHDU(cube, fits.Header({"BUNIT": "cm/s"}), name=f"VELOCITY_{axis}") for axis in "XYZ"]
    fits.HDUList(hdus).writeto(path)
    return path


def spectral_cube(path):
    """Write a small spectral cube with one bright line."""
    axes = {1: ("RA---TAN", -0.003), 2: ("DEC--TAN", 0.003), 3: ("VRAD", 100.0)}
    cards = {f"{key}{axis}": value for axis, pair in axes.items() for key, value in zip(("CTYPE", "CDELT"), pair)}
    line = 5 * np.exp(-(((np.arange(40) - 20) / 4) ** 2) / 2)[:, None, None]
    cube = line + np.random.default_rng(0).normal(0, 0.1, (40, 9, 9))
    fits.PrimaryHDU(cube.astype("f4"), fits.Header({**cards, "CUNIT3": "m/s", "BUNIT": "K"})).writeto(path)
    return path


SAMPLES = {
    "fits": lambda folder: written(field(), folder / "field.fits"),
    "fits-ppp": lambda folder: density_cube(folder / "density.fits"),
    "fits-ppv": lambda folder: spectral_cube(folder / "cube.fits"),
    "hdf5": lambda folder: written(windows(), folder / "windows.h5"),
    "yt": lambda folder: write_sinks(folder / "snapshot_001.hdf5"),
}
