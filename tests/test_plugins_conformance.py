"""Every registered plugin, whoever published it, passes the checks that we ship to plugin authors."""

import astropy.units as u
import h5py
import numpy as np
import pytest
from astropy.table import QTable
from astropy.wcs import WCS

from stellarfm import registry
from stellarfm.maps import GasMaps, MapSet
from stellarfm.testing import DatasetConformance, EncoderConformance, MethodConformance, ReaderConformance

#: Options for small and quick instances, where the defaults are costly.
OPTIONS = {"dinov2": {"prototypes": 256, "hidden": 64, "bottleneck": 32, "global_size": 32, "local_size": 16}}


class Registered:
    """Runs the checks of a class once for each name of a group."""

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


@pytest.mark.parametrize("name", registry.names("methods"))
class TestMethods(Registered, MethodConformance):
    group = "methods"


@pytest.mark.parametrize("name", registry.names("readers"))
class TestReaders(Registered, ReaderConformance):
    group = "readers"

    def sample(self, folder):
        if self.name == "yt":
            return write_sinks(folder / "snapshot_001.hdf5")
        writers = {"fits": (field, "field.fits"), "hdf5": (windows, "windows.h5")}
        if self.name not in writers:
            return None
        make, name = writers[self.name]
        make().write(folder / name)
        return folder / name


def field():
    """A small field of gas."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.cdelt, wcs.wcs.crpix = ["RA---TAN", "DEC--TAN"], [-0.003, 0.003], [8.0, 8.0]
    plane = np.random.default_rng(0).uniform(1, 2, (16, 16))
    return GasMaps(
        column_density=1e22 * plane * u.cm**-2,
        velocity=plane * u.km / u.s,
        velocity_dispersion=plane * u.km / u.s,
        wcs=wcs,
    )


def windows():
    """Two small windows around stars."""
    planes = np.random.default_rng(0).uniform(1, 2, (2, 16, 16))
    return MapSet(
        column_density=1e22 * planes * u.cm**-2,
        velocity=planes * u.km / u.s,
        velocity_dispersion=planes * u.km / u.s,
        stars=QTable({"star": [1, 2], "mass": [0.5, 2.0] * u.solMass}),
        pixel_scale=0.0078 * u.pc,
        depth=0.5 * u.pc,
        mass_per_hydrogen=1.4,
        label_kind="sink",
        simulation="test",
        provenance="made up",
    )


def write_sinks(path):
    """Two sinks in the form of GIZMO."""
    units = {"UnitLength_In_CGS": 3.0857e18, "UnitMass_In_CGS": 1.989e33, "UnitVelocity_In_CGS": 100.0}
    with h5py.File(path, "w") as file:
        header = {"BoxSize": 10.0, "Time": 0.001, "NumPart_ThisFile": [0, 0, 0, 0, 0, 2], **units}
        file.create_group("Header").attrs.update(header)
        file["PartType5/Coordinates"] = file["PartType5/Velocities"] = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]
        file["PartType5/Masses"] = [0.5, 2.0]
    return path
