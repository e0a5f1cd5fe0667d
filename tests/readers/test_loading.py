import subprocess
import sys

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.table import QTable

import stellarfm.readers
from stellarfm import registry
from stellarfm.contracts import SimulationReader
from stellarfm.exceptions import (
    DuplicatePluginError,
    InputNotFoundError,
    MapError,
    PluginTypeError,
    ReaderError,
    UnknownPluginError,
)
from stellarfm.readers import read_maps, read_snapshot, write_snapshot
from stellarfm.readers.fits.reader import FITSReader
from stellarfm.readers.hdf5.reader import HDF5Reader
from stellarfm.readers.loading import find_reader


@pytest.fixture
def path(make_snapshot, tmp_path):
    write_snapshot(make_snapshot(), tmp_path / "snapshot.h5")
    return tmp_path / "snapshot.h5"


@pytest.fixture
def picky(monkeypatch, make_snapshot):
    """A reader with options of all types, and what it was given."""
    given = {}

    class Picky(SimulationReader):
        def __init__(
            self,
            *,
            gamma: "float" = 1.0,
            count: "int | None" = None,
            periodic: "bool" = False,
            unit: "str | None" = None,
        ) -> None:
            given.update(gamma=gamma, count=count, periodic=periodic, unit=unit)

        def can_read(self, path):
            return True

        def read(self, path):
            return make_snapshot()

    monkeypatch.setattr(registry, "get", lambda group, name: Picky)
    return given


def test_the_reader_is_found_and_the_run_renamed(path):
    assert read_snapshot(path).simulation == "run"
    assert read_snapshot(path, reader="hdf5", simulation="mine").simulation == "mine"


def test_text_becomes_what_options_are_annotated_with(picky, tmp_path):
    read_snapshot(tmp_path, reader="picky", options={"gamma": "1.4", "count": "3", "periodic": "yes", "unit": "1"})
    assert picky == {"gamma": 1.4, "count": 3, "periodic": True, "unit": "1"}
    read_snapshot(tmp_path, reader="picky", options={"periodic": "false", "count": 7})
    assert picky == {"gamma": 1.0, "count": 7, "periodic": False, "unit": None}


@pytest.mark.parametrize("option", [("gamma", "five"), ("periodic", "perhaps"), ("count", "1.5"), ("colour", "red")])
def test_options_that_make_no_sense(picky, tmp_path, option):
    with pytest.raises(PluginTypeError, match=option[0]):
        read_snapshot(tmp_path, reader="picky", options=dict([option]))


def test_kinds_of_masses(path, make_snapshot, tmp_path):
    from dataclasses import replace

    assert read_snapshot(path, label_kind="sink").label_kind == "sink"
    with pytest.raises(ReaderError, match="its masses are of kind 'sink', not 'star'"):
        read_snapshot(path, label_kind="star")
    write_snapshot(replace(make_snapshot(), label_kind=None), tmp_path / "unknown.h5")
    named = read_snapshot(tmp_path / "unknown.h5", label_kind="star")
    assert named.label_kind == "star"
    assert named.stars["mass"].unit == u.solMass


def test_unknown_reader(path):
    with pytest.raises(UnknownPluginError, match="did you mean"):
        read_snapshot(path, reader="hdf")


def test_an_absent_snapshot(tmp_path):
    with pytest.raises(InputNotFoundError, match="absent: no such file"):
        read_snapshot(tmp_path / "absent", reader="yt")


# A third-party reader of text files that begin with a word; `log` collects what it is asked.
ACME = """
from pathlib import Path
import numpy as np
from astropy import units as u
from astropy.wcs import WCS
from stellarfm.contracts import SimulationReader
from stellarfm.maps import GasMaps

log = []


class Words(SimulationReader):
    words = "acme"

    def __init__(self, *, level: float = 1.0, distance: str | None = None) -> None:
        self.level, self.distance = level, distance

    def can_read(self, path):
        log.append(Path(path).name)
        return Path(path).read_bytes().startswith(self.words.encode())

    def read(self, path):
        wcs = WCS(naxis=2)
        wcs.wcs.ctype, wcs.wcs.cdelt = ["RA---TAN", "DEC--TAN"], [-0.003, 0.003]
        ones = np.ones((9, 10))
        return GasMaps(
            column_density=self.level * 1e22 * ones * u.cm**-2,
            velocity=ones * u.km / u.s,
            velocity_dispersion=ones * u.km / u.s,
            wcs=wcs,
            distance=self.distance,
        )


class Greedy(Words):
    def can_read(self, path):
        log.append(Path(path).name)
        return True


class Broken(Words):
    def can_read(self, path):
        raise RuntimeError("a bug")


class Odd(Words):
    def read(self, path):
        return {"maps": 3}
"""


@pytest.fixture
def acme(distribution, tmp_path):
    """Install readers of another distribution; the file that they read."""

    def install(**readers):
        entries = {name.replace("_", "."): f"acme_readers:{kind}" for name, kind in readers.items()}
        distribution("acme", version="1.2", readers=entries, modules={"acme_readers": ACME})
        (tmp_path / "field.acme").write_text("acme maps")
        return tmp_path / "field.acme"

    return install


def test_files_find_their_reader(field, windows):
    assert find_reader(field) == "fits"
    assert find_reader(windows) == "hdf5"


def test_no_reader_recognizes_the_file(tmp_path):
    (tmp_path / "notes.txt").write_text("no")
    with pytest.raises(ReaderError, match=r"notes.txt: no reader recognizes this file \(tried: .*fits, .*hdf5.*\)"):
        find_reader(tmp_path / "notes.txt")
    with pytest.raises(InputNotFoundError):
        find_reader(tmp_path / "absent.fits")


def test_a_broken_reader_is_logged_passed_over_and_named(acme, tmp_path, windows, caplog):
    path = acme(acme_broken="Broken", acme_words="Words")
    assert find_reader(windows) == "hdf5"
    assert "acme.broken" not in caplog.text
    assert find_reader(path) == "acme.words"
    message = r"field.acme: reader 'acme.broken' of acme==1.2 failed and is passed over (RuntimeError: a bug)"
    assert message in caplog.text
    (tmp_path / "notes.txt").write_text("no")
    with pytest.raises(ReaderError, match=r"tried: .*acme.words; failed: acme.broken"):
        find_reader(tmp_path / "notes.txt")


def test_a_reader_that_cannot_be_loaded_is_passed_over(distribution, tmp_path, windows, caplog):
    distribution("acme", readers={"acme.absent": "acme_absent:Reader"})
    (tmp_path / "notes.txt").write_text("no")
    with pytest.raises(ReaderError, match=r"failed: acme.absent"):
        find_reader(tmp_path / "notes.txt")
    assert "cannot be loaded" in caplog.text


def test_two_readers_that_accept_one_file_are_both_named(acme):
    path = acme(acme_words="Words", acme_greedy="Greedy")
    claims = r"'acme.greedy' of acme==1.2 and 'acme.words' of acme==1.2; choose one: reader='acme.greedy'"
    with pytest.raises(ReaderError, match=rf"field.acme: recognized by several readers, {claims}"):
        read_maps(path)
    assert read_maps(path, reader="acme.words").maps.shape == (9, 10)


def test_third_parties_cannot_capture_files_of_core_readers(acme, field, windows):
    path = acme(acme_greedy="Greedy", aaa="Greedy")
    assert find_reader(field) == "fits"
    assert find_reader(windows) == "hdf5"
    sys.modules.pop("acme_readers", None)
    with pytest.raises(ReaderError, match="'aaa' of acme==1.2 and 'acme.greedy'"):
        find_reader(path)


def test_a_second_reader_of_a_core_name_is_an_error(acme, field):
    acme(fits="Greedy")
    with pytest.raises(DuplicatePluginError, match="'fits' is provided by acme==1.2 and stellarfm==.*; uninstall one"):
        read_maps(field)


def test_every_reader_is_queried_at_most_once(acme, field, monkeypatch):
    path = acme(acme_words="Words")
    read_maps(path)
    assert sys.modules["acme_readers"].log == ["field.acme"]
    calls = []
    for reader in (FITSReader, HDF5Reader):
        monkeypatch.setattr(reader, "can_read", counted(reader.can_read, calls))
    read_maps(field)
    assert sorted(calls) == ["FITSReader", "HDF5Reader"]


def counted(method, calls):
    def wrapper(self, path):
        calls.append(type(self).__name__)
        return method(self, path)

    return wrapper


def test_a_third_party_reader_of_maps_gets_its_options(acme):
    path = acme(acme_words="Words")
    found = read_maps(path, options={"level": "2", "distance": "140 pc"})
    assert found.maps.column_density[0, 0] == 2e22 * u.cm**-2
    assert found.maps.distance == 140 * u.pc
    assert found.sources is None
    with pytest.raises(
        PluginTypeError, match=r"reader 'acme.words' has no option 'noise'.*\(options: level, distance\)"
    ):
        read_maps(path, options={"noise": "1 K"})


def test_results_that_are_not_maps(acme, make_snapshot, tmp_path):
    path = acme(acme_odd="Odd")
    with pytest.raises(ReaderError, match="field.acme: the reader returned a dict; expected GasMaps or a MapSet"):
        read_maps(path)
    write_snapshot(make_snapshot(), tmp_path / "snapshot.h5")
    with pytest.raises(ReaderError, match="snapshot.h5: contains a simulation snapshot, not maps; project it first"):
        read_maps(tmp_path / "snapshot.h5")


def test_maps_and_the_sources_stored_with_them(field, windows):
    found = read_maps(field, options={"distance": "140 pc", "column_species": "H2"})
    assert found.maps.distance == 140 * u.pc
    assert found.sources is None
    with fits.open(field, mode="append") as hdus:
        hdus.append(fits.table_to_hdu(QTable({"RAJ2000": [0.01], "DEJ2000": [0.02]})))
        hdus[-1].name = "SOURCES"
    assert read_maps(field).sources.colnames == ["star", "ra", "dec"]
    maps, sources = read_maps(windows)
    assert len(maps) == 3
    assert sources is None
    with pytest.raises(PluginTypeError, match=r"maps.h5: reader 'hdf5' has no option 'distance'.*\(options: none\)"):
        read_maps(windows, options={"distance": "140 pc"})


def test_a_stored_table_without_positions_is_an_error(field):
    with fits.open(field, mode="append") as hdus:
        hdus.append(fits.table_to_hdu(QTable({"x": [0.01]})))
        hdus[-1].name = "STARS"
    with pytest.raises(MapError, match="field.fits: columns x hold no position"):
        read_maps(field)


def test_three_files(field, tmp_path):
    paths = {}
    with fits.open(field) as hdus:
        for role, name in {"column": "COLUMN", "velocity": "VELOCITY", "dispersion": "DISPERSION"}.items():
            paths[role] = tmp_path / f"{role}.fits"
            fits.PrimaryHDU(hdus[name].data, hdus[name].header).writeto(paths[role])
    maps, sources = read_maps(paths, options={"column_species": "X", "abundance": "0.5", "distance": "1 kpc"})
    assert np.allclose(maps.column_density.value, 4e22)
    assert maps.distance == 1000 * u.pc
    assert sources is None
    with pytest.raises(PluginTypeError, match=r"a field in three files has no option 'noise'.*\(options: distance, "):
        read_maps(paths, options={"noise": "1 K"})
    with pytest.raises(ReaderError, match="reader='fits' was given for maps in three files"):
        read_maps(paths, reader="fits")
    with pytest.raises(InputNotFoundError, match="absent.fits: no such file"):
        read_maps(paths | {"velocity": tmp_path / "absent.fits"})


def test_the_public_names_are_loaded_lazily():
    assert set(stellarfm.readers.__all__) <= set(dir(stellarfm.readers))
    for name in stellarfm.readers.__all__:
        assert callable(getattr(stellarfm.readers, name))
    with pytest.raises(AttributeError, match="no attribute 'read_map'"):
        stellarfm.readers.read_map  # noqa: B018
    code = "import sys, stellarfm.readers\nassert not {'astropy', 'numpy', 'h5py', 'yt'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
