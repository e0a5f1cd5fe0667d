import numpy as np
import pytest
from astropy.io import fits

from stellarfm.cli.main import main
from stellarfm.maps import MapSet
from stellarfm.readers.hdf5.writer import write_snapshot

SMALL = ["--width", "0.4 pc", "--pixels", "8"]


@pytest.fixture
def snapshots(make_snapshot, tmp_path):
    """Two snapshots of one run."""
    paths = [tmp_path / f"run_{number}.h5" for number in (1, 2)]
    for number, path in enumerate(paths, start=1):
        write_snapshot(make_snapshot(number=number, seed=number), path)
    return paths


def project(*arguments):
    return main(["project", *map(str, arguments), *SMALL])


def line(capsys):
    """The only line of an error."""
    output = capsys.readouterr()
    assert output.out == ""
    (last,) = (line for line in output.err.splitlines() if line.startswith("stellarfm: error: "))
    return last


def test_snapshots_to_one_map_set(snapshots, tmp_path, capsys):
    assert project(*snapshots, "--output", tmp_path / "maps.h5", "--workers", 1) == 0
    maps = MapSet.read(tmp_path / "maps.h5")
    assert len(maps) == 12
    assert maps.label_kind == "sink"
    assert np.isclose(maps.pixel_scale.value, 0.05)
    assert "command: stellarfm" in maps.provenance
    assert capsys.readouterr().err == f"wrote {tmp_path / 'maps.h5'}: 12 windows of 2 stars from 2 snapshots\n"


def test_processes_give_what_one_gives(snapshots, tmp_path, capsys):
    assert project(*snapshots, "--output", tmp_path / "one.h5", "--workers", 1, "--quiet") == 0
    assert project(*snapshots, "--output", tmp_path / "two.h5", "--workers", 2, "--quiet") == 0
    one, two = MapSet.read(tmp_path / "one.h5"), MapSet.read(tmp_path / "two.h5")
    assert np.array_equal(one.column_density, two.column_density)
    assert capsys.readouterr().err == ""


def test_every_option_reaches_the_maps(snapshots, tmp_path):
    options = ["--depth", "0.6 pc", "--directions", 2, "--seed", 4, "--thermal", "--minimum-mass", "1 solMass"]
    options += ["--mass-kind", "sink", "--simulation", "mine", "--reader", "hdf5"]
    assert project(snapshots[0], "--output", tmp_path / "maps.h5", *options) == 0
    maps = MapSet.read(tmp_path / "maps.h5")
    assert list(maps.groups) == 2 * ["mine/2"]
    assert maps.depth.value == pytest.approx(0.6)
    assert set(maps.stars["axis"]) == {"0", "1"}
    assert project(snapshots[0], "--output", tmp_path / "cold.h5", *(o for o in options if o != "--thermal")) == 0
    cold = MapSet.read(tmp_path / "cold.h5")
    assert np.nanmin(maps.velocity_dispersion - cold.velocity_dispersion) > 0


def test_snapped_windows_along_one_axis(snapshots, tmp_path):
    assert project(snapshots[0], "--output", tmp_path / "maps.h5", "--snap", "--axes", "y") == 0
    assert list(MapSet.read(tmp_path / "maps.h5").stars["axis"]) == ["y", "y"]


def test_positions_from_a_table(snapshots, tmp_path):
    (tmp_path / "places.csv").write_text("x,y,z,name\n0.3,0.4,0.5,here\n0.6,0.5,0.5,there\n")
    arguments = ["--positions", tmp_path / "places.csv", "--axes", "z", "--output", tmp_path / "maps.h5"]
    assert project(snapshots[0], *arguments) == 0
    maps = MapSet.read(tmp_path / "maps.h5")
    assert list(maps.stars["name"]) == ["here", "there"]
    assert list(maps.stars["star"]) == [1, 2]


def test_options_of_a_reader(tmp_path):
    cards = {f"{key}{axis}": value for axis in (1, 2, 3) for key, value in {"CDELT": 0.1, "CUNIT": "pc"}.items()}
    cube = np.ones((10, 10, 10), dtype="f4")
    fits.PrimaryHDU(1e4 * cube, fits.Header({**cards, "BUNIT": "cm-3"})).writeto(tmp_path / "density.fits")
    fits.PrimaryHDU(cube, fits.Header({"BUNIT": "km/s"})).writeto(tmp_path / "v.fits")
    (tmp_path / "places.csv").write_text("x,y,z\n0.5,0.5,0.5\n")
    options = [f"--reader-option={pair}" for pair in ("velocities=v.fits", "line-of-sight=z", "periodic=true")]
    arguments = [tmp_path / "density.fits", "--positions", tmp_path / "places.csv", *options]
    assert project(*arguments, "--axes", "z", "--output", tmp_path / "maps.h5") == 0
    assert np.allclose(MapSet.read(tmp_path / "maps.h5").velocity.value, 1)


def test_a_run_is_resumed(snapshots, tmp_path, capsys):
    content = snapshots[1].read_bytes()
    snapshots[1].write_bytes(content[:5000])
    assert project(*snapshots, "--output", tmp_path / "maps.h5", "--workers", 1) == 1
    assert "1 of 2 snapshots failed" in line(capsys)
    snapshots[1].write_bytes(content)
    assert project(*snapshots, "--output", tmp_path / "maps.h5", "--workers", 1) == 1
    assert "--resume" in line(capsys)
    assert project(*snapshots, "--output", tmp_path / "maps.h5", "--workers", 1, "--axes", "z", "--resume") == 1
    assert "axes was 'xyz', now 'z'" in line(capsys)
    assert project(*snapshots, "--output", tmp_path / "maps.h5", "--workers", 1, "--resume") == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--width", "5"], "width '5'"),
        (["--width", "2 pc"], "2 pc"),
        (["--axes", "w"], "axes"),
        (["--pixels", "0"], "pixels"),
        (["--directions", "0"], "directions"),
        (["--workers", "0"], "--workers is 0; expected at least 1"),
        (["--reader", "hdf"], "did you mean hdf5"),
        (["--reader-option", "colour=red"], "has no option 'colour'"),
        (["--reader-option", "colour"], "expected KEY=VALUE"),
        (["--mass-kind", "star"], "of kind 'sink', not 'star'"),
        (["--positions", "absent.csv"], "absent.csv: no such file"),
        (["--minimum-mass", "9 solMass"], "no star of 9 solMass or more"),
    ],
)
def test_wrong_options_are_one_line(snapshots, tmp_path, capsys, options, message):
    assert main(["project", str(snapshots[0]), *SMALL, *options, "--output", str(tmp_path / "maps.h5")]) == 1
    assert message in line(capsys)
    assert not list(tmp_path.glob("maps*"))


def test_finished_maps_are_no_snapshot(snapshots, tmp_path, capsys):
    assert project(snapshots[0], "--output", tmp_path / "maps.h5") == 0
    capsys.readouterr()
    assert project(tmp_path / "maps.h5", "--output", tmp_path / "again.h5") == 1
    assert "contains finished maps, not a simulation snapshot" in line(capsys)


def test_a_snapshot_is_no_field(snapshots, tmp_path, capsys):
    assert main(["estimate", str(snapshots[0]), "--output", str(tmp_path / "masses.fits")]) == 1
    assert "not maps; project it first (stellarfm project)" in line(capsys)


@pytest.mark.shared_data
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("starforge/snapshot_500_stars.hdf5", "contains no gas"),
        ("starforge/snapshot_000_stars.hdf5", ""),
        ("enzo/DD0010/moving7_0010", "no star; give the centers of the windows as --positions"),
        ("simspin/SimSpin_example_IllustrisTNG.hdf5", ""),
        ("../ramses/windows.h5", "contains finished maps"),
        ("../observed/L1448/l1448_13co.fits", ""),
    ],
)
def test_real_files_without_stars_or_gas_are_refused_in_one_line(shared_data, tmp_path, capsys, name, message):
    path = shared_data / "snapshots" / name
    assert project(path, "--output", tmp_path / "maps.h5") == 1
    assert message in (said := line(capsys))
    assert path.name in said
    assert not list(tmp_path.glob("maps*"))
