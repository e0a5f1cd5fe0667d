"""The way to a lent machine and back: whatever is cut into pieces comes out whole, or it is said what is missing."""

import json
import sys
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def gpu(tmp_path, monkeypatch):
    """The script as a module, its work folder in `tmp_path`, pieces of 100 bytes, two of them a call."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    for name in ("gpu", "pieces"):
        sys.modules.pop(name, None)
    import gpu
    import pieces

    monkeypatch.setattr(pieces, "PIECE", 100)
    monkeypatch.setattr(gpu, "PIECES_A_CALL", 2)
    monkeypatch.setattr(gpu, "WORK", tmp_path / "work")
    yield gpu
    for name in ("gpu", "pieces"):
        sys.modules.pop(name, None)


@pytest.fixture
def run(gpu):
    """A run on the lent machine: small files, weights, a checkpoint of five pieces."""
    folder = gpu.WORK / "run"
    (folder / "checkpoints").mkdir(parents=True)
    (gpu.WORK / "results").mkdir()
    (gpu.WORK / "results/report.json").write_text("[]\n")
    for name in ("run.json", "encoder.json", "log.csv", "README.md"):
        (folder / name).write_text(f"this is {name}\n")
    save_file({"a": torch.linspace(0, 1, 7), "n": torch.arange(3)}, folder / "encoder.safetensors", metadata={"w": "x"})
    (folder / "checkpoints/step-00000004.ckpt").write_bytes(bytes(range(256)) + bytes(200))
    return folder


def called(gpu, tmp_path, number, **options):
    """What a call gives back."""
    out = tmp_path / f"call{number}"
    gpu.give(out, **options)
    return out


def everything(gpu, tmp_path):
    """All calls that it takes."""
    first = called(gpu, tmp_path, 0)
    total = len(gpu.piece_names(gpu.read_manifest(first)))
    return [first, *(called(gpu, tmp_path, n, first=n, fresh=False) for n in range(2, total, 2))]


def test_what_was_cut_comes_out_whole(gpu, run, tmp_path):
    folders = everything(gpu, tmp_path)
    assert all(path.stat().st_size <= 100 for folder in folders for path in folder.iterdir() if path.name[-4] == ".")
    assert all(len(list(folder.iterdir())) <= 3 for folder in folders)
    gpu.collect(SimpleNamespace(folders=folders, output=tmp_path / "back"))
    back = tmp_path / "back"
    for name in ("run.json", "encoder.json", "log.csv", "README.md", "checkpoints/step-00000004.ckpt"):
        assert (back / name).read_bytes() == (run / name).read_bytes()
    assert (back / "gpu/report.json").read_text() == "[]\n"
    before, after = load_file(run / "encoder.safetensors"), load_file(back / "encoder.safetensors")
    assert after["a"].dtype == torch.float16
    torch.testing.assert_close(after["a"].float(), before["a"], atol=1e-3, rtol=0)
    assert torch.equal(after["n"], before["n"])
    assert {path.name for path in back.iterdir()} == {
        *("run.json", "encoder.json", "log.csv", "README.md", "encoder.safetensors", "checkpoints", "gpu")
    }


def test_what_is_missing_is_said(gpu, run, tmp_path, capsys):
    *some, _ = everything(gpu, tmp_path)
    gpu.collect(SimpleNamespace(folders=some, output=tmp_path / "back"))
    assert "are missing" in capsys.readouterr().out
    assert not (tmp_path / "back/checkpoints").exists()
    assert (tmp_path / "back/encoder.safetensors").exists()


def test_a_damaged_piece_is_refused(gpu, run, tmp_path):
    folders = everything(gpu, tmp_path)
    piece = folders[-1] / sorted(path.name for path in folders[-1].iterdir() if "ckpt" in path.name)[-1]
    piece.write_bytes(bytes(reversed(piece.read_bytes()[:-1])) + b"!")
    with pytest.raises(ValueError, match=r"step-00000004.ckpt: the check sum of its pieces is wrong; fetch them again"):
        gpu.collect(SimpleNamespace(folders=folders, output=tmp_path / "back"))


def test_pieces_of_two_runs_do_not_mix(gpu, run, tmp_path):
    first = called(gpu, tmp_path, 0)
    (run / "log.csv").write_text("another")
    second = called(gpu, tmp_path, 1)
    with pytest.raises(ValueError, match="hold pieces of different files"):
        gpu.collect(SimpleNamespace(folders=[first, second], output=tmp_path / "back"))


def test_a_run_can_be_sent_back(gpu, run, tmp_path, monkeypatch):
    gpu.split(SimpleNamespace(run=run, output=tmp_path / "carried"))
    folders = sorted((tmp_path / "carried").iterdir(), key=lambda folder: int(folder.name))
    monkeypatch.setattr(gpu, "WORK", tmp_path / "another machine")
    for folder in reversed(folders):
        gpu.put(SimpleNamespace(folder=folder))
    for path in run.rglob("*.*"):
        assert (gpu.WORK / "run" / path.relative_to(run)).read_bytes() == path.read_bytes()


def test_a_run_without_anything_still_gives_its_log(gpu, tmp_path):
    (gpu.WORK / "results").mkdir(parents=True)
    (gpu.WORK / "results/pretrain.log").write_text("it went wrong\n")
    gpu.collect(SimpleNamespace(folders=[called(gpu, tmp_path, 0)], output=tmp_path / "back"))
    assert (tmp_path / "back/gpu/pretrain.log").read_text() == "it went wrong\n"


def test_entry_points_are_found_without_an_installation(gpu, tmp_path):
    gpu.pretend_installed(tmp_path / "entry")
    (found,) = metadata.distributions(name="stellarfm", path=[str(tmp_path / "entry")])
    names = {(entry.group, entry.name) for entry in found.entry_points}
    assert ("stellarfm.datasets", "flames") in names
    assert ("stellarfm.methods", "dinov2") in names


def test_a_stage_that_takes_too_long_is_asked_to_stop(gpu, tmp_path):
    code = (
        "import signal, sys, time; signal.signal(15, lambda *a: sys.exit(7)); print('up', flush=True); time.sleep(60)"
    )
    status, seconds = gpu.attend([sys.executable, "-c", code], {}, tmp_path / "log", 3.0)
    assert status == 7
    assert seconds < 30
    assert (tmp_path / "log").read_text() == "up\n"


def test_every_stage_has_a_command_and_a_started_run_is_continued(gpu, run):
    options = gpu.parser().parse_args(["run", "--config", "tiny8-64", "--device", "cpu", "--", "--steps", "5"])
    made = gpu.commands(options, 0.1)
    assert set(made) == set(gpu.STAGES)
    assert made["pretrain"][-2:] == ["--steps", "5"]
    assert "--resume" in made["pretrain"]
    (run / "checkpoints/step-00000004.ckpt").unlink()
    assert "--overwrite" in gpu.commands(options, 0.1)["pretrain"]
    assert json.loads((gpu.WORK / "results/report.json").read_text()) == []
