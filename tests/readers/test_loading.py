import pytest
from astropy import units as u

from stellarfm import registry
from stellarfm.contracts import SimulationReader
from stellarfm.exceptions import PluginTypeError, ReaderError, UnknownPluginError
from stellarfm.readers.hdf5.writer import write_snapshot
from stellarfm.readers.loading import read_snapshot


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
