"""Speed of the fractal renderers: against flam3, per accepted image, with cores, points and size, and on a GPU.

    python benchmarks/fractals.py [--quick] [--output benchmarks/results/fractals]

Ratios are taken between alternating runs. Rates of one core are points per processor second, from the difference
between many and few points, so that neither the start of a program nor the conversion to an image counts. flam3 always
computes colors, and converts its buffer to an image with density estimation and supersampling disabled.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections.abc import Callable
from itertools import accumulate
from pathlib import Path
from typing import Any

import flam3
import numpy as np
from results_file import write_results
from scipy.stats import spearmanr

from stellarfm.fractals import (
    FlameDataset,
    FlameMap,
    FractalDataset,
    FractalDBDataset,
    Genome,
    IFSDataset,
    sample_genome,
)
from stellarfm.fractals.acceptance import Costs, contrast, coverage, stages
from stellarfm.fractals.candidate_search import try_candidate
from stellarfm.fractals.export import GenerationTask, generate
from stellarfm.fractals.export.image_encoding import gzip_chunk
from stellarfm.fractals.rendering import FIXED_WINDOW, compile_genome, render
from stellarfm.parallel import available_cores

SIZE = 336
#: Points per second of an H200 limited by arithmetic alone.
CEILING = 3e11
#: A million 336-pixel images of a million points in three minutes.
TARGET_IMAGES, TARGET_POINTS = 1_000_000, 1_000_000

Row = dict[str, Any]


def affine_genome() -> Genome:
    """Return a genome of four affine maps."""
    return sample_genome("ifs", seed=1, index=3)


def varied_genome() -> Genome:
    """Return the genome of `affine_genome` with two variations per map."""
    pairs = (("spherical", "linear"), ("sinusoidal", "swirl"), ("julia", "bubble"), ("horseshoe", "polar"))
    maps = affine_genome().maps
    return Genome(
        maps=tuple(
            FlameMap(
                affine=a_map.affine,
                variations=tuple((name, 0.5) for name in pairs[number % len(pairs)]),
                probability=a_map.probability,
                color=a_map.color,
            )
            for number, a_map in enumerate(maps)
        )
    )


def genomes(quick: bool) -> dict[str, Genome]:
    """Return the genomes that both programs render, by name."""
    drawn = {} if quick else {f"flames {index}": FlameDataset(size=64).render(index).genome for index in range(4)}
    return {"affine": affine_genome(), "two variations": varied_genome(), **drawn}


def our_seconds(genome: Genome, points: int, *, color: bool) -> float:
    """Return the processor seconds of one rendering."""
    program = compile_genome(genome)
    start = time.process_time()
    render(program, FIXED_WINDOW, size=SIZE, points=points, color=color)
    return time.process_time() - start


def against_flam3(quick: bool) -> list[Row]:
    """Points per second on one core, ours and flam3's, with the ratios of grayscale and of color to flam3's color."""
    few, many = (20, 60) if quick else (20, 220)
    return [_compare(name, genome, few, many, 2 if quick else 5) for name, genome in genomes(quick).items()]


def _compare(name: str, genome: Genome, few: int, many: int, repeats: int) -> Row:
    """Compare one genome; `few` and `many` are points per pixel."""
    runs: dict[str, Callable[[int], float]] = {
        "flam3": lambda quality: flam3.run(genome, size=SIZE, quality=quality)[1],
        "grey": lambda quality: our_seconds(genome, quality * SIZE**2, color=False),
        "colour": lambda quality: our_seconds(genome, quality * SIZE**2, color=True),
    }
    for seconds in runs.values():
        seconds(few)
    best = {(kind, q): np.inf for kind in runs for q in (few, many)}
    for _ in range(repeats):
        for kind, quality in best:
            best[kind, quality] = min(best[kind, quality], runs[kind](quality))
    rate = {kind: (many - few) * SIZE**2 / (best[kind, many] - best[kind, few]) / 1e6 for kind in runs}
    return {
        "genome": name,
        "flam3 Mpoints/s": rate["flam3"],
        "grey Mpoints/s": rate["grey"],
        "colour Mpoints/s": rate["colour"],
        "grey / flam3": rate["grey"] / rate["flam3"],
        "colour / flam3": rate["colour"] / rate["flam3"],
        "same picture (rank r)": agreement(genome, many),
    }


def agreement(genome: Genome, quality: int) -> float:
    """Return the rank correlation of the brightness of both images, where that of flam3 is not saturated."""
    theirs = flam3.run(genome, size=SIZE, quality=quality)[0].mean(axis=-1)
    ours = render(compile_genome(genome), FIXED_WINDOW, size=SIZE, points=quality * SIZE**2)[..., 0]
    inside = (theirs < 255) & (ours > 0)
    return float(spearmanr(theirs[inside], ours[inside]).statistic)


def accepted_images(quick: bool) -> list[Row]:
    """Images a second on one core by way of the dataset, what share of the candidates they are, and what they cost."""
    cases = [{"size": 64, "threshold": t} for t in (0.8, 0.5)]
    cases += [] if quick else [{"size": 336}, {"size": 336, "points": 1_000_000}]
    return [_accept(case, 20 if quick else 200 if case["size"] == 64 else 50) for case in cases]


def _accept(options: dict[str, Any], count: int) -> Row:
    """Measure one set of options."""
    dataset, costs = FlameDataset(**options), Costs()
    dataset.render(0)
    start = time.process_time()
    for index in range(count):
        item = dataset.render(index)
        costs.add(candidates=item.attempts, renders=item.renders)
    seconds = time.process_time() - start
    return {
        "size": dataset.size,
        "points": dataset.n_points,
        "threshold": dataset.threshold,
        "images": count,
        "images/s": count / seconds,
        "accepted": costs.images / costs.candidates,
        "renders an image (work)": costs.renders / costs.images,
    }


def by_window(quick: bool) -> list[Row]:
    """Fraction of random genomes accepted in each window, at 64 pixels."""
    samplers = (FlameDataset, IFSDataset, FractalDBDataset)
    windows = ("fixed", "quantile", "box")
    return [_share(sampler, window, 60 if quick else 400) for sampler in samplers for window in windows]


def _share(dataset: type[FractalDataset], window: str, count: int) -> Row:
    """Measure one sampler in one window."""
    row: Row = {"sampler": dataset.sampler, "window": window}
    for threshold in (0.8, 0.5, 0.2):
        images = dataset(window=window, threshold=threshold)
        accepted = sum(
            try_candidate(images, images.candidate(index, attempt=0)).histogram is not None for index in range(count)
        )
        row[f"accepted at {threshold}"] = accepted / count
    return row


def cheap_tests(quick: bool) -> list[Row]:
    """Fraction of good frames rejected by the coarse stages at 0.8, and cost per image in points and in work."""
    cases = [(64, 60_000, 100 if quick else 600)] + ([] if quick else [(336, 1_000_000, 250)])
    return [_lost(size, points, count) for size, points, count in cases]


def _lost(size: int, points: int, count: int) -> Row:
    """Measure one size, over the first candidates of `count` images."""
    dataset = FlameDataset(size=size, points=points)
    cascade = stages(size=size, points=points, threshold=dataset.threshold)
    drawn = dict(zip(accumulate(s.work for s in cascade), accumulate(s.points for s in cascade), strict=True))
    good = kept = spent = paid = 0
    for index in range(count):
        genome = dataset.genome(index)
        trial = try_candidate(dataset, dataset.compile(genome))
        spent += trial.work
        paid += drawn[trial.work]
        kept += trial.histogram is not None
        untested = render(compile_genome(genome), FIXED_WINDOW, size=size, points=points)[..., 0]
        good += bool(coverage(untested) >= dataset.threshold and contrast(untested) >= dataset.contrast)
    return {
        "size": size,
        "points": points,
        "candidates": count,
        "good": good,
        "lost": (good - kept) / good,
        "renders an image (points)": paid / points / kept,
        "renders an image (work)": spent / dataset.full_frame.work / kept,
    }


def with_cores(quick: bool) -> list[Row]:
    """Images a second of ``stellarfm fractals`` (64 pixels) with 1, 2, 4, ... processes, by the clock, once all run."""
    cores = available_cores()
    workers = sorted({1, cores, *(2**k for k in range(1, 10) if 2**k < cores)})
    rates = {n: _production_rate(n, 3 if quick else 15) for n in workers}
    return [{"processes": n, "images/s": rate, "speed-up": rate / rates[1]} for n, rate in rates.items()]


def _production_rate(workers: int, seconds: float) -> float:
    """Return images per second, excluding the first seconds in which processes start."""
    encoded_images = generate(GenerationTask(FlameDataset(), gzip_chunk), count=FlameDataset().count, workers=workers)
    for duration in (max(seconds / 2, 5), seconds):
        images, start = 0, time.perf_counter()
        while time.perf_counter() - start < duration:
            next(encoded_images)
            images += 1
        rate = images / (time.perf_counter() - start)
    if workers > 1:
        encoded_images.close()
    return rate


def with_points_and_size(quick: bool) -> list[Row]:
    """Points a second on one core, greyscale, as the number of points and the image grow."""
    points = [10**k for k in ((4, 5) if quick else (4, 5, 6, 7))]
    sizes = (64, 336) if quick else (32, 64, 128, 336, 1024, 4096)
    cases = [(SIZE, n) for n in points] + [(size, points[-1]) for size in sizes]
    return [{"size": size, "points": n, "Mpoints/s": _rate(size, n) / 1e6} for size, n in cases]


def _rate(size: int, points: int) -> float:
    """Return points per processor second, the best of a few runs; short ones are repeated."""
    program, times = compile_genome(varied_genome()), []
    repeats = max(1, 1_000_000 // points)
    for _ in range(4):
        start = time.process_time()
        for _ in range(repeats):
            render(program, FIXED_WINDOW, size=size, points=points, color=False)
        times.append((time.process_time() - start) / repeats)
    return points / min(times[1:])


def on_a_gpu(quick: bool) -> list[Row]:
    """Points a second and accepted images on the GPU, as a share of the ceiling; empty without one."""
    import torch

    if not torch.cuda.is_available():
        return []
    batches = [64] if quick else [64, 256, 1024]
    return [_gpu_rate(batch, color) for batch in batches for color in (False, True)] + [_gpu_images(batches[-1])]


def _gpu_rate(batch: int, color: bool) -> Row:
    """Measure full frames only, without candidate search and tone mapping."""
    import torch

    from stellarfm.fractals.rendering import render_batch

    dataset = FlameDataset(size=64)
    programs = [compile_genome(dataset.genome(index)) for index in range(batch)]
    seconds = []
    for _ in range(4):
        torch.cuda.synchronize()
        start = time.perf_counter()
        options = {"size": SIZE, "points": TARGET_POINTS, "seeds": [0] * batch, "device": "cuda", "color": color}
        render_batch(programs, [FIXED_WINDOW] * batch, **options)
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    rate = batch * TARGET_POINTS / min(seconds[1:])
    minutes = TARGET_IMAGES * TARGET_POINTS / rate / 60
    return {
        "what": f"frames of a million points, {'color' if color else 'grey'}",
        "batch": batch,
        "points/s": rate,
        "of the ceiling": rate / CEILING,
        "minutes for a million images": minutes,
    }


def _gpu_images(batch: int) -> Row:
    """Measure accepted images, including candidate search and tone mapping."""
    import torch

    dataset = FlameDataset(size=SIZE, points=TARGET_POINTS)
    dataset.images(range(batch), device="cuda")
    torch.cuda.synchronize()
    start = time.perf_counter()
    dataset.images(range(batch, 2 * batch), device="cuda")
    torch.cuda.synchronize()
    seconds = time.perf_counter() - start
    rate = batch * TARGET_POINTS / seconds
    return {
        "what": "accepted images, all included",
        "batch": batch,
        "points/s": rate,
        "of the ceiling": rate / CEILING,
        "minutes for a million images": TARGET_IMAGES / batch * seconds / 60,
    }


PARTS: dict[str, Callable[[bool], list[Row]]] = {
    "One core against flam3": against_flam3,
    "Accepted images on one core": accepted_images,
    "Windows": by_window,
    "What the cheap tests lose": cheap_tests,
    "Scaling with cores": with_cores,
    "Scaling with points and size, one core": with_points_and_size,
    "GPU": on_a_gpu,
}
SKIPPED = {
    "One core against flam3": f"skipped: {flam3.PROGRAM} is not installed (Debian: flam3-utils)",
    "GPU": "skipped: torch sees no GPU here, nothing was measured",
}


def table(rows: list[Row]) -> str:
    """Return rows as a Markdown table."""
    lines = [" | ".join(rows[0]), " | ".join("---" for _ in rows[0])]
    lines += [" | ".join(_cell(value) for value in row.values()) for row in rows]
    return "\n".join(f"| {line} |" for line in lines)


def _cell(value: Any) -> str:
    """Return a value as text, floats with three digits."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def main() -> None:
    """Measure, print and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a minute instead of ten; the numbers are rough")
    parser.add_argument("--output", type=Path, help="write NAME.json and NAME.md")
    args = parser.parse_args()
    load = os.getloadavg()[0]
    machine = f"{platform.machine()}, {os.cpu_count()} cores, load {load:.1f}, python {platform.python_version()}"
    found: dict[str, list[Row]] = {}
    text = [f"# Fractals\n\n`python benchmarks/fractals.py{' --quick' if args.quick else ''}` on {machine}"]
    print(text[0])
    for title, measure in PARTS.items():
        missing = title == "One core against flam3" and not flam3.available()
        found[title] = [] if missing else measure(args.quick)
        summary = " ".join((measure.__doc__ or "").split())
        text.append(f"## {title}\n\n{summary}\n\n{table(found[title]) if found[title] else SKIPPED[title]}")
        print(f"\n{text[-1]}", flush=True)
    write_results(args.output, {"machine": machine, **found}, "\n\n".join(text) + "\n")


if __name__ == "__main__":
    main()
