"""Small simulation outputs, written from numbers, for the tests of readers."""

from types import SimpleNamespace

import h5py
import numpy as np
import pytest
from astropy import units as u
from astropy.table import QTable
from astropy.wcs import WCS

from stellarfm.maps import GasMaps, MapSet

#: Header of a STARFORGE run: pc, Msun, m/s.
STARFORGE = {
    "BoxSize": 10.0,
    "Time": 0.004,
    "HubbleParam": 1.0,
    "ComovingIntegrationOn": 0,
    "GIZMO_version": 2021,
    "NumFilesPerSnapshot": 1,
    "NumPart_ThisFile": np.array([4, 0, 0, 0, 0, 3]),
    "NumPart_Total": np.array([4, 0, 0, 0, 0, 3]),
    "UnitLength_In_CGS": 3.085678e18,
    "UnitMass_In_CGS": 1.989e33,
    "UnitVelocity_In_CGS": 100.0,
}

STARS = {
    "Coordinates": np.array([[5.0, 5.0, 5.0], [1.0, 2.0, 3.0], [9.9, 5.0, 0.1]]),
    "Velocities": np.array([[1000.0, 0.0, 0.0], [0.0, -500.0, 0.0], [0.0, 0.0, 250.0]]),
    "Masses": np.array([1.5, 0.3, 20.0], dtype=np.float32),
    "BH_Mass": np.array([1.25, 0.25, 16.0], dtype=np.float32),
    "BH_Mdot": np.array([0.0, 2.0, 4.0]),
    "ProtoStellarAge": np.array([0.001, 0.002, 0.004]),
    "ParticleIDs": np.array([7, 8, 9], dtype=np.uint64),
}

GAS = {
    "Coordinates": np.array([[5.0, 5.0, 5.0], [5.2, 5.0, 5.0], [1.0, 1.0, 1.0], [9.95, 5.0, 5.0]]),
    "Velocities": np.array([[100.0, 200.0, 300.0]] * 4),
    "Masses": np.array([1e-3, 2e-3, 4e-3, 8e-3]),
    "Density": np.array([10.0, 20.0, 30.0, 40.0]),
    "InternalEnergy": np.full(4, 6e4),
    "SmoothingLength": np.array([0.1, 0.2, 0.3, 0.2]),
}


def write_gadget(path, *, header=STARFORGE, attributes=None, **groups):
    """An HDF5 snapshot with these particle groups; `attributes` belong to every dataset."""
    with h5py.File(path, "w") as file:
        file.create_group("Header").attrs.update(header)
        for name, fields in groups.items():
            for field, values in fields.items():
                file[f"{name}/{field}"] = values
                file[f"{name}/{field}"].attrs.update((attributes or {}).get(field, {}))
    return path


def write_starforge(path):
    """A small STARFORGE snapshot: three stars, four gas particles."""
    return write_gadget(path, PartType0=GAS, PartType5=STARS)


INFO = """ncpu        =          1
ndim        =          3
boxlen      =  0.400000000000000E+01
time        =  0.500000000000000E+00
aexp        =  0.100000000000000E+01
H0          =  0.100000000000000E+01
unit_l      =  0.308570000000000E+19
unit_d      =  0.150492957435000E-19
unit_t      =  0.315569260000000E+14

ordering type=hilbert
"""

SINKS = """ # id,msink,x,y,z,vx,vy,vz,tform,acc_rate,level
 # 1,m,l,l,l,l t**-1,l t**-1,l t**-1,t,m t**-1,1
 1, 2.5E-04, 1.0E+00, 3.5E+00, 1.7E+00, 4.0E-01, 4.5E-01, -5.5E-01, 4.0E-01, 7.0E-05, 8
 4, 1.0E-02, 4.0E+00, 0.0E+00, 2.0E+00, 0.0E+00, 1.0E+00, -1.0E+00, 2.0E-01, 0.0E+00, 8
"""


def write_ramses(folder, *, info=INFO, sinks=SINKS, namelist=""):
    """The text files of a RAMSES output; there is no gas."""
    folder.mkdir(parents=True)
    (folder / "info_00007.txt").write_text(info)
    if sinks is not None:
        (folder / "sink_00007.csv").write_text(sinks)
    (folder / "namelist.txt").write_text(namelist)
    return folder


@pytest.fixture(scope="session")
def outputs():
    """What writes small outputs, and the numbers in them."""
    return SimpleNamespace(
        header=STARFORGE,
        stars=STARS,
        gas=GAS,
        write_gadget=write_gadget,
        write_starforge=write_starforge,
        info=INFO,
        sinks=SINKS,
        write_ramses=write_ramses,
    )


@pytest.fixture
def field(tmp_path):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.cdelt = ["RA---TAN", "DEC--TAN"], [-0.003, 0.003]
    ones = np.ones((9, 10))
    maps = GasMaps(
        column_density=1e22 * ones * u.cm**-2,
        velocity=ones * u.km / u.s,
        velocity_dispersion=ones * u.km / u.s,
        wcs=wcs,
    )
    maps.write(tmp_path / "field.fits")
    return tmp_path / "field.fits"


@pytest.fixture
def windows(tmp_path):
    ones = np.ones((3, 8, 8))
    mapset = MapSet(
        column_density=1e22 * ones * u.cm**-2,
        velocity=ones * u.km / u.s,
        velocity_dispersion=ones * u.km / u.s,
        stars=QTable({"star": np.arange(3)}),
        pixel_scale=0.01 * u.pc,
    )
    mapset.write(tmp_path / "maps.h5")
    return tmp_path / "maps.h5"
