import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.table import QTable
from astropy.wcs import WCS

from stellarfm import registry
from stellarfm.contracts import SimulationReader
from stellarfm.exceptions import InputNotFoundError, MapError, ReaderError
from stellarfm.maps import GasMaps, MapSet
from stellarfm.readers import reader_name
from stellarfm.readers.fits.reader import FITSReader
from stellarfm.readers.hdf5.reader import HDF5Reader


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


def test_files_find_their_reader(field, windows):
    assert reader_name(field) == "fits"
    assert reader_name(windows) == "hdf5"


def test_readers_give_the_containers(field, windows):
    assert registry.create("readers", "fits").read(field).distance is None
    assert registry.create("readers", "fits", distance="140 pc").read(field).distance == 140 * u.pc
    assert len(registry.create("readers", "hdf5").read(windows)) == 3


def test_readers_never_raise_on_foreign_files(tmp_path, field, windows):
    text = tmp_path / "text.fits"
    text.write_text("no")
    for path in (text, tmp_path, tmp_path / "absent"):
        assert not FITSReader().can_read(path)
        assert not HDF5Reader().can_read(path)
    assert not FITSReader().can_read(windows)
    assert not HDF5Reader().can_read(field)


def test_nobody_knows_the_file(tmp_path):
    (tmp_path / "notes.txt").write_text("no")
    with pytest.raises(ReaderError, match=r"notes.txt: no reader knows this file \(asked: .*fits, .*hdf5.*\)"):
        reader_name(tmp_path / "notes.txt")
    with pytest.raises(InputNotFoundError):
        reader_name(tmp_path / "absent.fits")


def test_a_broken_reader_is_passed_over_and_named(tmp_path, monkeypatch, windows):
    class Broken(SimulationReader):
        def can_read(self, path):
            raise RuntimeError("a bug")

        def read(self, path):
            raise AssertionError

    known = {"broken": Broken, "hdf5": HDF5Reader}
    monkeypatch.setattr(registry, "names", lambda group: sorted(known))
    monkeypatch.setattr(registry, "create", lambda group, name: known[name]())
    assert reader_name(windows) == "hdf5"
    (tmp_path / "notes.txt").write_text("no")
    with pytest.raises(ReaderError, match=r"asked: hdf5; could not be asked: broken"):
        reader_name(tmp_path / "notes.txt")


def test_foreign_fits_is_refused_by_its_content(tmp_path):
    fits.PrimaryHDU(np.ones((9, 9))).writeto(tmp_path / "image.fits")
    with pytest.raises((MapError, ReaderError), match="image.fits"):
        FITSReader().read(tmp_path / "image.fits")
