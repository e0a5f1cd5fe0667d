"""Compare the projection with that of yt, and project ten million cells around a thousand stars.

    python benchmarks/projection.py [--quick] [--output benchmarks/results/projection]

The maps are column density, mean velocity and velocity dispersion in windows of 0.5 pc with 64 x 64 pixels around the
seven sinks of a RAMSES output, along x, y and z. yt is used as in its manual: one region per star, one projection per
map (integral, weighted mean, weighted second moment), and a fixed-resolution buffer. A faster variant with three
unweighted integrals in one projection is also timed. yt uses one core, stellarfm all of them, and one for comparison.
Runs alternate; the medians of wall and processor time are printed. Two comparisons:

- *projection*: without reading. stellarfm has the gas in memory; yt has its index and caches, but always reads the
  fields again for every region (from the page cache).
- *all*: from a path to maps, including opening, indexing and reading, for which stellarfm uses yt.

Importing and compiling are excluded; the time of compiling, which is spent once per machine, is printed separately.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from astropy import units as u
from astropy.table import QTable
from process_memory import peak_memory
from results_file import write_results

from stellarfm.simulations import GasBlock, InMemoryGas, Region, Snapshot, project
from stellarfm.simulations.deposition.moments import HYDROGEN_MASS

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "ramses" / "output_00007"
PIXELS, WIDTH = 64, 0.5
BOX = 4.0

Row = dict[str, Any]


def opened(path: Path) -> Any:
    """Return a yt dataset with its index and the integrands of the faster variant."""
    import yt

    yt.set_log_level(50)
    dataset = yt.load(str(path / f"info_{path.name[-5:]}.txt"))
    for axis in "xyz":
        for power in (1, 2):
            dataset.add_field(
                ("gas", f"flux{power}_{axis}"),
                function=lambda field, data, axis=axis, power=power: (
                    data["gas", "density"] * data["gas", f"velocity_{axis}"] ** power
                ),
                sampling_type="cell",
                units="auto",
                dimensions=dataset.unit_system["density"].units.dimensions
                * dataset.unit_system["velocity"].units.dimensions ** power,
            )
    assert len(dataset.index.domains) > 0  # builds the index, which yt defers
    return dataset


def around(dataset: Any, centre: np.ndarray, width: float) -> Any:
    """Return a region with the size of the window."""
    middle, half = dataset.arr(centre, "pc"), dataset.quan(width / 2, "pc")
    return dataset.region(middle, middle - half, middle + half)


def buffers(fields: list, axis: str, region: Any, **options: Any) -> list[np.ndarray]:
    """Return fixed-resolution buffers of one projection.

    The axes of the images are those of stellarfm: images of yt are transposed, except along y, where its first axis is
    z.
    """
    plot = region.ds.proj(fields, axis, data_source=region, **options)
    width = region.right_edge[0] - region.left_edge[0]
    buffer = plot.to_frb(width, PIXELS, center=region.center)
    images = [np.asarray(buffer[field].in_cgs()) for field in fields]
    return [image if axis == "y" else image.T for image in images]


def yt_maps(dataset: Any, centres: np.ndarray, *, width: float = WIDTH) -> np.ndarray:
    """Return column (g/cm2), velocity and dispersion (cm/s), shape (stars, axes, 3, pixels, pixels)."""
    density, result = ("gas", "density"), []
    for centre in centres:
        region = around(dataset, centre, width)
        for axis in "xyz":
            velocity = [("gas", f"velocity_{axis}")]
            result += buffers([density], axis, region)
            result += buffers(velocity, axis, region, weight_field=density)
            result += buffers(velocity, axis, region, weight_field=density, moment=2)
    return np.array(result).reshape(len(centres), 3, 3, PIXELS, PIXELS)


def yt_maps_frugal(dataset: Any, centres: np.ndarray) -> np.ndarray:
    """Return the same from integrals of density times powers 0, 1 and 2 of velocity, in one projection."""
    result = []
    for centre in centres:
        region = around(dataset, centre, WIDTH)
        for axis in "xyz":
            fields = [("gas", "density"), ("gas", f"flux1_{axis}"), ("gas", f"flux2_{axis}")]
            column, flux, square = buffers(fields, axis, region)
            mean = flux / column
            result += [column, mean, np.sqrt(np.maximum(square / column - mean**2, 0))]
    return np.array(result).reshape(len(centres), 3, 3, PIXELS, PIXELS)


def read(path: Path) -> Snapshot:
    """Return the snapshot, with its gas in the file."""
    from stellarfm.readers.simulation_outputs import YTReader

    return YTReader().read(path)


def in_memory(snapshot: Snapshot) -> Snapshot:
    """Return the snapshot with all gas in memory."""
    assert snapshot.gas is not None
    blocks = list(snapshot.gas.blocks([Region(snapshot.lower.value, snapshot.upper.value)]))
    parts = ("position", "size", "mass", "velocity")
    whole = GasBlock(*(np.concatenate([getattr(block, name) for block in blocks]) for name in parts))
    return replace(snapshot, gas=InMemoryGas(whole, snapshot.gas.kind))


def our_maps(snapshot: Snapshot, *, width: float = WIDTH, **options: Any) -> np.ndarray:
    """Return column (g/cm2), velocity and dispersion (cm/s), with the shape of `yt_maps`."""
    maps = project(snapshot, width=width * u.pc, pixels=PIXELS, cell_size=False, **options)
    column = maps.column_density.to_value(u.cm**-2) * (maps.mass_per_hydrogen * HYDROGEN_MASS).to_value(u.g)
    speeds = [quantity.to_value(u.cm / u.s) for quantity in (maps.velocity, maps.velocity_dispersion)]
    return np.stack([column, *speeds], axis=1).reshape(-1, 3, 3, PIXELS, PIXELS)


def alternated(contestants: dict[str, Callable[[], Any]], repeats: int) -> dict[str, np.ndarray]:
    """Return median wall and processor time of each contestant in s; they alternate after a warm-up."""
    times: dict[str, list] = {name: [] for name in contestants}
    for run in range(repeats + 1):
        for name, contestant in contestants.items():
            start = np.array([time.perf_counter(), time.process_time()])
            contestant()
            if run:
                times[name].append(np.array([time.perf_counter(), time.process_time()]) - start)
    return {name: np.median(values, axis=0) for name, values in times.items()}


def compiling() -> float:
    """Return the time of the first projections of a process in s: compiling, or loading compiled code."""
    start = time.perf_counter()
    for options in ({}, {"directions": 1}):
        project(synthetic_snapshot(8**3, 1), pixels=4, **options)
    return time.perf_counter() - start


def against_yt(path: Path, *, repeats: int) -> list[Row]:
    """Return the times for the maps of all sinks and axes."""
    snapshot = read(path)
    centres = np.stack([snapshot.stars[axis].value for axis in "xyz"], axis=1)
    dataset, gas = opened(path), in_memory(snapshot)
    projection = alternated(
        {
            "stellarfm": lambda: our_maps(gas),
            "stellarfm, one thread": lambda: our_maps(gas, threads=1),
            "yt": lambda: yt_maps(dataset, centres),
            "yt, frugal": lambda: yt_maps_frugal(dataset, centres),
        },
        repeats,
    )
    everything = alternated(
        {
            "stellarfm": lambda: our_maps(read(path)),
            "yt": lambda: yt_maps(opened(path), centres),
            "yt, frugal": lambda: yt_maps_frugal(opened(path), centres),
        },
        repeats,
    )
    return [row for what, times in (("projection", projection), ("all", everything)) for row in rows(what, times)]


def rows(what: str, times: dict[str, np.ndarray]) -> list[Row]:
    """Return one row per contestant, with ratios to the times of stellarfm."""
    return [
        {
            "comparison": what,
            "contestant": name,
            "wall": float(seconds[0]),
            "processor": float(seconds[1]),
            "wall_ratio": float(seconds[0] / times["stellarfm"][0]),
            "processor_ratio": float(seconds[1] / times["stellarfm"][1]),
        }
        for name, seconds in times.items()
    ]


def agreement(path: Path) -> list[Row]:
    """Return the largest difference from yt relative to the largest value, for windows that cut no cell."""
    snapshot, dataset = read(path), opened(path)
    coarse = snapshot.extent.value[0] / 32
    places = np.stack([snapshot.stars[axis].value for axis in "xyz"], axis=1)
    centres = np.unique(np.clip(np.round(places / coarse), 2, 30), axis=0) * coarse
    ours = our_maps(snapshot, positions=centres * u.pc, width=4 * coarse)
    yts = yt_maps(dataset, centres, width=4 * coarse)
    worst = [np.max(np.abs(ours - yts)[:, :, k]) / np.max(np.abs(yts[:, :, k])) for k in range(3)]
    return [
        {"map": name, "difference": float(value)} for name, value in zip(("column", "velocity", "dispersion"), worst)
    ]


def synthetic_snapshot(n_cells: int, n_stars: int, *, seed: int = 0) -> Snapshot:
    """Return stars in twenty clusters, and a mesh of two levels that is refined around the clusters."""
    rng = np.random.default_rng(seed)
    side = max(4, round((n_cells / 2.4) ** (1 / 3)))
    clusters = rng.random((20, 3)) * BOX
    stars = (clusters[rng.integers(20, size=n_stars)] + rng.normal(0, 0.15, (n_stars, 3))) % BOX
    line = (np.arange(side) + 0.5) * BOX / side
    coarse = np.stack(np.meshgrid(line, line, line, indexing="ij"), axis=-1).reshape(-1, 3)
    nearest = np.full(len(coarse), np.inf)
    for cluster in clusters:
        offset = np.abs(coarse - cluster)
        nearest = np.minimum(nearest, np.sum(np.minimum(offset, BOX - offset) ** 2, axis=1))
    n_refined = max(0, (n_cells - len(coarse)) // 7)
    refined = np.zeros(len(coarse), dtype=bool)
    refined[np.argpartition(nearest, n_refined)[:n_refined]] = True
    return _two_levels(coarse, refined, BOX / side, stars, rng)


def _two_levels(
    coarse: np.ndarray, refined: np.ndarray, size: float, stars: np.ndarray, rng: np.random.Generator
) -> Snapshot:
    corner = np.array([(i, j, k) for i in (-1, 1) for j in (-1, 1) for k in (-1, 1)]) * size / 4
    n_fine = 8 * int(refined.sum())
    position = np.empty((n_fine + int((~refined).sum()), 3))
    position[:n_fine] = (coarse[refined][:, None] + corner).reshape(-1, 3)
    position[n_fine:] = coarse[~refined]
    sizes = np.where(np.arange(len(position)) < n_fine, size / 2, size)
    gas = GasBlock(position, sizes, sizes**3 * rng.lognormal(size=len(sizes)), rng.normal(size=position.shape))
    table = QTable({"star": np.arange(len(stars)), **{axis: stars[:, k] * u.pc for k, axis in enumerate("xyz")}})
    return Snapshot(
        stars=table, gas=InMemoryGas(gas), lower=np.zeros(3) * u.pc, upper=np.full(3, BOX) * u.pc, periodic=(True,) * 3
    )


def measured_synthetic(n_cells: int, n_stars: int, options: dict) -> Row:
    """Return time and peak memory of a projection; runs in its own process."""
    compiling()
    snapshot = synthetic_snapshot(n_cells, n_stars)
    gas = snapshot.gas.gas  # type: ignore[union-attr]
    held = sum(getattr(gas, name).nbytes for name in ("position", "size", "mass", "velocity"))
    before = peak_memory()
    start = time.perf_counter()
    maps = project(snapshot, **options)
    return {
        "cells": len(gas),
        "windows": len(maps),
        "sights": "oblique" if "directions" in options else "axes",
        "seconds": time.perf_counter() - start,
        "gas_mb": held / 2**20,
        "before_mb": before,
        "peak_mb": peak_memory(),
    }


def synthetic(n_cells: int, n_stars: int) -> list[Row]:
    """Measure projections along the axes and in three random directions."""
    found = []
    for options in ({}, {"directions": 3}):
        command = [sys.executable, __file__, "--synthetic", json.dumps([n_cells, n_stars, options])]
        found.append(json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
    return found


def report(found: dict) -> str:
    """Return the results as Markdown."""
    lines = [f"Machine: {found['machine']}", "", f"Compiling, once a machine: {found['compiling']:.1f} s", ""]
    lines += ["| comparison | contestant | wall (s) | processor (s) | wall ratio | processor ratio |"]
    lines += ["|---|---|---|---|---|---|"]
    lines += [
        f"| {row['comparison']} | {row['contestant']} | {row['wall']:.3f} | {row['processor']:.3f} "
        f"| {row['wall_ratio']:.2f} | {row['processor_ratio']:.2f} |"
        for row in found["against_yt"]
    ]
    lines += ["", "Largest difference to yt where yt is exact, over the largest value of the map:", ""]
    lines += [f"- {row['map']}: {row['difference']:.1e}" for row in found["agreement"]]
    lines += [
        "",
        "Peak memory is that of the process, with Python, the gas and all maps; before: without the projection.",
        "",
    ]
    lines += ["| cells | windows | lines of sight | seconds | gas (MiB) | before (MiB) | peak (MiB) |"]
    lines += ["|---|---|---|---|---|---|---|"]
    lines += [
        f"| {row['cells']} | {row['windows']} | {row['sights']} | {row['seconds']:.1f} | {row['gas_mb']:.0f} "
        f"| {row['before_mb']:.0f} | {row['peak_mb']:.0f} |"
        for row in found["synthetic"]
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, print, and write the results if an output is given."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=DATA, help="RAMSES output with sinks")
    parser.add_argument("--quick", action="store_true", help="fewer repeats, 300,000 cells and 50 stars")
    parser.add_argument("--output", type=Path, help="write NAME.json and NAME.md")
    parser.add_argument("--synthetic", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.synthetic:
        print(json.dumps(measured_synthetic(*json.loads(arguments.synthetic))))
        return
    found = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "compiling": compiling(),
        "against_yt": against_yt(arguments.data, repeats=1 if arguments.quick else 5),
        "agreement": agreement(arguments.data),
        "synthetic": synthetic(*((300_000, 50) if arguments.quick else (10_000_000, 1000))),
    }
    print(report(found))
    write_results(arguments.output, found, report(found))


if __name__ == "__main__":
    main()
