import json
import os
import sys
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor

import h5py
import numpy as np
import pytest
from astropy import units as u
from astropy.table import QTable

from stellarfm.batch import ProjectionSettings, project_snapshots
from stellarfm.batch import project_snapshot as task
from stellarfm.exceptions import InputNotFoundError, OutputExistsError, ReaderError, SnapshotError, UnitsError
from stellarfm.maps import MapSet
from stellarfm.readers.hdf5.writer import write_snapshot
from stellarfm.simulations import Snapshot

#: The module: in the package, its name is that of the function.
projecting = sys.modules["stellarfm.batch.project_snapshots"]
SMALL = ProjectionSettings(width="0.4 pc", pixels=8)


@pytest.fixture
def snapshots(make_snapshot, tmp_path):
    """Three snapshots of one run, the first before there were any stars."""
    from dataclasses import replace

    paths = [tmp_path / f"run_{number}.h5" for number in range(3)]
    for number, path in enumerate(paths):
        snapshot = make_snapshot(number=number, seed=number)
        if number == 0:
            snapshot = replace(snapshot, stars=Snapshot.no_stars.copy())
        write_snapshot(snapshot, path)
    return paths


@pytest.fixture
def counted(monkeypatch):
    """Names of the snapshots that are projected, as they are."""
    names = []

    def count(path, *args):
        names.append(path.name)
        return task.project_file(path, *args)

    monkeypatch.setattr(projecting, "project_file", count)
    return names


def test_windows_come_in_the_order_of_the_snapshots(snapshots, tmp_path):
    done = []
    maps = project_snapshots(
        snapshots[::-1], output=tmp_path / "maps.h5", settings=SMALL, progress=done.append, command="stellarfm project"
    )
    assert list(maps.stars["snapshot"]) == 6 * [2] + 6 * [1]
    assert list(maps.stars["source"]) == 6 * ["run_2.h5"] + 6 * ["run_1.h5"]
    assert sorted(set(maps.groups)) == ["run/1", "run/2"]
    assert done == snapshots[::-1]
    written = MapSet.read(tmp_path / "maps.h5")
    assert np.array_equal(written.column_density, maps.column_density)
    for word in ("command: stellarfm project", '"width": "0.4 pc"', "sha256 run_1.h5", "code: made in a test"):
        assert word in written.provenance
    assert not (tmp_path / "maps.h5.parts").exists()


def test_any_executor_gives_the_same(snapshots, tmp_path):
    alone = project_snapshots(snapshots, output=tmp_path / "alone.h5", settings=SMALL)
    with ThreadPoolExecutor(3) as executor:
        pool = project_snapshots(snapshots, output=tmp_path / "pool.h5", settings=SMALL, executor=executor, threads=1)
    for name in ("column_density", "velocity", "velocity_dispersion"):
        assert np.array_equal(getattr(alone, name), getattr(pool, name), equal_nan=True)


def test_a_local_dask_cluster_gives_the_same(snapshots, tmp_path):
    distributed = pytest.importorskip("distributed", reason="dask.distributed is not installed (stellarfm[dask])")
    alone = project_snapshots(snapshots, output=tmp_path / "alone.h5", settings=SMALL)
    cluster = {"n_workers": 2, "threads_per_worker": 1, "processes": False, "dashboard_address": None}
    with distributed.Client(**cluster) as client, client.get_executor() as executor:
        dask = project_snapshots(snapshots, output=tmp_path / "dask.h5", settings=SMALL, executor=executor, threads=1)
    assert np.array_equal(alone.column_density, dask.column_density)
    assert list(alone.stars["snapshot"]) == list(dask.stars["snapshot"])


def test_a_killed_run_is_resumed_snapshot_by_snapshot(snapshots, tmp_path, counted):
    output = tmp_path / "maps.h5"

    def kill(path):
        if path == snapshots[1]:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        project_snapshots(snapshots, output=output, settings=SMALL, progress=kill)
    assert counted == ["run_0.h5", "run_1.h5"]
    assert not output.exists()
    with pytest.raises(
        OutputExistsError, match=r"maps.h5.parts contains an unfinished run; continue it with resume=True"
    ):
        project_snapshots(snapshots, output=output, settings=SMALL)
    counted.clear()
    done = []
    maps = project_snapshots(snapshots, output=output, settings=SMALL, resume=True, progress=done.append)
    assert counted == ["run_2.h5"]
    assert sorted(done) == snapshots
    whole = project_snapshots(snapshots, output=tmp_path / "whole.h5", settings=SMALL)
    assert np.array_equal(maps.column_density, whole.column_density)
    with pytest.raises(OutputExistsError, match=r"maps.h5 exists"):
        project_snapshots(snapshots, output=output, settings=SMALL, resume=True)


@pytest.fixture
def unfinished(snapshots, tmp_path, make_snapshot):
    """A run that stopped at a broken third snapshot."""
    content = snapshots[2].read_bytes()
    snapshots[2].write_bytes(content[: len(content) // 2])
    with pytest.raises(
        ReaderError, match=r"1 of 3 snapshots failed.*run_2.h5: begins like HDF5 but breaks off.*resume=True"
    ):
        project_snapshots(snapshots, output=tmp_path / "maps.h5", settings=SMALL)
    return snapshots


def test_other_settings_are_not_mixed_in(unfinished, tmp_path, monkeypatch):
    with pytest.raises(SnapshotError, match=r"other settings \(pixels was 8, now 16\)"):
        project_snapshots(
            unfinished,
            output=tmp_path / "maps.h5",
            settings=ProjectionSettings(width="0.4 pc", pixels=16),
            resume=True,
        )
    (tmp_path / "maps.h5.parts" / "settings.json").write_text("{")
    with pytest.raises(SnapshotError, match="its settings cannot be read"):
        project_snapshots(unfinished, output=tmp_path / "maps.h5", settings=SMALL, resume=True)
    maps = project_snapshots(unfinished[:2], output=tmp_path / "maps.h5", settings=SMALL, overwrite=True)
    assert len(maps) == 6


def test_fixed_snapshot_is_resumed(unfinished, tmp_path, make_snapshot, counted):
    write_snapshot(make_snapshot(number=2, seed=2), unfinished[2], overwrite=True)
    maps = project_snapshots(unfinished, output=tmp_path / "maps.h5", settings=SMALL, resume=True)
    assert counted == ["run_2.h5"]
    assert len(maps) == 12


def test_a_snapshot_that_changed_is_projected_again(unfinished, tmp_path, counted):
    os.utime(unfinished[1], (1, 1))
    project_snapshots(unfinished[:2], output=tmp_path / "maps.h5", settings=SMALL, resume=True)
    assert counted == ["run_1.h5"]


def test_one_snapshot_that_fails_leaves_nothing(snapshots, tmp_path):
    snapshots[1].write_bytes(b"nothing")
    with pytest.raises(ReaderError, match=r"run_1.h5: no reader recognizes this file"):
        project_snapshots(snapshots[1:2], output=tmp_path / "maps.h5", settings=SMALL)
    assert not list(tmp_path.glob("maps*"))


def test_stars_that_do_not_count_are_left_out(snapshots, tmp_path):
    settings = ProjectionSettings(width="0.4 pc", pixels=8, axes="z", minimum_mass="1 solMass")
    maps = project_snapshots(snapshots, output=tmp_path / "heavy.h5", settings=settings)
    assert list(maps.stars["star"]) == [2, 2]
    with pytest.raises(SnapshotError, match=r"run_0.h5, run_1.h5, run_2.h5: no star of 5 solMass or more"):
        project_snapshots(snapshots, output=tmp_path / "none.h5", settings=ProjectionSettings(minimum_mass="5 solMass"))
    assert not list(tmp_path.glob("none*"))


def test_positions_in_place_of_stars(snapshots, tmp_path):
    places = QTable({"star": ["a", "b"], **{axis: [0.2, 0.5] * u.pc for axis in "xyz"}})
    settings = ProjectionSettings(width="0.4 pc", pixels=8, positions=places)
    maps = project_snapshots(snapshots[:1], output=tmp_path / "maps.h5", settings=settings)
    assert list(maps.stars["star"]) == 3 * ["a"] + 3 * ["b"]
    assert maps.label_kind is None
    assert json.dumps(settings.record())


def test_random_directions_are_the_same_for_all(snapshots, tmp_path):
    settings = ProjectionSettings(width="0.4 pc", pixels=8, directions=2, seed=3)
    maps = project_snapshots(snapshots, output=tmp_path / "maps.h5", settings=settings)
    along = np.stack([maps.stars[f"los_{axis}"] for axis in "xyz"], axis=1)
    assert len(np.unique(along.round(9), axis=0)) == 2


def test_mass_kinds_are_not_mixed(snapshots, tmp_path):
    with pytest.raises(ReaderError, match=r"run_1.h5: its masses are of kind 'sink', not 'star'"):
        project_snapshots(snapshots[1:2], output=tmp_path / "maps.h5", settings=ProjectionSettings(label_kind="star"))


def test_names_of_runs_are_doubted(snapshots, make_snapshot, tmp_path, caplog):
    (tmp_path / "other").mkdir()
    write_snapshot(make_snapshot(number=5), tmp_path / "other" / "run_5.h5")
    project_snapshots([snapshots[1], tmp_path / "other" / "run_5.h5"], output=tmp_path / "a.h5", settings=SMALL)
    assert "snapshots in 2 directories have a run named 'run'; if these are different runs" in caplog.text
    caplog.clear()
    write_snapshot(make_snapshot(number=1), tmp_path / "again.h5")
    project_snapshots([snapshots[1], tmp_path / "again.h5"], output=tmp_path / "b.h5", settings=SMALL)
    assert "2 files are snapshot 1 of 'run'" in caplog.text
    caplog.clear()
    write_snapshot(make_snapshot(number=2, simulation="run_2"), snapshots[2], overwrite=True)
    project_snapshots(snapshots[1:], output=tmp_path / "c.h5", settings=SMALL)
    assert "each of the 2 snapshots names a run of its own" in caplog.text
    caplog.clear()
    named = ProjectionSettings(width="0.4 pc", pixels=8, simulation="one")
    maps = project_snapshots(snapshots[1:], output=tmp_path / "d.h5", settings=named)
    assert set(maps.groups) == {"one/1", "one/2"}
    assert not caplog.text


def test_long_provenance_is_shortened(snapshots, tmp_path, monkeypatch):
    monkeypatch.setattr(projecting, "LONGEST_PROVENANCE", 10)
    maps = project_snapshots(snapshots, output=tmp_path / "maps.h5", settings=SMALL)
    assert "code: made in a test" in maps.provenance
    assert "2 snapshots, sha256 of their provenance" in maps.provenance
    assert "sha256 run_1.h5" not in maps.provenance


class DyingPool(Executor):
    """A pool whose workers are killed."""

    def submit(self, *args, **options):
        future = Future()
        future.set_exception(BrokenExecutor("a process was terminated"))
        return future


def test_a_worker_that_dies_is_said(snapshots, tmp_path):
    with pytest.raises(ReaderError, match=r"a worker died \(a process was terminated\).*fewer workers and resume=True"):
        project_snapshots(snapshots, output=tmp_path / "maps.h5", settings=SMALL, executor=DyingPool())


def test_wrong_input_is_found_before_anything_is_read(snapshots, tmp_path):
    with pytest.raises(SnapshotError, match="no snapshot was given"):
        project_snapshots([], output=tmp_path / "maps.h5")
    with pytest.raises(InputNotFoundError, match=r"absent.h5: no such file"):
        project_snapshots([*snapshots, tmp_path / "absent.h5"], output=tmp_path / "maps.h5")
    with pytest.raises(SnapshotError, match=r"run_0.h5 was given twice"):
        project_snapshots([*snapshots, snapshots[0]], output=tmp_path / "maps.h5")
    assert not list(tmp_path.glob("maps*"))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"width": "0.5"}, UnitsError, "width '0.5'"),
        ({"depth": "1 km/s"}, UnitsError, "depth '1 km/s'"),
        ({"minimum_mass": "0.1"}, UnitsError, "minimum_mass is '0.1'"),
        ({"minimum_mass": "0.1 pc"}, UnitsError, "minimum_mass is '0.1 pc'"),
        ({"label_kind": "planet"}, SnapshotError, "label_kind is 'planet'"),
        (
            {"minimum_mass": "1 solMass", "positions": QTable()},
            SnapshotError,
            "minimum_mass and positions= exclude each other",
        ),
    ],
)
def test_settings_are_checked_at_once(options, error, message):
    with pytest.raises(error, match=message):
        ProjectionSettings(**options)


def test_a_galaxy_is_no_cloud(make_snapshot, tmp_path):
    write_snapshot(make_snapshot(), tmp_path / "thin.h5")
    with h5py.File(tmp_path / "thin.h5", "a") as file:
        file["gas/mass"].attrs["unit"] = "1e-9 solMass"
    with pytest.raises(SnapshotError, match=r"thin.h5: the median column density of .* check width="):
        project_snapshots([tmp_path / "thin.h5"], output=tmp_path / "maps.h5", settings=SMALL)


def test_windows_finer_than_the_simulation_are_warned_of(snapshots, tmp_path, caplog):
    settings = ProjectionSettings(width="0.2 pc", pixels=8, axes="z")
    project_snapshots(snapshots[1:2], output=tmp_path / "maps.h5", settings=settings)
    assert "run_1.h5: gas is resolved to 0.0833 pc only, windows are 0.2 pc wide; increase width=" in caplog.text
    caplog.clear()
    project_snapshots(snapshots[1:2], output=tmp_path / "wide.h5", settings=SMALL)
    assert not caplog.text
