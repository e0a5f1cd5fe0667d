import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits

from stellarfm import registry
from stellarfm.exceptions import MapError, ReaderError
from stellarfm.readers.fits.reader import FITSReader
from stellarfm.readers.hdf5.reader import HDF5Reader


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


def test_foreign_fits_is_refused_by_its_content(tmp_path):
    fits.PrimaryHDU(np.ones((9, 9))).writeto(tmp_path / "image.fits")
    with pytest.raises((MapError, ReaderError), match="image.fits"):
        FITSReader().read(tmp_path / "image.fits")
