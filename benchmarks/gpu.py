"""Run everything that needs a GPU in one call: the tests, both benchmarks, then pretraining for the remaining time.

    python benchmarks/gpu.py --config small8-64 --minutes 30 --output runs/gpu -- --steps 40000

The folder ``--output`` receives the log of each stage, ``report.json`` (command, exit code and seconds of each stage),
the tables of the benchmarks, and the pretraining run in ``run``. A second call with the same folder resumes that run.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
#: Time limit of each stage in minutes; pretraining takes what remains.
STAGES = {"tests": 1.5, "renderer": 1.5, "training": 1.5, "large": 1.5, "pretrain": float("inf")}
#: Minutes kept for the last checkpoint.
RESERVE = 0.8


def environment(device: str) -> dict[str, str]:
    """Return the environment of the stages; for ``device="cpu"`` it hides every GPU."""
    hidden = {"CUDA_VISIBLE_DEVICES": ""} if device == "cpu" else {}
    return {**os.environ, "PYTHONUNBUFFERED": "1", **hidden}


def stage_commands(options: argparse.Namespace, hours: float) -> dict[str, list[str]]:
    """Return the command of each stage, with `hours` as the time limit of pretraining."""
    python, run = sys.executable, options.output / "run"
    resume = ["--resume"] if any(run.glob("checkpoints/*.ckpt")) else ["--overwrite"]
    probe = ["--probe", *map(str, options.probe)] if options.probe else []
    quick = ["--quick"] if options.quick else []
    plugins = [f"--{kind}={name}" for kind in ("encoder", "dataset") if (name := getattr(options, kind))]
    rounds = quick or ["--rounds=3", "--steps=5", f"--workers={max(1, (os.cpu_count() or 1) - 2)}"]
    benchmark = [python, "benchmarks/pretraining.py", f"--device={options.device}", *rounds, "--output"]
    large = ["--config=base16-224", "--encoder=dinov2-vit-large16", "--batch-size=128"]
    program = "import sys; from stellarfm.cli.main import main; sys.exit(main(sys.argv[1:]))"
    return {
        "tests": [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--maxfail=20", *options.tests],
        "renderer": [python, "benchmarks/fractals.py", *quick, "--output", str(options.output / "fractals")],
        "training": [*benchmark, str(options.output / "pretraining"), *plugins, f"--config={options.config}"],
        "large": [*benchmark, str(options.output / "pretraining-large"), *large],
        "pretrain": [
            *(python, "-c", program, "pretrain", "--config", options.config, *plugins, "--output", str(run)),
            *(*resume, "--max-hours", f"{hours:.5f}", *probe, *options.more),
        ],
    }


def run_stages(options: argparse.Namespace) -> None:
    """Run the stages in order, each within its time limit, and write ``report.json``."""
    deadline = time.monotonic() + 60 * (options.minutes - RESERVE)
    options.output.mkdir(parents=True, exist_ok=True)
    report = []
    for stage in options.stages:
        minutes = (deadline - time.monotonic()) / 60
        if minutes <= 0:
            print(f"== {stage}: skipped, the time limit is reached", flush=True)
            continue
        command = stage_commands(options, minutes / 60)[stage]
        log, limit = options.output / f"{stage}.log", 60 * min(STAGES[stage], minutes)
        code, seconds = run_with_limit(command, environment(options.device), log, limit)
        report.append({"stage": stage, "command": command[1:], "exit": code, "seconds": round(seconds, 1)})
        print(f"== {stage}: exit code {code} after {seconds:.0f} s", flush=True)
    (options.output / "report.json").write_text(json.dumps(report, indent=1) + "\n")


def run_with_limit(command: list[str], variables: dict[str, str], log: Path, seconds: float) -> tuple[int, float]:
    """Run a command with its output in `log`; after `seconds`, terminate it, and kill it 20 s later.

    Returns
    -------
    code : int
        Exit code.
    elapsed : float
        Wall time in seconds.
    """
    start = time.monotonic()
    with log.open("w") as file:
        process = subprocess.Popen(command, cwd=ROOT, env=variables, stdout=file, stderr=subprocess.STDOUT)
        for timeout, order in ((seconds, signal.SIGTERM), (20.0, signal.SIGKILL), (None, None)):
            try:
                process.wait(timeout)
                break
            except subprocess.TimeoutExpired:
                process.send_signal(order)
    print("".join(log.read_text().splitlines(keepends=True)[-12:]), flush=True)
    return process.returncode, time.monotonic() - start


def absolute_path(text: str) -> Path:
    """Return an absolute path: the stages run in the root of the repository."""
    return Path(text).resolve()


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--config", default="small8-64", help="recipe of the benchmark and of the run")
    p.add_argument("--encoder", help="encoder of the benchmark and of the run (default: that of the recipe)")
    p.add_argument("--dataset", help="dataset of the benchmark and of the run (default: that of the recipe)")
    p.add_argument("--probe", nargs="+", type=absolute_path, help="map sets to probe the run with")
    p.add_argument("--minutes", type=float, default=30.0, help="time limit of all stages together (default: 30)")
    p.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES), help="stages to run (default: all)")
    p.add_argument("--tests", nargs="+", default=["tests/pretraining", "tests/encoders", "tests/fractals"])
    p.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    p.add_argument("--quick", action="store_true", help="run short benchmarks")
    p.add_argument("--output", type=absolute_path, default="runs/gpu", help="folder of the results (default: runs/gpu)")
    p.add_argument("more", nargs="*", help="after --: further options of stellarfm pretrain")
    return p


if __name__ == "__main__":
    run_stages(build_parser().parse_args())
