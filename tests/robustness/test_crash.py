"""Commands that are killed at random file operations, or run out of space: nothing is lost, the next run is whole."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stellarfm.cli.main import main
from stellarfm.readers.hdf5.writer import write_snapshot

KILLS = int(os.environ.get("STELLARFM_CRASHES", "4"))


@pytest.fixture
def commands(make_snapshot, cloud, tiny_encoder, tmp_path):
    """Arguments of each command without the output, and the name of the output."""
    for number in (1, 2):
        write_snapshot(make_snapshot(number=number, seed=number), tmp_path / f"run_{number}.h5")
    cloud("one", n_stars=6).write(tmp_path / "maps.h5")
    snapshots = [str(tmp_path / f"run_{number}.h5") for number in (1, 2)]
    options = ["--readout", "class", "--head", "knn"]
    options += ["--head-option", "n_neighbors=3", "--head-option", "n_components=4"]
    images = ["fractals", "--count", "4", "--size", "16", "--points", "500", "--threshold", "0", "--workers", "1"]
    return {
        "project": (["project", *snapshots, "--width", "0.4 pc", "--pixels", "8", "--workers", "1"], "maps.h5"),
        "fit": (["fit", str(tmp_path / "maps.h5"), "--encoder", tiny_encoder, *options], "model"),
        "images": (images, "images"),
        "shards": ([*images, "--shard-size", "2"], "shards"),
        "hdf5": (images, "images.h5"),
    }


def drive(tmp_path, arguments, kills, **job):
    """Run a command in ``work``; return one result for each kill."""
    job = {"folder": str(tmp_path / "work"), "arguments": arguments, "kills": kills, **job}
    (tmp_path / "job.json").write_text(json.dumps(job))
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name("crash_driver.py"), tmp_path / "job.json"],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def contents(path):
    """Return the bytes of all files in a folder, or of a file."""
    files = [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]
    return {file.relative_to(path).as_posix(): file.read_bytes() for file in files}


NAMES = ["project", "fit", "images", "shards", "hdf5"]


@pytest.mark.parametrize("name", NAMES)
def test_killed_command_leaves_the_old_output_or_the_new_one(commands, tmp_path, name):
    arguments, output = commands[name]
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    command = [*arguments, "--quiet", "--overwrite", "--output", str(folder / output)]
    assert main(command) == 0
    old = contents(folder / output)
    command += {"project": ["--resume", "--thermal"], "fit": ["--symmetries"]}.get(name, ["--seed", "5"])
    new = None
    for number, result in enumerate(drive(tmp_path, command, KILLS)):
        assert result["stopped"][0] == (-signal.SIGKILL if number else 0), result["stopped"][2]
        assert result["repeated"][0] == 0, result["repeated"][2]
        stopped, repeated = (tmp_path / f"work-start-{number}-{state}" for state in ("stopped", "repeated"))
        new = new or contents(stopped / output)
        assert new != old
        assert contents(stopped / output) in (old, new)
        assert contents(repeated / output) == new
        assert sorted(path.name for path in repeated.iterdir()) == sorted(["notes.txt", output])


@pytest.mark.parametrize("largest_file", [100, 3000])
@pytest.mark.parametrize("name", NAMES)
def test_full_disk_is_one_line_and_leaves_nothing(commands, tmp_path, name, largest_file):
    arguments, output = commands[name]
    (tmp_path / "work").mkdir()
    command = [*arguments, "--quiet", "--output", str(tmp_path / "work" / output)]
    if largest_file == 3000 and name == "images":
        pytest.skip("smaller files")
    (result,) = drive(tmp_path, command, 0, largest_file=largest_file)
    status, _, text = result["stopped"]
    assert status == 1, text
    assert text.startswith("stellarfm: error: ")
    assert "no space left on device" in text
    assert text.count("\n") == 1
    assert list((tmp_path / "work-start-0-stopped").iterdir()) == []
    assert result["repeated"][0] == 0, result["repeated"][2]
    assert [path.name for path in (tmp_path / "work-start-0-repeated").iterdir()] == [output]


@pytest.fixture
def running(tmp_path):
    """A long command that is writing ``work/images``."""
    (tmp_path / "work").mkdir()
    options = ["--count", "100000", "--size", "16", "--points", "500", "--threshold", "0", "--workers", "1", "--quiet"]
    command = [sys.executable, "-m", "stellarfm", "fractals", *options, "--output", str(tmp_path / "work" / "images")]
    process = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # ignored where the tests run in background
    )
    deadline = time.monotonic() + 120
    while not list((tmp_path / "work").glob(".partial-*/new/000003.png")):
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    yield process
    process.kill()
    process.wait()
    process.stderr.close()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signals_end_a_command_and_leave_nothing(running, tmp_path, number, status):
    running.send_signal(number)
    assert running.wait(60) == status
    assert list((tmp_path / "work").iterdir()) == []


def test_second_command_with_the_same_output_ends_at_once(running, commands, tmp_path, capsys):
    images = commands["images"][0]
    for options in ([], ["--overwrite"]):
        assert main([*images, *options, "--output", str(tmp_path / "work" / "images")]) == 1
        assert f"is being written by another process (process {running.pid} on " in capsys.readouterr().err
    assert running.poll() is None
