"""Measure how predicted masses degrade when the test maps are worse than the training maps.

    python benchmarks/robustness.py --runs LABEL DIR [DIR ...] [--runs ...] [--imagenet FOLDER]

Stars and clouds are held out as in `benchmarks/encoders.py`, and scales, whitening and heads are fitted to clean
windows of the training side. The windows of the test side are

blurred   by a Gaussian beam of 2 pixels (standard deviation; 0.037 pc full width at half maximum in these windows):
          column densities are averaged, velocities are averaged with the column density as weight, and dispersions
          include the velocity scatter within the beam;
noisy     by 0.15 dex in column density and 0.2 km/s in velocity and dispersion, independently in each pixel.

Maps of the sky have both, and neither is known exactly. Both levels were chosen before any result was available. In
rows `learnt from maps alike` the training windows are degraded like the test windows: the best case of a known
degradation.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from astropy import units as u
from encoder_options import encoder_parser, parse_options, setting
from encoders import (
    PROFILES,
    SPLITS,
    ZOOMS,
    Windows,
    difference,
    feature_reader,
    format_difference,
    format_score,
    predict_fold,
    read_windows,
    sources_of_encoders,
    summarize_scores,
)
from results_file import write_results
from scipy.ndimage import gaussian_filter

from stellarfm.inference.encoding.radial_profiles import image_profiles
from stellarfm.inference.encoding.statistics import window_statistics
from stellarfm.maps import MapScaler, MapSet

#: Standard deviation of the beam in pixels, of the noise in dex and in km/s.
BEAM, DEX, SPEED = 2.0, 0.15, 0.2
TRAINED_ON_SAME = "learnt from maps alike"

#: Function that returns the features of a map set by readout, for a scaler.
Read = Callable[[MapSet, MapScaler], dict[str, np.ndarray]]


def blurred(clean: MapSet) -> MapSet:
    """Return all windows convolved with a beam; missing pixels have no weight."""
    valid = ~clean.mask
    density = np.where(valid, clean.column_density.value, 0.0)
    speed, spread = (np.where(valid, x.value, 0.0) for x in (clean.velocity, clean.velocity_dispersion))

    def beam(values: np.ndarray) -> np.ndarray:
        return gaussian_filter(values.astype(float), (0, BEAM, BEAM), mode="nearest")

    total, weight = beam(density), beam(valid)
    mean = beam(density * speed) / total
    square = beam(density * (speed**2 + spread**2)) / total
    return replace(
        clean,
        column_density=total / weight * clean.column_density.unit,
        velocity=mean * clean.velocity.unit,
        velocity_dispersion=np.sqrt(np.maximum(square - mean**2, 0.0)) * clean.velocity_dispersion.unit,
    )


def noisy(clean: MapSet) -> MapSet:
    """Return all windows with independent noise in each pixel."""
    rng = np.random.default_rng(0)
    shape = clean.column_density.shape
    return replace(
        clean,
        column_density=clean.column_density * 10 ** (DEX * rng.standard_normal(shape)),
        velocity=clean.velocity + SPEED * rng.standard_normal(shape) * u.km / u.s,
        velocity_dispersion=np.abs(clean.velocity_dispersion + SPEED * rng.standard_normal(shape) * u.km / u.s),
    )


#: Degradations of the test windows.
DEGRADATIONS: dict[str, Callable[[MapSet], MapSet]] = {"clean": lambda clean: clean, "blurred": blurred, "noisy": noisy}


def encoder_free_features() -> dict[str, Read]:
    """Return the features that need no encoder."""
    return {
        "hand-made statistics": lambda mapset, scaler: {"": window_statistics(mapset)},
        "radial profiles": lambda mapset, scaler: {"": image_profiles(scaler.transform(mapset))},
    }


def evaluate_degradations(
    read: Read, windows: Windows, degraded: dict[str, MapSet], *, boosting: bool
) -> dict[tuple, dict]:
    """Return (kind, readout, head) -> split -> predictions of all windows, shape (repeats, windows)."""
    known: dict[str, dict[str, np.ndarray]] = {}
    found: dict[tuple, dict[str, np.ndarray]] = {}
    for by in SPLITS:
        for repeat, folds in enumerate(windows.folds[by]):
            for fold in folds:
                scaler = windows.scaler(fold.train)
                key = str(scaler.to_config())
                if key not in known:
                    known[key] = read(windows.mapset, scaler)
                for kind, mapset in degraded.items():
                    parts = {name: X.copy() for name, X in known[key].items()}
                    if kind != "clean":
                        for name, values in read(mapset[fold.test], scaler).items():
                            parts[name][fold.test] = values
                    for (readout, head), values in predict_fold(parts, fold, windows, boosting=boosting).items():
                        empty = np.full((len(windows.folds[by]), len(windows.mass)), np.nan)
                        kept = found.setdefault((kind, readout, head), {}).setdefault(by, empty)
                        kept[repeat, fold.test] = values
    return found


def measure(windows: Windows, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yield one record per source, with the predictions of each seed."""
    degraded = {kind: make(windows.mapset) for kind, make in DEGRADATIONS.items()}
    for source, twin, makers in sources_of_encoders(windows, options):
        seeds: dict[tuple, dict[str, list]] = {}
        for make in makers:
            started = time.perf_counter()
            for key, by_split in evaluate_degradations(
                feature_reader(make(), (ZOOMS, PROFILES)), windows, degraded, boosting=False
            ).items():
                for by, values in by_split.items():
                    seeds.setdefault(key, {}).setdefault(by, []).append(values)
            print(f"{source}: {time.perf_counter() - started:.0f} s", flush=True)
        yield {"source": source, "twin": twin, "seeds": seeds}
    for source, read in encoder_free_features().items():
        boosting = source == "hand-made statistics"
        found = evaluate_degradations(read, windows, degraded, boosting=boosting)
        yield {"source": source, "twin": "", "seeds": {k: {by: [v] for by, v in x.items()} for k, x in found.items()}}
        trained_on_same: dict[tuple, dict[str, list]] = {}
        for kind in (kind for kind in DEGRADATIONS if kind != "clean"):
            same = Windows(degraded[kind], repeats=options.repeats)
            for (_, readout, head), by_split in evaluate_degradations(
                read, same, {"clean": degraded[kind]}, boosting=boosting
            ).items():
                trained_on_same[kind, readout, head] = {by: [values] for by, values in by_split.items()}
        yield {"source": f"{source}, {TRAINED_ON_SAME}", "twin": "", "seeds": trained_on_same}


def score_lines(records: list[dict[str, Any]], windows: Windows) -> list[dict[str, Any]]:
    """Return R2 of every source, readout, head and kind."""
    return [
        {
            "source": record["source"],
            "readout": readout,
            "head": head,
            "maps": kind,
            **summarize_scores(by_split, windows),
        }
        for record in records
        for (kind, readout, head), by_split in record["seeds"].items()
    ]


def gain_lines(records: list[dict[str, Any]], windows: Windows) -> list[dict[str, Any]]:
    """Return paired differences of trained weights from random ones and from radial profiles with the same head."""
    known = {record["source"]: record["seeds"] for record in records}
    lines = []
    for record in (record for record in records if record["twin"]):
        for (kind, readout, head), by_split in record["seeds"].items():
            for other, key in ((record["twin"], (kind, readout, head)), ("radial profiles", (kind, "", head))):
                line: dict[str, Any] = {"source": record["source"], "readout": readout, "head": head, "maps": kind}
                line["other"] = other
                for by, values in by_split.items():
                    line[by] = difference(np.concatenate(values), np.concatenate(known[other][key][by]), windows)
                lines.append(line)
    return lines


def format_report(found: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    setting = ", ".join(f"{name} {value}" for name, value in found["setting"].items())
    parts = ["# Masses of maps that are worse than those learnt from\n", f"{setting}.\n"]
    parts += ["R2 of log mass, in brackets the 95 % interval over stars, then each seed.\n"]
    parts += ["| features | readout | head | maps | by star | by cloud |", "| :-- | :-- | :-- | :-- | --: | --: |"]
    for line in found["scores"]:
        names = " | ".join(line[name] for name in ("source", "readout", "head", "maps"))
        parts.append(f"| {names} | {' | '.join(format_score(line[by]) for by in SPLITS)} |")
    parts += ["\n## Differences of R2, with 95 % intervals, paired over stars\n"]
    parts += ["| features | against | readout | head | maps | by star | by cloud |"]
    parts += ["| :-- | :-- | :-- | :-- | :-- | --: | --: |"]
    for line in found["gains"]:
        names = " | ".join(line[name] for name in ("source", "other", "readout", "head", "maps"))
        parts.append(f"| {names} | {' | '.join(format_difference(line[by]) for by in SPLITS)} |")
    return "\n".join(parts) + "\n"


def main() -> None:
    options = parse_options(encoder_parser(__doc__, results="robustness", per_star=4, repeats=1))
    windows = read_windows(options)
    records = list(measure(windows, options))
    found = {
        "setting": setting(windows.mapset, options),
        "runs": {label: folders for label, *folders in options.runs},
        "scores": score_lines(records, windows),
        "gains": gain_lines(records, windows),
    }
    write_results(options.output, found, format_report(found))
    print(format_report(found))


if __name__ == "__main__":
    main()
