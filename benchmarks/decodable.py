"""What frozen features still hold of the maps: radial profiles, read back off them by a linear fit.

    python benchmarks/decodable.py [RUN ...] [--encoder dinov2-vit-nano8]

R2 of each of the radial profiles (`stellarfm.inference.profiles`) of held-out stars, by ridge regression on the
features of the training stars; the median over profiles, and over their innermost rings, where the star is. Beside each
run stand random weights of the same architecture. If these tell the profiles too, pretraining has nothing to add there:
what a mass needs is in both, and it is the labels that are few.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from results_file import write_results
from sklearn.linear_model import RidgeCV
from sklearn.metrics import r2_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from stellarfm.evaluation.benchmark import thin
from stellarfm.evaluation.splits import split
from stellarfm.inference import Readout
from stellarfm.inference.frozen import FrozenEncoder
from stellarfm.inference.profiles import N_RINGS, image_profiles
from stellarfm.maps import MapScaler, MapSet

READOUTS = ("class", "rings", "zooms")
#: Rings nearest to the star.
INNER = 2


def profile_scores(features: np.ndarray, profiles: np.ndarray, stars: np.ndarray, fold: Any) -> np.ndarray:
    """R2 of every profile over the held-out windows."""
    ridge = make_pipeline(StandardScaler(), RidgeCV(10.0 ** np.arange(-1, 5)))
    predicted = ridge.fit(features[fold.train], profiles[fold.train]).predict(features[fold.test])
    return r2_score(profiles[fold.test], predicted, multioutput="raw_values")


def row(name: str, frozen: FrozenEncoder, windows: MapSet) -> list[dict[str, Any]]:
    """A line a readout."""
    fold = split(windows, "star")[0]
    images = MapScaler().fit(windows[fold.train]).transform(windows)
    profiles, readout = image_profiles(images), Readout(pooling=READOUTS)
    ends = np.cumsum(readout.lengths(frozen.module, side=images.shape[-1]))[:-1]
    inner = np.arange(profiles.shape[1]) % N_RINGS < INNER
    lines = []
    for part, features in zip(READOUTS, np.split(readout.extract(frozen.module, images), ends, axis=1), strict=True):
        r2 = profile_scores(features, profiles, windows.groups, fold)
        lines.append(
            {"features": name, "readout": part, "all": float(np.median(r2)), "inner": float(np.median(r2[inner]))}
        )
        print(lines[-1], flush=True)
    return lines


def in_words(found: dict[str, Any]) -> str:
    """The results as Markdown."""
    lines = ["# Radial profiles read back off frozen features", ""]
    lines += [
        f"R2 by a linear fit, {found['windows']} windows, a fifth of the stars held out; median over all profiles, "
        f"and over those of the {INNER} innermost of {N_RINGS} rings.",
        "",
        "| features | readout | all rings | innermost |",
        "|:--|:--|--:|--:|",
    ]
    lines += [
        f"| {line['features']} | {line['readout']} | {line['all']:.2f} | {line['inner']:.2f} |"
        for line in found["rows"]
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("runs", nargs="*", type=Path, help="outputs of `stellarfm pretrain`")
    p.add_argument("--encoder", default="dinov2-vit-nano8", help="of the random weights")
    p.add_argument("--clouds", type=Path, default=Path("../shared/data/clouds"), help="folder of map sets")
    p.add_argument("--per-star", type=int, default=9, help="windows of a star at most")
    p.add_argument("--threads", type=int, default=1, help="of torch")
    p.add_argument("--output", type=Path, help="for .json and .md, without its ending")
    options = p.parse_args()
    torch.set_num_threads(options.threads)
    clouds = [MapSet.read(path) for path in sorted(options.clouds.glob("cloud-?.h5"))]
    windows = thin(MapSet.concatenate(clouds), per_star=options.per_star)
    side = windows.column_density.shape[-1]
    encoders = {f"{options.encoder}, random weights": FrozenEncoder.random(options.encoder, image_size=side)}
    encoders |= {
        f"{(frozen := FrozenEncoder.find(run, image_size=side)).name}, {run.name}": frozen for run in options.runs
    }
    rows = [line for name, frozen in encoders.items() for line in row(name, frozen, windows)]
    found = {"windows": len(windows), "rows": rows}
    write_results(options.output, found, in_words(found))
    print(in_words(found))


if __name__ == "__main__":
    main()
