"""Measure the speed of pretraining against a loop of the components of lightly and against the bare network.

    python benchmarks/pretraining.py [--config NAME] [--threads 1] [--quick] [--output benchmarks/results/pretraining]

Four loops train the same timm transformer with heads of the same widths on the same images, with the same batch size,
crops and precision. They alternate within one process, and ratios are computed within each round.

- stellarfm: a run of `stellarfm.pretraining.training.pretrain`, including Lightning and loading.
- lightly: the DINOv2 example of lightly with its losses, heads, masks, moving average and MultiCropTransform (crop,
  flips, rotation, jitter and blur of torchvision on each image), the data loader of torch and AdamW.
- lightly, views ready: the same with precomputed views.
- bare: forward and backward pass of the network and its heads on precomputed tensors, without views, losses, optimizer
  or teacher average: an upper limit of the speed of training.

Rendering of fractals is excluded: images are in memory. On one thread of a CPU the processor time is measured, which
hardly depends on other processes; otherwise the wall time.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import torch
from pretraining_loops import BareLoop, LightlyLoop, Setting, StellarfmLoop
from process_memory import peak_memory
from results_file import write_results

from stellarfm.pretraining.cost import HARDWARE, count_flops
from stellarfm.pretraining.recipe import PLUGINS, load_recipe

Row = dict[str, Any]
LOOPS: dict[str, Callable[[Setting], Any]] = {
    "stellarfm": StellarfmLoop,
    "lightly": LightlyLoop,
    "lightly, views ready": lambda setting: LightlyLoop(setting, ready=True),
    "bare": BareLoop,
}
#: Target ratio of the speed of stellarfm to that of another loop.
TARGETS = {"lightly": 1.2, "bare": 0.9}


def setting_of(options: argparse.Namespace) -> Setting:
    """Return the setting of a recipe, in which prototypes are trained from the first step."""
    recipe = load_recipe(options.config)
    method = {**recipe.method, "frozen_prototypes": 0.0}
    recipe = recipe.replace(method=method, workers=options.workers, batch_size=options.batch_size, render="workers")
    recipe = recipe.with_plugins(encoder=options.encoder, dataset=options.dataset)
    return Setting.make(recipe, torch.device(options.device))


def loop_names() -> list[str]:
    """Return the names of the loops that can run; lightly may be missing."""
    return [name for name in LOOPS if not name.startswith("lightly") or find_spec("lightly") is not None]


def build(setting: Setting) -> tuple[dict[str, Any], dict[str, float]]:
    """Return the loops and, on a GPU, the peak memory of each when it runs alone, in MiB."""
    loops, used, gpu = {}, {}, setting.device.type == "cuda"
    for name in loop_names():
        before = torch.cuda.memory_allocated() if gpu else 0
        loops[name] = LOOPS[name](setting)
        if gpu:
            torch.cuda.reset_peak_memory_stats()
            loops[name].seconds(1)
            used[name] = (torch.cuda.max_memory_allocated() - before) / 2**20
    return loops, used


def compare(setting: Setting, loops: dict[str, Any], *, rounds: int, steps: int) -> list[Row]:
    """Return images per second of every loop in each round; the order changes from round to round."""
    rows = []
    for turn in range(rounds):
        order = list(loops)[turn % len(loops) :] + list(loops)[: turn % len(loops)]
        rates = {name: setting.recipe.batch_size / loops[name].seconds(steps) for name in order}
        rows.append({name: rates[name] for name in loops})
        print("  ".join(f"{name} {rate:.1f}" for name, rate in rows[-1].items()), "images/s", flush=True)
    return rows


def median_and_range(values: list[float]) -> Row:
    """Return median, minimum and maximum."""
    return {"median": median(values), "least": min(values), "largest": max(values)}


def ratios(rows: list[Row]) -> Row:
    """Return the ratio of the speed of stellarfm to that of each other loop."""
    return {
        name: median_and_range([row["stellarfm"] / row[name] for row in rows])
        for name in rows[0]
        if name != "stellarfm"
    }


def step_parts(setting: Setting, *, repeats: int) -> Row:
    """Return the median time of each part of a step of stellarfm in ms."""
    module = setting.module().to(setting.device)
    learner, method = module.learner.train(), module.method
    groups = method.parameter_groups(learner)
    optimizer = torch.optim.AdamW(groups, lr=1e-4, fused=True)
    images = torch.from_numpy(setting.images[: setting.recipe.batch_size]).to(setting.device)
    generator = torch.Generator(setting.device).manual_seed(0)
    times: dict[str, list[float]] = {}

    def timed(name: str, work: Callable[[], Any]) -> Any:
        start = setting.now()
        result = work()
        times.setdefault(name, []).append(1e3 * (setting.now() - start))
        return result

    for step in range(repeats + 1):
        views = timed("views", lambda: method.views(images, generator=generator))
        with setting.autocast():
            loss = timed("forward, with losses", lambda: method.losses(learner, views, step=step))["loss"]  # noqa: B023
        timed("backward", loss.backward)
        timed("clipping", lambda: method.before_optimizer(learner, step=step))  # noqa: B023
        timed("optimiser", optimizer.step)
        timed("teacher average", lambda: method.after_step(learner, step=step))  # noqa: B023
        optimizer.zero_grad(set_to_none=True)
        if step == 0:
            times.clear()
    parts = {name: median(values) for name, values in times.items()}
    return {**parts, "forward and backward, bare": 1e3 * BareLoop(setting).seconds(repeats)}


def process_memory_of(name: str) -> float:
    """Return the peak memory of a process that runs one loop on the CPU, in MiB."""
    own = [word for word in sys.argv[1:] if word != "--quick"]
    command = [sys.executable, __file__, *own, "--only", name]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(found.stdout.split()[-1])


def measure_memory(setting: Setting, name: str) -> None:
    """Run a few steps of one loop, then print the peak memory of this process."""
    LOOPS[name](setting).seconds(2)
    print(peak_memory())


def peak_fraction(setting: Setting, rows: list[Row]) -> Row:
    """Return the FLOP per image and, for a known GPU, the fraction of its peak performance that each loop reaches."""
    flops = count_flops(setting.recipe)
    found: Row = {"flops_an_image": flops}
    if setting.device.type == "cuda":
        card = torch.cuda.get_device_name().lower()
        peak = next((hardware.peak for name, hardware in HARDWARE.items() if name in card), None)
        if peak is not None:
            found["peak"] = peak
            found["share_of_peak"] = {
                name: median_and_range([row[name] for row in rows])["median"] * flops / peak for name in rows[0]
            }
    return found


def describe_machine(setting: Setting) -> Row:
    """Return a record of the machine."""
    gpu = torch.cuda.get_device_name() if setting.device.type == "cuda" else "none"
    return {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load": os.getloadavg()[0],
        "gpu": gpu,
        "clock": "processor time" if setting.uses_processor_time else "wall time",
        "torch": torch.__version__,
    }


def format_report(found: Row) -> str:
    """Return the results as Markdown."""
    rows, setting = found["turns"], found["setting"]
    lines = [
        f"# Pretraining: {setting['encoder']}, recipe {setting['config']}, batch {setting['batch_size']}",
        "",
        ", ".join(f"{name} {value}" for name, value in found["machine"].items()),
        "",
        "| loop | images/s, median (range) | stellarfm is faster by | target | peak memory, MiB |",
        "|:--|--:|--:|--:|--:|",
    ]
    for name in rows[0]:
        rate, ratio = median_and_range([row[name] for row in rows]), found["ratios"].get(name)
        faster = f"{ratio['median']:.2f} ({ratio['least']:.2f} to {ratio['largest']:.2f})" if ratio else ""
        target = f"{TARGETS[name]:.1f}" if name in TARGETS else ""
        used = f"{found['memory_mib'][name]:.0f}" if name in found["memory_mib"] else ""
        spread = f"{rate['median']:.1f} ({rate['least']:.1f} to {rate['largest']:.1f})"
        lines.append(f"| {name} | {spread} | {faster} | {target} | {used} |")
    shares = found["utilisation"].get("share_of_peak")
    lines += ["", f"{found['peak_fraction']['flops_an_image']:.3g} FLOP an image-step."]
    if shares:
        lines += ["Of the peak: " + ", ".join(f"{name} {value:.0%}" for name, value in shares.items()) + "."]
    lines += ["", "| part of a step of ours, alone | ms |", "|:--|--:|"]
    lines += [f"| {name} | {value:.1f} |" for name, value in found["parts_ms"].items()]
    return "\n".join(lines) + "\n"


def main() -> None:
    options = parser().parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    setting = setting_of(options)
    if options.only:
        measure_memory(setting, options.only)
        return
    rounds, steps = (2, 2) if options.quick else (options.rounds, options.steps)
    loops, used = build(setting)
    if not (used or options.quick):
        used = {name: process_memory_of(name) for name in loops}
    rows = compare(setting, loops, rounds=rounds, steps=steps)
    found = {
        "setting": {
            **{kind: setting.recipe.plugin(kind) for kind in PLUGINS},
            "config": options.config,
            "batch_size": setting.recipe.batch_size,
        },
        "machine": describe_machine(setting),
        "turns": rows,
        "ratios": ratios(rows),
        "utilisation": peak_fraction(setting, rows),
        "parts_ms": step_parts(setting, repeats=2 if options.quick else 7),
        "memory_mib": used,
    }
    print(format_report(found))
    write_results(options.output, found, format_report(found))


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--config", default="tiny8-64", help="recipe")
    p.add_argument("--encoder", default=None)
    p.add_argument("--dataset", default=None)
    p.add_argument("--batch-size", type=int)
    p.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    p.add_argument("--threads", type=int, help="threads of torch")
    p.add_argument("--workers", type=int, default=0, help="worker processes of lightly on a GPU")
    p.add_argument("--rounds", type=int, default=7)
    p.add_argument("--steps", type=int, default=6, help="steps per loop and round")
    p.add_argument("--quick", action="store_true", help="two short rounds, to test the script")
    p.add_argument("--output", type=Path, help="path of the results without suffix")
    p.add_argument("--only", choices=LOOPS, help=argparse.SUPPRESS)
    return p


if __name__ == "__main__":
    main()
