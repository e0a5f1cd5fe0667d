"""Investigate why pretraining hardly improves masses, and where it does.

    python benchmarks/pretraining_value.py --runs LABEL DIR [DIR ...] [--runs ...] [--imagenet FOLDER] \
        [--galaxies FOLDER]

Every encoder is compared with random weights of its architecture, as in `benchmarks/encoders.py` (features at three
zooms; R2 of log mass on held-out stars and on held-out clouds), in four further experiments:

directions   Features of a patch are restricted to a few principal components of patches of flames. Information that
             pretraining has concentrated should fit into few components; that of random weights should not.
projections  Features are projected to the directions that vary most between stars relative to the scatter within them
             (lines of sight and times of one star). This uses the identities of the training stars: more than
             pretraining can learn without labels.
scales       The scales of the maps, by default those of the training windows, may differ in a new cloud. The
             "window scales" subtract the medians of log column density and log dispersion of each window; "own scales"
             are fitted to the windows of each cloud, which requires many windows, but no mass. Applied to radial
             profiles too.
galaxies     Ring galaxies are classified from whitened image features (accuracy in five fixed folds, with 15
             neighbors): real images, and a task that is not a radial profile.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import Table
from encoder_options import encoder_parser, parse_options, setting
from encoders import (
    HEADS,
    SPLITS,
    Windows,
    difference,
    encoder_features,
    flames,
    format_difference,
    read_windows,
    sources_of_encoders,
    summarize_scores,
    whitened,
)
from PIL import Image
from results_file import write_results
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from stellarfm.evaluation.mass_probe import rounded_scales
from stellarfm.evaluation.splits import Fold
from stellarfm.inference.encoding.features import Readout, extract_patches
from stellarfm.inference.encoding.radial_profiles import image_profiles
from stellarfm.maps import MapScaler

DIRECTIONS = (4, 8, 16)
#: Number of components of the features, and of their discriminant components.
N_COMPONENTS, N_DISCRIMINANTS = 24, (8, 16)
SHRINKAGE = 0.1


def predict_fold(Z: np.ndarray, fold: Fold, windows: Windows, head: str) -> np.ndarray:
    """Return log10 masses of the test side from components that are already whitened."""
    log_mass, stars = np.log10(windows.mass[fold.train]), windows.stars[fold.train]
    return clone(HEADS[head][1]).fit(Z[fold.train], log_mass, stars=stars).predict(Z[fold.test])


def flame_directions(encoder: Any) -> PCA:
    """Return standardization and principal components, fitted to patches of flames."""
    patches = extract_patches(encoder, flames().numpy()).reshape(-1, encoder.embed_dim)
    return make_pipeline(StandardScaler(), PCA(max(DIRECTIONS), svd_solver="randomized", random_state=0)).fit(patches)


def discriminant_components(Z: np.ndarray, train: np.ndarray, stars: np.ndarray, left: int) -> np.ndarray:
    """Return the `left` components with the largest ratio of scatter between training stars to scatter within them.

    Every star has the same weight; the scatter within stars is shrunk towards a sphere by `SHRINKAGE`.
    """
    _, star, count = np.unique(stars[train], return_inverse=True, return_counts=True)
    means = np.stack([np.bincount(star, column) / count for column in Z[train].T], axis=1)
    residual = Z[train] - means[star]
    within = (residual / count[star, None]).T @ residual / len(count)
    within = (1 - SHRINKAGE) * within + SHRINKAGE * np.trace(within) / len(within) * np.eye(len(within))
    sphere = np.linalg.cholesky(np.linalg.inv(within))
    _, rotation = np.linalg.eigh(sphere.T @ np.cov(means.T) @ sphere)
    projected = Z @ sphere @ rotation[:, ::-1][:, :left]
    return projected / projected[train].std(axis=0).mean()


#: Function that returns the features of all windows for a scaler.
Extract = Callable[[MapScaler], np.ndarray]


def other_scales(extract: Extract, windows: Windows) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """Return functions of the training rows that compute features with the scales of each window or cloud."""
    clouds = windows.mapset.simulations
    references = {"column_reference": "window", "dispersion_reference": "window"}

    def by_window(train: np.ndarray) -> np.ndarray:
        return extract(rounded_scales(MapScaler(**references).fit(windows.mapset[train])))

    @cache
    def by_cloud() -> np.ndarray:
        parts = [np.flatnonzero(clouds == cloud) for cloud in np.unique(clouds)]
        values = [extract(rounded_scales(MapScaler().fit(windows.mapset[part])))[part] for part in parts]
        return np.concatenate(values)[np.argsort(np.concatenate(parts))]

    return {"window scales": by_window, "own scales": lambda train: by_cloud()}


def evaluate_questions(
    extract: Extract, windows: Windows, encoder: Any = None
) -> dict[tuple[str, str], dict[str, np.ndarray]]:
    """Return (question, head) -> split -> predictions of all windows, shape (repeats, windows)."""
    directions = flame_directions(encoder) if encoder is not None else None
    scales = other_scales(extract, windows)
    found: dict[tuple[str, str], dict[str, np.ndarray]] = {}
    for by in SPLITS:
        for repeat, folds in enumerate(windows.folds[by]):
            for fold in folds:
                X = extract(windows.scaler(fold.train))
                Z = {"all": whitened(X, fold.train)[:, :N_COMPONENTS]}
                if directions is not None:
                    few = directions.transform(X.reshape(-1, encoder.embed_dim)).reshape(len(X), -1, max(DIRECTIONS))
                    Z |= {
                        f"{d} directions": whitened(few[..., :d].reshape(len(X), -1), fold.train)[:, :N_COMPONENTS]
                        for d in DIRECTIONS
                    }
                    Z |= {
                        f"alike, {left}": discriminant_components(Z["all"], fold.train, windows.stars, left)
                        for left in N_DISCRIMINANTS
                    }
                Z |= {name: whitened(read(fold.train), fold.train)[:, :N_COMPONENTS] for name, read in scales.items()}
                for question, values in Z.items():
                    for head in HEADS:
                        empty = np.full((len(windows.folds[by]), len(X)), np.nan)
                        kept = found.setdefault((question, head), {}).setdefault(by, empty)
                        kept[repeat, fold.test] = predict_fold(values, fold, windows, head)
    return found


def zoom_features(encoder: Any, windows: Windows) -> Extract:
    """Return a function that computes the features of an encoder at three zooms."""
    extract = encoder_features(encoder, windows)
    return lambda scaler: extract(scaler)["zooms"]


class Galaxies:
    """Real galaxies, half of them with rings, in fixed folds."""

    def __init__(self, folder: Path, *, side: int = 64) -> None:
        catalogue = Table.read(folder / "catalogue.csv")
        self.ring = np.asarray(catalogue["ring"]) > 0
        images = [Image.open(folder / name).convert("RGB").resize((side, side)) for name in catalogue["file_loc"]]
        self.images = ((np.stack(images).transpose(0, 3, 1, 2) / 255 - 0.5) / 0.2).astype(np.float32)
        self.fold = np.empty(len(self.ring), int)
        for kind in (self.ring, ~self.ring):
            self.fold[kind] = np.random.default_rng(0).permutation(int(kind.sum())) % 5

    def classified_correctly(self, encoder: Any) -> np.ndarray:
        """Return 1 for each galaxy that is classified correctly by galaxies of other folds, else 0."""
        X = Readout(pooling=("class",)).extract(encoder, self.images)
        right = np.zeros(len(X))
        for number in range(5):
            rest, test = self.fold != number, self.fold == number
            model = make_pipeline(
                StandardScaler(), PCA(N_COMPONENTS, whiten=True, random_state=0), KNeighborsClassifier(n_neighbors=15)
            )
            right[test] = model.fit(X[rest], self.ring[rest]).predict(X[test]) == self.ring[test]
        return right


def accuracy(right: np.ndarray) -> dict[str, Any]:
    """Return the mean over galaxies and seeds, its 95 % bootstrap interval over galaxies, and that of each seed."""
    mean = right.mean(axis=0)
    draws = np.random.default_rng(0).integers(len(mean), size=(4000, len(mean)))
    low, high = np.percentile(mean[draws].mean(axis=1), [2.5, 97.5])
    seeds = [float(seed.mean()) for seed in right]
    return {"share": float(mean.mean()), "low": float(low), "high": float(high), "seeds": seeds}


def measure(windows: Windows, galaxies: Galaxies | None, options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Yield one record per encoder, with the predictions of each seed."""
    for source, twin, makers in sources_of_encoders(windows, options):
        seeds: dict[tuple[str, str], dict[str, list]] = {}
        right = []
        for make in makers:
            started, encoder = time.perf_counter(), make()
            for key, by_split in evaluate_questions(zoom_features(encoder, windows), windows, encoder).items():
                for by, values in by_split.items():
                    seeds.setdefault(key, {}).setdefault(by, []).append(values)
            if galaxies is not None:
                right.append(galaxies.classified_correctly(encoder))
            print(f"{source}: {time.perf_counter() - started:.0f} s", flush=True)
        yield {"source": source, "twin": twin, "seeds": seeds, "right": np.array(right)}
    found = evaluate_questions(lambda scaler: image_profiles(scaler.transform(windows.mapset)), windows)
    seeds = {key: {by: [values] for by, values in by_split.items()} for key, by_split in found.items()}
    yield {"source": "radial profiles", "twin": "", "seeds": seeds, "right": np.array([])}


def score_lines(records: list[dict[str, Any]], windows: Windows) -> list[dict[str, Any]]:
    """Return R2 of every encoder, question and head."""
    return [
        {"source": record["source"], "question": question, "head": head, **summarize_scores(by_split, windows)}
        for record in records
        for (question, head), by_split in record["seeds"].items()
    ]


def gain_lines(records: list[dict[str, Any]], windows: Windows) -> list[dict[str, Any]]:
    """Return the gain of trained weights over random ones, paired over stars or galaxies."""
    lines = []
    known = {record["source"]: record for record in records}
    for trained in (record for record in records if record["twin"]):
        random = known[trained["twin"]]
        for (question, head), by_split in trained["seeds"].items():
            line: dict[str, Any] = {"source": trained["source"], "question": question, "head": head}
            for by, values in by_split.items():
                other = random["seeds"][question, head][by]
                line[by] = difference(np.concatenate(values), np.concatenate(other), windows)
            lines.append(line)
        if len(trained["right"]):
            gain = accuracy((trained["right"].mean(axis=0) - random["right"].mean(axis=0))[None])
            lines.append({"source": trained["source"], "question": "galaxies", "head": "neighbours", "galaxies": gain})
    return lines


def format_report(found: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    setting = ", ".join(f"{name} {value}" for name, value in found["setting"].items())
    parts = ["# Why pretraining does not show in masses, and where it does\n", f"{setting}.\n"]
    parts += [
        "R2 of log mass (of encoders: at three zooms), in brackets each seed.\n",
        "| features | what | head | by star | by cloud |",
    ]
    parts += ["| :-- | :-- | --: | --: | --: |"]
    for line in found["scores"]:
        cells = (f"{line[by]['r2']:.3f} ({', '.join(f'{s:.3f}' for s in line[by]['seeds'])})" for by in SPLITS)
        parts.append(f"| {line['source']} | {line['question']} | {line['head']} | {' | '.join(cells)} |")
    parts += ["\n## Pretrained less random weights, with 95 % intervals, paired over stars\n"]
    parts += ["| features | what | head | by star | by cloud |", "| :-- | :-- | --: | --: | --: |"]
    for line in (line for line in found["gains"] if "galaxies" not in line):
        parts.append(
            f"| {line['source']} | {line['question']} | {line['head']} "
            f"| {' | '.join(format_difference(line[by]) for by in SPLITS)} |"
        )
    if found["galaxies"]:
        parts += ["\n## Ring galaxies told right\n", "| features | share | each seed |", "| :-- | --: | --: |"]
        for row in found["galaxies"]:
            seeds = ", ".join(f"{seed:.3f}" for seed in row["seeds"])
            parts.append(f"| {row['source']} | {row['share']:.3f} ({row['low']:.2f}, {row['high']:.2f}) | {seeds} |")
        parts += ["\nPretrained less random weights, paired over galaxies:\n"]
        for line in (line for line in found["gains"] if "galaxies" in line):
            gain = line["galaxies"]
            parts.append(f"- {line['source']}: {gain['share']:+.3f} ({gain['low']:+.3f}, {gain['high']:+.3f})")
    return "\n".join(parts) + "\n"


def main() -> None:
    p = encoder_parser(__doc__, results="why", per_star=9, repeats=2)
    p.add_argument("--galaxies", type=Path, help="folder of ring galaxies (catalogue.csv, images)")
    options = parse_options(p)
    windows = read_windows(options)
    galaxies = Galaxies(options.galaxies) if options.galaxies else None
    records = list(measure(windows, galaxies, options))
    found = {
        "setting": setting(windows.mapset, options, components=N_COMPONENTS),
        "runs": {label: folders for label, *folders in options.runs},
        "scores": score_lines(records, windows),
        "gains": gain_lines(records, windows),
        "galaxies": [{"source": r["source"], **accuracy(r["right"])} for r in records if len(r["right"])],
    }
    write_results(options.output, found, format_report(found))
    print(format_report(found))


if __name__ == "__main__":
    main()
