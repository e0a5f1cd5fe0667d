import logging
import shutil
import sys
import warnings

import h5py
import numpy as np
import pytest
from astropy import units as u

from stellarfm.exceptions import InputNotFoundError, ReaderError, UnitsError
from stellarfm.maps import MapSet
from stellarfm.readers.common.options import OutputOptions
from stellarfm.readers.loading import find_reader
from stellarfm.readers.simulation_outputs import YTReader, detect_format
from stellarfm.readers.yt.dataset import dataset_gas, dataset_stars, open_dataset
from stellarfm.readers.yt.gas import YTCells
from stellarfm.readers.yt.session import quiet_yt
from stellarfm.simulations import Region

yt = pytest.importorskip("yt", reason='needs yt: pip install "stellarfm[yt]"')


def everything(snapshot):
    return list(snapshot.gas.blocks([Region(snapshot.lower.value, snapshot.upper.value)]))


def joined(blocks, name):
    return np.concatenate([getattr(block, name) for block in blocks])


UNITS = {"length_unit": (4, "pc"), "mass_unit": (1, "g"), "velocity_unit": (1, "km/s")}
UNIT_BOX = np.array([[0.0, 1.0]] * 3)


@pytest.fixture
def mesh(tmp_path):
    """A box of 4 pc of 8^3 cells, its middle refined once, in memory; two stars."""
    rng = np.random.default_rng(3)
    grids = []
    for level, (left, right) in enumerate([(0.0, 1.0), (0.25, 0.75)]):
        grid = {"left_edge": [left] * 3, "right_edge": [right] * 3, "level": level, "dimensions": [8] * 3}
        grid |= {f"velocity_{axis}": (rng.normal(size=(8, 8, 8)), "km/s") for axis in "xyz"}
        grid["density"] = (np.full((8, 8, 8), 2.0 + level), "g/cm**3")
        grid["pressure"] = (np.full((8, 8, 8), 1e10), "g/cm/s**2")
        grids.append(grid)
    grids[0] |= {("star", f"particle_position_{axis}"): np.array([0.1, 0.2]) for axis in "xyz"}
    grids[0]["star", "particle_mass"] = np.array([2e33, 4e33])
    with quiet_yt(tmp_path):
        dataset = yt.load_amr_grids(grids, [8] * 3, bbox=UNIT_BOX, **UNITS)
        dataset.index  # noqa: B018
    return dataset


def test_leaf_cells_come_once(mesh, tmp_path):
    gas = dataset_gas(mesh, path=tmp_path, sound_speed=None)
    blocks = list(gas.blocks([Region(np.zeros(3), np.full(3, 4.0))]))
    assert gas.kind == "cells"
    assert len(joined(blocks, "mass")) == 512 - 64 + 512
    assert np.isclose((joined(blocks, "size") ** 3).sum(), 64)
    density = np.where(joined(blocks, "size") > 0.3, 2, 3) * (u.g / u.cm**3).to(u.solMass / u.pc**3)
    np.testing.assert_allclose(joined(blocks, "mass"), density * joined(blocks, "size") ** 3)
    np.testing.assert_allclose(
        joined(blocks, "thermal"), np.sqrt(1e10 / np.where(joined(blocks, "size") > 0.3, 2, 3)) / 1e5
    )


@pytest.mark.parametrize("corner", [0.0, 0.7, 3.4])
def test_cells_of_a_region_are_all_that_overlap_it(mesh, tmp_path, corner):
    gas = dataset_gas(mesh, path=tmp_path, sound_speed=None)
    region = Region(np.full(3, corner), np.full(3, corner + 0.5))
    whole, part = list(gas.blocks([Region(np.zeros(3), np.full(3, 4.0))])), list(gas.blocks([region]))
    position, half = joined(whole, "position"), joined(whole, "size")[:, None] / 2
    overlapping = np.all((position + half > region.lower) & (position - half < region.upper), axis=1)
    found = {tuple(p) for p in joined(part, "position").round(6)}
    assert {tuple(p) for p in position[overlapping].round(6)} <= found
    assert len(found) == len(joined(part, "position")) < len(position) / 2


def test_chunks_of_large_grids_are_small(mesh, tmp_path, monkeypatch):
    monkeypatch.setattr("stellarfm.readers.yt.gas.BLOCK_SIZE", 600)
    gas = dataset_gas(mesh, path=tmp_path, sound_speed=None)
    read = []
    block = YTCells._block
    monkeypatch.setattr(YTCells, "_block", lambda *args: read.append(block(*args)) or read[-1])
    assert sum(len(b) for b in gas.blocks([Region(np.zeros(3), np.full(3, 4.0))])) == 960
    assert sorted(len(b) for b in read) == [448, 512]  # a grid each, though yt would take a thousand at once


def test_stars_of_a_known_type_are_found(mesh, tmp_path):
    stars, kind = dataset_stars(mesh, path=tmp_path, options=OutputOptions())
    np.testing.assert_allclose(stars["mass"].value, ([2e33, 4e33] * u.g).to_value(u.solMass))
    np.testing.assert_allclose(stars["y"].value, [0.4, 0.8])
    assert kind is None
    assert dataset_stars(mesh, path=tmp_path, options=OutputOptions(label_kind="star"))[1] == "star"
    with pytest.raises(ReaderError, match=r"no particles 'sink' with masses; expected one of .*star"):
        dataset_stars(mesh, path=tmp_path, options=OutputOptions(particle_type="sink"))


def test_enzo_keeps_stars_with_dark_matter(tmp_path):
    data = {f"particle_position_{axis}": np.array([0.1, 0.5, 0.9]) for axis in "xyz"}
    data |= {"particle_mass": np.array([1e33, 2e33, 4e33]), "particle_type": np.array([1.0, 2.0, 5.0])}
    data |= {"particle_index": np.array([11.0, 12.0, 13.0])}
    with quiet_yt(tmp_path):
        dataset = yt.load_particles(data, bbox=UNIT_BOX, **UNITS)
        dataset.index  # noqa: B018
    assert len(dataset_stars(dataset, path=tmp_path, options=OutputOptions())[0]) == 0
    assert len(dataset_stars(dataset, path=tmp_path, options=OutputOptions(particle_type="io"))[0]) == 3
    dataset.dataset_type = "enzo_packed_3d"
    stars, kind = dataset_stars(dataset, path=tmp_path, options=OutputOptions())
    assert stars["star"].tolist() == [12, 13]
    np.testing.assert_allclose(stars["mass"].value, ([2e33, 4e33] * u.g).to_value(u.solMass))
    assert kind is None


def test_particles_that_share_a_number_are_one_star(tmp_path, caplog):
    data = {("sink", f"particle_position_{axis}"): np.array([0.1, 0.5, 0.9]) for axis in "xyz"}
    data |= {("sink", "particle_mass"): np.array([1e33, 2e33, 4e33])}
    numbered = data | {("sink", "particle_index"): np.array([12.0, 11.0, 12.0])}
    for columns, expected in ((numbered, [12, 11, 12]), (data, [0, 1, 2])):
        with quiet_yt(tmp_path):
            dataset = yt.load_particles(columns, bbox=UNIT_BOX, **UNITS)
            dataset.index  # noqa: B018
        assert dataset_stars(dataset, path=tmp_path, options=OutputOptions())[0]["star"].tolist() == expected
    assert "particles 'sink' have no numbers and cannot be followed" in caplog.text


def test_particles_with_smoothing_lengths(tmp_path):
    rng = np.random.default_rng(4)
    data = {("io", f"particle_position_{axis}"): rng.uniform(0, 1, 5000) for axis in "xyz"}
    data |= {("io", f"particle_velocity_{axis}"): (np.full(5000, 2.0), "km/s") for axis in "xyz"}
    data |= {("io", name): np.full(5000, value) for name, value in {"particle_mass": 1e33, "density": 1.0}.items()}
    data["io", "smoothing_length"] = np.full(5000, 0.05)
    with quiet_yt(tmp_path):
        dataset = yt.load_particles(data, bbox=UNIT_BOX, **UNITS)
        dataset.index  # noqa: B018
    gas = dataset_gas(dataset, path=tmp_path, sound_speed=0.2)
    blocks = list(gas.blocks([Region(np.zeros(3), np.full(3, 4.0))]))
    assert gas.kind == "particles"
    np.testing.assert_allclose(joined(blocks, "mass").sum(), (5000 * 1e33 * u.g).to_value(u.solMass))
    np.testing.assert_allclose(joined(blocks, "size"), 0.2)
    np.testing.assert_allclose(joined(blocks, "velocity"), 2)
    assert set(joined(blocks, "thermal")) == {0.2}
    corner = joined(list(gas.blocks([Region(np.zeros(3), np.full(3, 0.1))])), "position")
    assert np.any(corner.max(axis=1) > 3.8)  # across the periodic border
    assert len(corner) < 200
    stars, _ = dataset_stars(dataset, path=tmp_path, options=OutputOptions())
    assert len(stars) == 0


@pytest.fixture
def athena(tmp_path):
    """An Athena++ output of eight blocks of 4^3 cells: density 1 ... 8 by block, no units, as Athena++ does."""
    places = np.array(list(np.ndindex(2, 2, 2)))
    faces = places[:, :, None] * 0.5 + np.linspace(0, 0.5, 5)
    variables = np.ones((5, 8, 4, 4, 4), np.float32) * np.arange(1, 9)[:, None, None, None]
    with h5py.File(tmp_path / "cloud.out1.00012.athdf", "w") as file:
        file["prim"] = variables
        file["Levels"], file["LogicalLocations"] = np.zeros(8, np.int32), places
        for i in range(3):
            file[f"x{i + 1}f"], file[f"x{i + 1}v"] = faces[:, i], (faces[:, i, 1:] + faces[:, i, :-1]) / 2
            file.attrs[f"RootGridX{i + 1}"] = [0.0, 1.0, 1.0]
        file.attrs.update({"RootGridSize": [8, 8, 8], "MeshBlockSize": [4, 4, 4], "NumMeshBlocks": 8, "MaxLevel": 0})
        file.attrs.update({"Coordinates": np.bytes_("cartesian"), "Time": 2.0, "NumCycles": 5})
        file.attrs.update({"DatasetNames": np.array([b"prim"]), "NumVariables": [5]})
        file.attrs["VariableNames"] = np.array([b"rho", b"press", b"vel1", b"vel2", b"vel3"])
    return tmp_path / "cloud.out1.00012.athdf"


def test_codes_without_units_are_refused_until_they_are_given(athena):
    assert YTReader().can_read(athena)
    with pytest.raises(ReaderError, match=r"athdf: a box of .* pc: the file states no units.*give unit_length"):
        YTReader().read(athena)
    with pytest.raises(ReaderError, match="unit_mass is missing; give all of"):
        YTReader(unit_length="1 pc", unit_velocity="1 km/s").read(athena)
    units = {"unit_length": "4 pc", "unit_mass": "64 Msun", "unit_velocity": "2 km/s"}
    snapshot = YTReader(**units, periodic=False, simulation="blob").read(athena)
    np.testing.assert_allclose(snapshot.upper.value, 4)
    np.testing.assert_allclose(snapshot.time.value, (2 * 4 * u.pc / (2 * u.km / u.s)).to_value(u.Myr))
    blocks = everything(snapshot)
    np.testing.assert_allclose(joined(blocks, "mass").sum(), 64 * np.mean(np.arange(1, 9)), rtol=1e-5)
    np.testing.assert_allclose(joined(blocks, "size"), 0.5)
    assert joined(blocks, "velocity").max() == pytest.approx(16)
    np.testing.assert_allclose(joined(blocks, "thermal"), 2, rtol=1e-6)
    assert (snapshot.snapshot, snapshot.simulation, snapshot.periodic) == (12, "blob", (False, False, False))
    assert snapshot.provenance["code"] == "AthenaPP"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"label_kind": "mass"}, "label_kind 'mass'; expected 'sink' or 'star'"),
        ({"gamma": 1.0}, "gamma 1.0; expected an adiabatic index above 1"),
        ({"unit_length": "1"}, "unit_length '1'; expected a quantity such as '1 pc'"),
        ({"unit_mass": "1 pc"}, "unit_mass '1 pc'; expected"),
        ({"sound_speed": "-1 km/s"}, "sound_speed '-1 km/s'; expected one positive quantity"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises((ReaderError, UnitsError), match=message):
        YTReader(**options)


def test_without_yt_the_error_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "yt", None)
    (tmp_path / "plt_0001").write_text("something")
    with pytest.raises(ReaderError, match=r'plt_0001: reading it needs yt .*pip install "stellarfm\[yt\]"'):
        YTReader().read(tmp_path / "plt_0001")


def test_files_of_ours_are_not_asked_of_yt(tmp_path, cloud, outputs, monkeypatch):
    monkeypatch.setitem(sys.modules, "yt", None)
    cloud().write(tmp_path / "maps.h5")
    outputs.write_starforge(tmp_path / "snapshot_001.hdf5")
    outputs.write_ramses(tmp_path / "output_00007")
    assert {path.name: detect_format(path) for path in tmp_path.iterdir()} == {
        "maps.h5": None,
        "snapshot_001.hdf5": "gadget",
        "output_00007": "ramses",
    }
    assert find_reader(tmp_path / "maps.h5") == "hdf5"
    assert find_reader(tmp_path / "snapshot_001.hdf5") == "yt"
    assert find_reader(tmp_path / "output_00007") == "yt"
    assert not YTReader().can_read(tmp_path / "absent")


def test_truncated_files_are_refused(tmp_path, outputs):
    path = outputs.write_starforge(tmp_path / "snapshot_001.hdf5")
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(ReaderError, match=r"snapshot_001.hdf5: a truncated HDF5 file"):
        YTReader().read(path)
    with pytest.raises(InputNotFoundError):
        YTReader().read(tmp_path / "absent")


def test_yt_is_quiet_and_then_as_it_was(tmp_path, caplog, capfd):
    handlers, level = list(logging.getLogger("yt").handlers), logging.getLogger("yt").level
    caplog.set_level("DEBUG", logger="stellarfm")
    message = r"snap: yt cannot read it \(ValueError: deep inside\)"
    with pytest.raises(ReaderError, match=message), quiet_yt(tmp_path / "snap"):
        logging.getLogger("yt").error("all is lost")
        raise ValueError("deep\ninside")
    with quiet_yt(tmp_path / "snap"):
        warnings.warn("units are odd", stacklevel=1)
    assert logging.getLogger("yt").handlers == handlers
    assert logging.getLogger("yt").level == level
    assert {record.levelname for record in caplog.records} == {"DEBUG"}
    assert "yt: all is lost" in caplog.text
    assert "yt: units are odd" in caplog.text
    assert capfd.readouterr() == ("", "")


@pytest.fixture(scope="module")
def ramses(shared_data):
    return YTReader().read(shared_data / "ramses/output_00007")


@pytest.fixture
def broken(shared_data, tmp_path):
    """A copy of the RAMSES output that may be broken."""
    folder = tmp_path / "output_00007"
    folder.mkdir()
    for file in (shared_data / "ramses/output_00007").iterdir():
        shutil.copyfile(file, folder / file.name)
    return folder


@pytest.mark.shared_data
def test_ramses_sinks_are_those_of_the_windows(ramses, shared_data):
    windows = MapSet.read(shared_data / "ramses/windows.h5").stars
    first = windows[np.asarray(windows["axis"]) == 0]
    assert ramses.stars["star"].tolist() == first["star"].tolist()
    for name in ("mass", "x", "y", "z", "vx", "vy", "vz"):
        # windows.h5 was made with yt's solar mass and tropical years, 3e-6 and 3e-5 from ours
        np.testing.assert_allclose(ramses.stars[name].value, first[name].value, rtol=1e-4, err_msg=name)
    np.testing.assert_allclose(ramses.stars["age"].value, (first["time"] - first["formation_time"]).value, rtol=1e-3)
    assert ramses.label_kind == "sink"
    assert ramses.snapshot == 7
    assert np.isclose(ramses.time.value, 0.6008, rtol=1e-4)


@pytest.mark.shared_data
def test_ramses_gas_is_that_of_the_namelist(ramses):
    blocks = everything(ramses)
    assert np.isclose(joined(blocks, "mass").sum(), 3000, rtol=1e-3)
    volume = np.prod(ramses.extent.value)
    assert np.isclose((joined(blocks, "size") ** 3).sum(), volume, rtol=1e-9)
    sound = np.sqrt(0.0078223 / 0.21086) * 3.0857e18 / 3.1556926e13 / 1e5 / 1.0  # p_region / d_region, code units
    assert np.ptp(joined(blocks, "thermal")) < 1e-6
    assert np.isclose(joined(blocks, "thermal")[0], sound, rtol=5e-3)
    assert sorted(set(np.round(ramses.extent.value[0] / joined(blocks, "size")).astype(int))) == [32, 64, 128, 256]


@pytest.mark.shared_data
def test_ramses_regions_hold_what_overlaps_them(ramses):
    whole = everything(ramses)
    position, half = joined(whole, "position"), joined(whole, "size")[:, None] / 2
    centre = np.array([ramses.stars[axis][1].value for axis in "xyz"])
    region = Region(centre - 0.25, centre + 0.25)
    part = joined(list(ramses.gas.blocks([region])), "position")
    overlapping = np.all((position + half > region.lower) & (position - half < region.upper), axis=1)
    found = {tuple(p) for p in part}
    assert len(found) == len(part)
    assert {tuple(p) for p in position[overlapping]} <= found
    assert len(part) < len(position) / 4


@pytest.mark.shared_data
@pytest.mark.parametrize("name", ["hydro_00007.out00002", "amr_00007.out00002"])
def test_ramses_outputs_that_break_off_are_refused(broken, name):
    path = broken / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ReaderError, match=r"output_00007.*: yt cannot read it"):
        everything(YTReader().read(broken))


@pytest.mark.shared_data
def test_ramses_outputs_with_missing_files_are_refused(broken):
    (broken / "hydro_00007.out00002").unlink()
    with pytest.raises(ReaderError, match=r"Could not find field file"):
        everything(YTReader().read(broken))
    (broken / "amr_00007.out00001").unlink()
    with pytest.raises(ReaderError, match="recognizes no code that writes such files, or some of the files are"):
        YTReader().read(broken)


@pytest.mark.shared_data
def test_ramses_outputs_without_a_list_of_sinks_have_gas(broken, caplog):
    caplog.set_level("INFO", logger="stellarfm")
    for name in ("sink_00007.csv", "hydro_file_descriptor.txt"):
        (broken / name).unlink()
    snapshot = YTReader().read(broken)
    assert (len(snapshot.stars), snapshot.label_kind) == (0, None)
    assert np.isclose(joined(everything(snapshot), "mass").sum(), 3000, rtol=1e-3)
    assert "no list of sinks" in caplog.text
    assert "yt guesses the order of the gas variables" in caplog.text


@pytest.mark.shared_data
def test_ramses_refuses_what_it_cannot_know(shared_data):
    folder = shared_data / "ramses/output_00007"
    with pytest.raises(ReaderError, match="RAMSES sinks hold all that was accreted"):
        YTReader(label_kind="star").read(folder)
    with pytest.raises(ReaderError, match="its info file states the units"):
        YTReader(unit_length="1 pc").read(folder)
    with pytest.raises(ReaderError, match="one file of a RAMSES output; give its directory"):
        YTReader().read(folder / "amr_00007.out00001")


@pytest.mark.shared_data
def test_enzo_is_in_physical_parsec_and_has_no_stars(shared_data, caplog):
    caplog.set_level("INFO", logger="stellarfm")
    snapshot = YTReader().read(shared_data / "snapshots/enzo/DD0010/moving7_0010")
    assert "no stars in this output" in caplog.text
    assert (snapshot.label_kind, len(snapshot.stars), snapshot.snapshot) == (None, 0, 10)
    blocks = everything(snapshot)
    side = snapshot.extent.value[0]
    assert np.isclose((joined(blocks, "size") ** 3).sum(), side**3)
    assert len(set(joined(blocks, "size").round(3))) == 8
    dataset = open_dataset(shared_data / "snapshots/enzo/DD0010/moving7_0010", {})
    parameters = dataset.parameters
    comoving = parameters["CosmologyComovingBoxSize"] / parameters["CosmologyHubbleConstantNow"] * 1e6
    assert np.isclose(side, comoving / (1 + parameters["CosmologyCurrentRedshift"]), rtol=1e-6)
    density = joined(blocks, "mass").sum() * u.solMass / (side * u.pc) ** 3
    critical = 1.878e-29 * parameters["CosmologyHubbleConstantNow"] ** 2 * u.g / u.cm**3
    baryons = density / (critical * (1 + parameters["CosmologyCurrentRedshift"]) ** 3)
    assert 0.02 < baryons.to_value(u.one) < parameters["CosmologyOmegaMatterNow"]


@pytest.mark.shared_data
@pytest.mark.parametrize("name", ["README.md", "ramses", "snapshots/enzo/DD0010", "clouds/cloud-a.h5"])
def test_foreign_paths_are_refused(shared_data, name):
    assert not YTReader().can_read(shared_data / name)
    with pytest.raises(ReaderError, match="recognizes no code that writes such files"):
        YTReader().read(shared_data / name)
