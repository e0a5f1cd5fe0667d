import h5py
import numpy as np
import pytest
from astropy import units as u

from stellarfm import registry
from stellarfm.exceptions import InputNotFoundError, OutputExistsError, ReaderError, SnapshotError, UnitsError
from stellarfm.readers.hdf5 import gas as exchange_gas
from stellarfm.readers.hdf5 import read_exchange, write_snapshot
from stellarfm.readers.hdf5 import writer as exchange_writer
from stellarfm.readers.loading import find_reader
from stellarfm.simulations import GasSource, Region, Snapshot, project

BOX = Region(np.zeros(3), np.ones(3))


@pytest.fixture
def small_chunks(monkeypatch):
    """Chunks of 64 elements, blocks of 256: as if the snapshot were large."""
    for module in (exchange_gas, exchange_writer):
        monkeypatch.setattr(module, "CHUNK_SIZE", 64)
    monkeypatch.setattr(exchange_gas, "BLOCK_SIZE", 256)


@pytest.fixture
def written(make_snapshot, tmp_path):
    write_snapshot(make_snapshot(), tmp_path / "snapshot.h5")
    return tmp_path / "snapshot.h5"


@pytest.fixture
def by_hand(tmp_path):
    """What the user guide tells users of another code to write, in units of their own, without a table of chunks."""
    path, rng = tmp_path / "by_hand.h5", np.random.default_rng(1)
    with h5py.File(path, "w") as file:
        file.attrs.update(
            schema="stellarfm-snapshot",
            schema_version=1,
            simulation="sfumato-1",
            lower=[-0.5, -0.5, -0.5],
            lower_unit="pc",
            upper=[0.5, 0.5, 0.5],
            upper_unit="pc",
            periodic=[True, True, False],
            label_kind="sink",
        )
        gas = file.create_group("gas")
        gas.attrs["kind"] = "cells"
        columns = {
            "position": (rng.uniform(-1e5, 1e5, (500, 3)).astype("f4"), "AU"),
            "size": (np.full(500, 0.01), "pc"),
            "density": (np.full(500, 1e-18), "g cm-3"),
            "velocity": (rng.normal(0, 1e5, (500, 3)), "cm s-1"),
        }
        for name, (values, unit) in columns.items():
            gas.create_dataset(name, data=values).attrs["unit"] = unit
        stars = file.create_group("stars")
        stars["star"] = [3, 4]
        for name in "xyz":
            stars.create_dataset(name, data=[0.0, 1e4]).attrs["unit"] = "AU"
        stars.create_dataset("mass", data=[1e33, 2e33]).attrs["unit"] = "g"
    return path


def everything(gas, regions=(BOX,)):
    """All columns of all blocks, elements sorted by position."""
    blocks = list(gas.blocks(list(regions)))
    columns = [np.concatenate([np.reshape(getattr(b, n), (len(b), -1)) for b in blocks]) for n in COLUMNS]
    table = np.hstack(columns)
    return table[np.lexsort(table.T[::-1])]


COLUMNS = ("position", "size", "mass", "velocity", "thermal")


def test_what_is_written_is_read(make_snapshot, written):
    before, after = make_snapshot(), read_exchange(written)
    assert np.array_equal(everything(after.gas), everything(before.gas))
    for name in ("simulation", "snapshot", "time", "label_kind", "mass_per_hydrogen", "periodic"):
        assert getattr(after, name) == getattr(before, name)
    assert set(after.stars.colnames) == set(before.stars.colnames)
    assert all(np.all(after.stars[name] == before.stars[name]) for name in before.stars.colnames)
    assert after.provenance["code"] == "made in a test"
    assert "sha256 snapshot.h5" in after.provenance
    assert find_reader(written) == "hdf5"
    assert isinstance(registry.create("readers", "hdf5").read(written), Snapshot)


@pytest.mark.parametrize("kind", ["cells", "particles"])
def test_projection_is_that_of_memory(make_snapshot, tmp_path, small_chunks, kind):
    snapshot = make_snapshot(kind=kind)
    write_snapshot(snapshot, tmp_path / "snapshot.h5")
    one, other = (project(s, width="0.3 pc", pixels=8) for s in (snapshot, read_exchange(tmp_path / "snapshot.h5")))
    for name in ("column_density", "velocity", "velocity_dispersion"):
        assert u.allclose(getattr(one, name), getattr(other, name), rtol=1e-5)


def test_only_chunks_near_the_regions_are_read(make_snapshot, tmp_path, small_chunks):
    write_snapshot(make_snapshot(), tmp_path / "snapshot.h5")
    gas = read_exchange(tmp_path / "snapshot.h5").gas
    corner = Region(np.zeros(3), np.full(3, 0.2))
    blocks = list(gas.blocks([corner, corner]))
    read = np.concatenate([block.position for block in blocks])
    assert len(np.unique(read, axis=0)) == len(read) < len(gas) / 4
    inside = np.all(everything(gas)[:, :3] < 0.2 + 0.5 / 12, axis=1)
    assert {tuple(p) for p in everything(gas)[inside][:, :3]} <= {tuple(p) for p in read}
    assert max(map(len, blocks)) <= 256
    assert list(gas.blocks([])) == []


def test_a_particle_across_a_periodic_border_is_found(make_snapshot, tmp_path, small_chunks):
    write_snapshot(make_snapshot(kind="particles"), tmp_path / "snapshot.h5")
    gas = read_exchange(tmp_path / "snapshot.h5").gas
    thin = Region(np.zeros(3), np.array([0.01, 1, 1]))
    read = np.concatenate([block.position for block in gas.blocks([thin])])
    assert (read[:, 0] > 0.9).sum() >= 144


def test_blocks_of_any_source_are_written(make_snapshot, tmp_path, small_chunks):
    class Halves(GasSource):
        kind = "cells"

        def blocks(self, regions):
            gas = make_snapshot().gas.gas
            yield gas[: len(gas) // 2]
            yield gas[len(gas) // 2 :]

    from dataclasses import replace

    write_snapshot(replace(make_snapshot(), gas=Halves()), tmp_path / "halves.h5")
    again = read_exchange(tmp_path / "halves.h5").gas
    assert np.array_equal(everything(again), everything(make_snapshot().gas))


def test_a_file_of_h5py_alone(by_hand, small_chunks):
    snapshot = read_exchange(by_hand)
    assert snapshot.simulation == "sfumato-1"
    assert snapshot.snapshot == "by_hand"
    assert snapshot.periodic == (True, True, False)
    assert np.isnan(snapshot.time)
    assert u.allclose(snapshot.stars["mass"], [1e33, 2e33] * u.g)
    blocks = list(snapshot.gas.blocks([Region(np.full(3, -0.5), np.full(3, 0.5))]))
    mass = (1e-18 * u.g / u.cm**3 * (0.01 * u.pc) ** 3).to_value(u.solMass)
    assert np.isclose(sum(block.mass.sum() for block in blocks), 500 * mass)
    assert np.isclose(np.concatenate([block.velocity for block in blocks]).std(), 1, rtol=0.1)
    corner = Region(np.full(3, -0.5), np.full(3, -0.4))
    assert sum(map(len, snapshot.gas.blocks([corner]))) <= 500


def spoil(path, change):
    with h5py.File(path, "a") as file:
        change(file)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda f: f.attrs.__delitem__("simulation"), ReaderError, "'simulation' is missing"),
        (lambda f: f.attrs.__delitem__("periodic"), ReaderError, "'periodic' is missing"),
        (lambda f: f.attrs.__delitem__("lower"), ReaderError, "'lower' is missing"),
        (lambda f: f.attrs.__delitem__("upper_unit"), UnitsError, "'upper' has no unit"),
        (lambda f: f.attrs.__setitem__("lower_unit", "km/s"), UnitsError, "'lower' is in km / s"),
        (lambda f: f.attrs.__setitem__("schema_version", 2), ReaderError, "update stellarfm"),
        (lambda f: f.attrs.__setitem__("label_kind", "planet"), ReaderError, "label kind 'planet'"),
        (lambda f: f["gas"].attrs.__setitem__("kind", "fog"), ReaderError, "'fog'; expected 'cells' or 'particles'"),
        (lambda f: f["gas"].__delitem__("velocity"), ReaderError, "no dataset velocity"),
        (lambda f: f["gas"].__delitem__("density"), ReaderError, "no dataset density; .* mass or density"),
        (lambda f: f["gas/density"].attrs.__delitem__("unit"), UnitsError, "gas/density.* has no unit"),
        (lambda f: f["gas/density"].attrs.__setitem__("unit", "cm-3"), UnitsError, "'cm-3'; expected something like"),
        (lambda f: f["gas/size"].attrs.__setitem__("unit", "parsnip"), UnitsError, "'parsnip' is not a unit"),
        (lambda f: f["gas"].move("size", "s") or f["gas"].create_dataset("size", data=[1.0]), ReaderError, "gas/size"),
        (lambda f: f["stars/mass"].attrs.__delitem__("unit"), UnitsError, "'mass' of the stars has no unit"),
        (lambda f: f["stars"].__delitem__("x"), ReaderError, "no column x"),
        (lambda f: [f.__delitem__(name) for name in ("gas", "stars")], ReaderError, "neither gas nor stars"),
    ],
)
def test_what_is_missing_or_wrong_is_named(by_hand, change, error, message):
    spoil(by_hand, change)
    with pytest.raises(error, match=message) as caught:
        read_exchange(by_hand)
    assert "by_hand.h5" in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f["gas/size"].__setitem__(3, -1), "1 of 500 gas elements have no size"),
        (lambda f: f["gas/velocity"].__setitem__((3, 0), np.nan), "velocity of the gas is not finite"),
        (lambda f: f["gas/position"].__setitem__((3, 0), 2e5), "gas element 3 at .* outside the box"),
        (lambda f: f["gas"].create_group("chunks"), "gas/chunks' lacks a dataset"),
    ],
)
def test_nonsense_in_the_gas_is_found_when_it_is_read(by_hand, change, message):
    spoil(by_hand, change)
    gas = read_exchange(by_hand).gas
    with pytest.raises(ReaderError, match=message) as caught:
        list(gas.blocks([Region(np.full(3, -0.5), np.full(3, 0.5))]))
    assert "by_hand.h5" in str(caught.value)


def test_a_table_of_chunks_that_misses_rows_is_refused(written):
    spoil(written, lambda file: file["gas/chunks/first"].__setitem__(-1, 5))
    with pytest.raises(ReaderError, match="does not divide 1728 rows"):
        list(read_exchange(written).gas.blocks([BOX]))


def test_without_gas_and_without_stars(make_snapshot, tmp_path):
    from dataclasses import replace

    bare = replace(make_snapshot(), gas=None)
    write_snapshot(bare, tmp_path / "stars.h5")
    assert read_exchange(tmp_path / "stars.h5").gas is None
    empty = replace(make_snapshot(), stars=Snapshot.no_stars.copy(), label_kind=None)
    write_snapshot(empty, tmp_path / "gas.h5")
    assert len(read_exchange(tmp_path / "gas.h5").stars) == 0


def test_nothing_is_overwritten_or_nameless(make_snapshot, written):
    with pytest.raises(OutputExistsError):
        write_snapshot(make_snapshot(), written)
    with pytest.raises(SnapshotError, match="no name"):
        write_snapshot(make_snapshot(simulation=""), written, overwrite=True)
    assert len(read_exchange(written).stars) == 2


def test_absent_and_foreign(tmp_path, written):
    with pytest.raises(InputNotFoundError):
        read_exchange(tmp_path / "absent.h5")
    spoil(written, lambda file: file.attrs.__setitem__("schema", "another"))
    with pytest.raises(ReaderError, match="schema is 'another'"):
        read_exchange(written)


def test_the_order_of_elements_refines_octants():
    points = np.random.default_rng(0).uniform(size=(4096, 3))
    order = exchange_writer._morton_order(points, BOX)
    assert np.array_equal(np.sort(order), np.arange(4096))
    for cells in (2, 4, 8):  # at every level, each cell is one run of elements
        cell = np.ravel_multi_index(np.floor(points[order] * cells).astype(int).T, (cells,) * 3)
        assert np.count_nonzero(np.diff(cell)) == cells**3 - 1


def test_elements_on_and_beyond_the_faces_are_sorted_too():
    points = np.array([[5.0, 0.5, 7.0], [0.0, 0.0, 0.0], [1.0, 1.0, 1.0], [-5.0, 0.1, 0.1]])
    assert exchange_writer._morton_order(points, BOX).tolist() == [1, 3, 0, 2]
