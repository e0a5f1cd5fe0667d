"""Tests of the script that runs everything that needs a GPU."""

import json
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def gpu(monkeypatch):
    """The script as a module."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    sys.modules.pop("gpu", None)
    import gpu

    yield gpu
    sys.modules.pop("gpu", None)


def test_a_stage_beyond_its_time_limit_is_terminated(gpu, tmp_path):
    code = (
        "import signal, sys, time; signal.signal(15, lambda *a: sys.exit(7)); print('up', flush=True); time.sleep(60)"
    )
    status, seconds = gpu.run_with_limit([sys.executable, "-c", code], {}, tmp_path / "log", 3.0)
    assert status == 7
    assert seconds < 30
    assert (tmp_path / "log").read_text() == "up\n"


def test_every_stage_has_a_command_and_a_started_run_is_resumed(gpu, tmp_path):
    words = ["--config", "tiny8-64", "--device", "cpu", "--output", str(tmp_path), "--", "--steps", "5"]
    options = gpu.build_parser().parse_args(words)
    checkpoint = tmp_path / "run/checkpoints/step-00000004.ckpt"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.touch()
    commands = gpu.stage_commands(options, 0.1)
    assert set(commands) == set(gpu.STAGES)
    assert commands["pretrain"][-2:] == ["--steps", "5"]
    assert "--resume" in commands["pretrain"]
    checkpoint.unlink()
    assert "--overwrite" in gpu.stage_commands(options, 0.1)["pretrain"]


def test_stages_are_run_within_the_time_limit_and_reported(gpu, tmp_path, monkeypatch, capsys):
    program = "print('done'); raise SystemExit(3)"
    commands = {stage: [sys.executable, "-c", program] for stage in gpu.STAGES}
    monkeypatch.setattr(gpu, "stage_commands", lambda options, hours: commands)
    words = ["--stages", "tests", "pretrain", "--output", str(tmp_path / "results")]
    gpu.run_stages(gpu.build_parser().parse_args(words))
    report = json.loads((tmp_path / "results/report.json").read_text())
    assert [(row["stage"], row["exit"]) for row in report] == [("tests", 3), ("pretrain", 3)]
    assert (tmp_path / "results/pretrain.log").read_text() == "done\n"

    gpu.run_stages(gpu.build_parser().parse_args([*words, "--minutes", "0"]))
    assert json.loads((tmp_path / "results/report.json").read_text()) == []
    assert "skipped, the time limit is reached" in capsys.readouterr().out


def test_without_a_gpu_the_stages_see_none(gpu):
    assert gpu.environment("cpu")["CUDA_VISIBLE_DEVICES"] == ""
