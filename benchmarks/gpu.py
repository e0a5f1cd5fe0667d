"""All that waits for a GPU, in order: tests, both benchmarks, then pretraining until the time is up.

For a machine that is lent for minutes, reaches nothing, and gives back at most eight files of 16 MiB from $OUT a call.
It holds torch, timm, lightning, numba and the like; what it lacks is carried in the ignored folder ``.gpu``.

Here, once:

    python benchmarks/gpu.py prepare --maps ../shared/data/clouds/cloud-?.h5

There, in calls that carry ``.gpu`` (the first one with more minutes left than the others):

    python benchmarks/gpu.py run --config small8-64 -- --steps 40000
    python benchmarks/gpu.py run --config small8-64 --stages pretrain -- --steps 40000
    python benchmarks/gpu.py fetch --first 4

``run`` leaves the results, the encoder in half precision and as many pieces of the checkpoint as fit; ``fetch`` leaves
further pieces, numbered from ``--first``. The run stays on the machine as long as it is held. Here again:

    python benchmarks/gpu.py collect .device/call1 .device/call2 --output runs/small8-64

joins what was fetched into a folder that ``stellarfm fit`` takes, and ``stellarfm pretrain --resume`` too if all of
the checkpoint is there; otherwise it says which pieces are missing. To go on there on another day, send it back:

    python benchmarks/gpu.py split runs/small8-64 --output .gpu-run        here: folders of 30 MiB
    python benchmarks/gpu.py put .gpu-run/0                                there: one call each, carrying that folder
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

from pieces import MANIFEST, join, piece_names, read_manifest, take, write_manifest

ROOT = Path(__file__).resolve().parents[1]
CARRIED = ROOT / ".gpu"
#: On the lent machine, beside the working tree; it outlives a call.
WORK = Path(os.environ.get("STELLARFM_GPU_WORK", "/tmp/stellarfm-gpu"))
#: What the machine lacks; lightly is the peer of a benchmark, astropy reads the maps of the probe.
WHEELS = ("astropy", "pyerfa", "astropy-iers-data", "lightly")
PLATFORMS = [f"manylinux_2_{n}_x86_64" for n in (35, 34, 31, 28, 27, 24, 17)] + ["manylinux2014_x86_64"]
#: Pieces a call gives back, beside the small files: 60 of 64 MiB.
PIECES_A_CALL = 4
#: Minutes for a stage at most; pretraining has what is left.
STAGES = {"tests": 1.5, "renderer": 1.5, "training": 1.5, "large": 1.5, "pretrain": float("inf")}
#: Minutes kept for the last checkpoint, for half precision and for copying.
RESERVE = 0.8


def prepare(options: argparse.Namespace) -> None:
    """Download wheels for the lent machine's Python, and thin the maps of the probe."""
    shutil.rmtree(CARRIED, ignore_errors=True)
    wheels = CARRIED / "wheels"
    wheels.mkdir(parents=True)
    named = [f"{name}=={metadata.version(name)}" for name in WHEELS]
    platforms = [word for platform in PLATFORMS for word in ("--platform", platform)]
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--only-binary=:all:",
        "-d",
        str(wheels),
    ]
    subprocess.run([*command, "--python-version", "3.12", "--implementation", "cp", *platforms, *named], check=True)
    if options.maps:
        from stellarfm.evaluation.benchmark import subsample_windows
        from stellarfm.maps import MapSet

        # Four windows a star are all that the probe takes.
        subsample_windows(MapSet.concatenate([MapSet.read(path) for path in options.maps]), per_star=4).write(
            CARRIED / "probe.h5"
        )
    size = sum(path.stat().st_size for path in CARRIED.rglob("*") if path.is_file())
    print(f"{CARRIED}: {size / 2**20:.1f} MiB to carry (the working tree travels too; 64 MiB in all)")


def environment(device: str) -> dict[str, str]:
    """Of the child processes: carried wheels, this repository as if it were installed, and no GPU if none is wanted."""
    site = WORK / "site"
    if (CARRIED / "wheels").is_dir() and not site.is_dir():
        pip = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "-q",
            "--no-index",
            "--no-deps",
            "--no-compile",
            "--no-cache-dir",
        ]
        subprocess.run([*pip, "--target", str(site), *map(str, (CARRIED / "wheels").glob("*.whl"))], check=True)
    pretend_installed(WORK / "entry")
    before = os.environ.get("PYTHONPATH")
    paths = [*(str(path) for path in (site, WORK / "entry", ROOT) if path.exists()), *([before] if before else [])]
    hidden = {"CUDA_VISIBLE_DEVICES": ""} if device == "cpu" else {}
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1", **hidden}


def pretend_installed(folder: Path) -> None:
    """Entry points of this repository where importlib.metadata finds them: nothing is installed there."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    info = folder / f"{project['name']}-{project['version']}.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    lines = []
    for group, entries in project["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {target}" for name, target in entries.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")


def commands(options: argparse.Namespace, hours: float) -> dict[str, list[str]]:
    """The command of each stage."""
    python, results = sys.executable, WORK / "results"
    run = WORK / "run"
    probe = ["--probe", str(CARRIED / "probe.h5")] if (CARRIED / "probe.h5").exists() else []
    resume = ["--resume"] if any(run.glob("checkpoints/*.ckpt")) else ["--overwrite"]
    quick = ["--quick"] if options.quick else []
    command = "import sys; from stellarfm.cli.main import main; sys.exit(main(sys.argv[1:]))"
    given = [f"--{kind}={name}" for kind in ("encoder", "dataset") if (name := getattr(options, kind))]
    turns = quick or ["--rounds=3", "--steps=5", f"--workers={max(1, (os.cpu_count() or 1) - 2)}"]
    benchmark = [python, "benchmarks/pretraining.py", f"--device={options.device}", *turns, "--output"]
    large = ["--config=base16-224", "--encoder=dinov2-vit-large16", "--batch-size=128"]
    return {
        "tests": [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--maxfail=20", *options.tests],
        "renderer": [python, "benchmarks/fractals.py", *quick, "--output", str(results / "fractals")],
        "training": [*benchmark, str(results / "pretraining"), *given, f"--config={options.config}"],
        "large": [*benchmark, str(results / "pretraining-large"), *large],
        "pretrain": [
            *(python, "-c", command, "pretrain", "--config", options.config, *given, "--output", str(run)),
            *(*resume, "--max-hours", f"{hours:.5f}", *probe, *options.more),
        ],
    }


def run(options: argparse.Namespace) -> None:
    """Every stage in order, each within its time; then what is to be given back."""
    deadline = time.monotonic() + 60 * (options.minutes - RESERVE)
    (WORK / "results").mkdir(parents=True, exist_ok=True)
    variables, report = environment(options.device), []
    for stage in options.stages:
        left = (deadline - time.monotonic()) / 60
        if left <= 0:
            print(f"== {stage}: no time left", flush=True)
            continue
        command = commands(options, left / 60)[stage]
        code, seconds = attend(command, variables, WORK / f"results/{stage}.log", 60 * min(STAGES[stage], left))
        report.append({"stage": stage, "command": command[1:], "exit": code, "seconds": round(seconds, 1)})
        print(f"== {stage}: exit {code} after {seconds:.0f} s", flush=True)
    (WORK / "results/report.json").write_text(json.dumps(report, indent=1) + "\n")
    give(options.out)


def attend(command: list[str], variables: dict[str, str], log: Path, seconds: float) -> tuple[int, float]:
    """Run a command with its words in a file; at the end of its time ask it to stop, then make it."""
    start = time.monotonic()
    with log.open("w") as file:
        process = subprocess.Popen(command, cwd=ROOT, env=variables, stdout=file, stderr=subprocess.STDOUT)
        for patience, order in ((seconds, signal.SIGTERM), (20.0, signal.SIGKILL), (None, None)):
            try:
                process.wait(patience)
                break
            except subprocess.TimeoutExpired:
                process.send_signal(order)
    print("".join(log.read_text().splitlines(keepends=True)[-12:]), flush=True)
    return process.returncode, time.monotonic() - start


def pack() -> Path:
    """What of a run travels, in its own folder: an archive of small files, weights in half precision, the state."""
    run, parcel = WORK / "run", WORK / "parcel"
    shutil.rmtree(parcel, ignore_errors=True)
    parcel.mkdir(parents=True)
    with zipfile.ZipFile(parcel / "small.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for folder in (WORK / "results", run):
            for path in sorted(folder.glob("*.*")):
                if path.suffix != ".safetensors":
                    archive.write(path, f"{'gpu/' if folder != run else ''}{path.name}")
    names = ["small.zip"]
    if (run / "encoder.safetensors").exists():
        halve(run / "encoder.safetensors", parcel / "encoder.safetensors")
        names.append("encoder.safetensors")
    for path in sorted(run.glob("checkpoints/step-*.ckpt")):
        os.link(path, parcel / path.name)
        names.append(path.name)
    write_manifest(parcel, names, parcel)
    return parcel


def halve(source: Path, target: Path) -> None:
    """Weights in half precision."""
    from safetensors import safe_open
    from safetensors.torch import save_file

    with safe_open(source, framework="pt") as file:
        words = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    save_file({n: t.half() if t.is_floating_point() else t for n, t in tensors.items()}, target, metadata=words)


def give(out: Path, *, first: int = 0, fresh: bool = True) -> None:
    """Copy the manifest and the next pieces into the folder that is fetched."""
    parcel = pack() if fresh else WORK / "parcel"
    out.mkdir(parents=True, exist_ok=True)
    entries = read_manifest(parcel)
    shutil.copy(parcel / MANIFEST, out / MANIFEST)
    taken = take(parcel, entries, out, first=first, count=PIECES_A_CALL)
    total = len(piece_names(entries))
    last = first + len(taken)
    then = f"; the rest: fetch --first {last}" if last < total else ""
    print(f"{out}: pieces {first} to {last - 1} of {total}{then}")


def fetch(options: argparse.Namespace) -> None:
    """Further pieces of what the last ``run`` left."""
    give(options.out, first=options.first, fresh=False)


def collect(options: argparse.Namespace) -> None:
    """Join fetched pieces into a folder as ``stellarfm pretrain`` leaves it."""
    output = options.output
    whole, missing = join(options.folders, output)
    for name in whole:
        if name.endswith(".ckpt"):
            (output / "checkpoints").mkdir(exist_ok=True)
            (output / name).replace(output / "checkpoints" / name)
    if "small.zip" in whole:
        with zipfile.ZipFile(output / "small.zip") as archive:
            archive.extractall(output)
        (output / "small.zip").unlink()
    print(f"{output}: {', '.join(whole)}")
    if missing:
        print(f"pieces {', '.join(map(str, missing))} are missing: what they belong to was not made; fetch them too")


def split(options: argparse.Namespace) -> None:
    """A run in folders of pieces that can be carried, to go on there."""
    run = options.run
    names = [
        path.relative_to(run).as_posix()
        for path in sorted(run.rglob("*"))
        if path.is_file() and "gpu" not in path.parts
    ]
    options.output.mkdir(parents=True)
    entries = write_manifest(run, names, options.output)
    number, total = 0, len(piece_names(entries))
    while number * 2 < total:
        folder = options.output / str(number)
        folder.mkdir()
        shutil.copy(options.output / MANIFEST, folder)
        take(run, entries, folder, first=2 * number, count=2)
        number += 1
    (options.output / MANIFEST).unlink()
    print(f"{options.output}: {number} folders; carry them one by one and `put` each")


def put(options: argparse.Namespace) -> None:
    """Keep carried pieces; when all are there, they are the run that the next ``run`` continues."""
    arrived = WORK / "arrived"
    arrived.mkdir(parents=True, exist_ok=True)
    for path in options.folder.iterdir():
        shutil.copy(path, arrived)
    whole, missing = join([arrived], WORK / "run")
    print(f"{len(whole)} files are whole, {len(missing)} pieces are missing")


def parser() -> argparse.ArgumentParser:
    out = Path(os.environ.get("OUT", "gpu-out"))
    main = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    sub = main.add_subparsers(required=True)
    p = sub.add_parser("prepare", help="here: download what the machine lacks")
    p.add_argument("--maps", nargs="+", type=Path, help="map sets for the probe")
    p.set_defaults(work=prepare)
    p = sub.add_parser("run", help="there: the stages in order")
    p.add_argument("--config", default="small8-64", help="recipe of both the benchmark and the run")
    p.add_argument("--encoder")
    p.add_argument("--dataset")
    p.add_argument("--minutes", type=float, default=9.0, help="for everything; a call ends after ten")
    p.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES))
    p.add_argument("--tests", nargs="+", default=["tests/pretraining", "tests/encoders", "tests/fractals"])
    p.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    p.add_argument("--quick", action="store_true", help="short benchmarks")
    p.add_argument("--out", type=Path, default=out)
    p.add_argument("more", nargs="*", help="after --: further options of stellarfm pretrain")
    p.set_defaults(work=run)
    p = sub.add_parser("fetch", help="there: further pieces")
    p.add_argument("--first", type=int, required=True)
    p.add_argument("--out", type=Path, default=out)
    p.set_defaults(work=fetch)
    p = sub.add_parser("collect", help="here: join what was fetched")
    p.add_argument("folders", nargs="+", type=Path)
    p.add_argument("--output", type=Path, required=True)
    p.set_defaults(work=collect)
    p = sub.add_parser("split", help="here: a run in folders that can be carried")
    p.add_argument("run", type=Path)
    p.add_argument("--output", type=Path, required=True)
    p.set_defaults(work=split)
    p = sub.add_parser("put", help="there: keep what was carried")
    p.add_argument("folder", type=Path)
    p.set_defaults(work=put)
    return main


if __name__ == "__main__":
    arguments = parser().parse_args()
    arguments.work(arguments)
