"""Supervised baselines: encoders trained end to end on the masses, one run per fold of stars or clouds.

    python benchmarks/supervised.py --runs runs/supervised --encoder dinov2-vit-nano8 [--init encoder.safetensors]

Every run is `stellarfm pretrain --config supervised-64` with one fold held out from both training and scaler. Its last
step predicts that fold; no choice is based on the result. R2 of log10 mass over all held-out windows, with 95 %
intervals from resampling stars, as in benchmarks/encoders.py. Runs are kept and resumed; results are added to
existing ones in the output.
"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
from results_file import write_results

from stellarfm.evaluation.metrics import score
from stellarfm.maps import MapSet
from stellarfm.maps.dataset import held_out_windows
from stellarfm.pretraining.callbacks.validation import PREDICTIONS
from stellarfm.pretraining.recipe import Recipe, load_recipe
from stellarfm.pretraining.training import pretrain

#: Number of folds for each unit that is held out.
FOLDS = {"star": 5, "simulation": 3}


def run(folder: Path, recipe: Recipe, options: argparse.Namespace) -> tuple[np.ndarray, np.ndarray]:
    """Return true and predicted log10 masses of the held-out fold; start or resume the run if necessary."""
    complete = folder / "checkpoints" / f"step-{recipe.steps:08d}.ckpt"
    if not complete.exists():
        started = any(folder.glob("checkpoints/step-*.ckpt"))
        pretrain(
            output=folder,
            encoder=options.encoder,
            dataset="mapset",
            method="supervised",
            recipe=recipe,
            init=None if started else options.init,
            resume=started,
            overwrite=folder.exists() and not started,
            progress=False,
        )
    if not complete.exists():  # a signal stops a run regularly before its last step
        raise SystemExit(f"{folder} was stopped; run this script again to resume it")
    with (folder / PREDICTIONS).open() as file:
        rows = np.array([[float(value) for value in row] for row in list(csv.reader(file))[1:]])
    return rows[:, -2], rows[:, -1]


def held_out(by: str, windows: MapSet, recipe: Recipe, options: argparse.Namespace, name: str) -> dict[str, Any]:
    """Return the scores over all windows, each predicted by the run that held it out."""
    truth, predicted = np.log10(windows.stars["mass"].to_value("solMass")), np.full(len(windows), np.nan)
    for fold in range(FOLDS[by]):
        dataset = {"path": [str(path) for path in clouds(options)], "by": by, "folds": FOLDS[by], "fold": fold}
        folder = options.runs / f"{name}-{by}-{fold}".replace(" ", "-").replace(",", "")
        masses, found = run(folder, recipe.replace(dataset=dataset), options)
        rows = held_out_windows(windows, by=by, folds=FOLDS[by], fold=fold)
        np.testing.assert_allclose(masses, truth[rows], atol=1e-4)
        predicted[rows] = found
        print(f"{name}, {by} {fold}: R2 {score(masses, found, windows.groups[rows]).r2:.3f} within it", flush=True)
    return score(truth, predicted, windows.groups)._asdict()


def clouds(options: argparse.Namespace) -> list[Path]:
    """Return the paths of the map sets."""
    return sorted(options.clouds.glob("cloud-?.h5"))


def format_report(found: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    lines = ["# Encoders trained from end to end on the masses: R2 of log mass", ""]
    lines += ["| encoder | steps | batch | by star | by cloud |", "|:--|--:|--:|--:|--:|"]
    for row in found["rows"]:
        cells = [
            f"{row[by]['r2']:.3f} ({row[by]['r2_low']:.2f}, {row[by]['r2_high']:.2f})" if by in row else "not run"
            for by in FOLDS
        ]
        lines.append(f"| {row['name']} | {row['steps']} | {row['batch_size']} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", "In brackets the 95 % interval over stars; one run a fold, one seed.", ""])


def main() -> None:
    options = parser().parse_args()
    recipe = load_recipe(options.config).replace(torch_threads=options.threads)
    if options.steps:
        recipe = recipe.replace(
            steps=options.steps, warmup_steps=options.steps // 10, checkpoint_steps=max(options.steps // 2, 1)
        )
    windows = MapSet.concatenate([MapSet.read(path) for path in clouds(options)])
    name = f"{options.encoder}, {'pretrained' if options.init else 'random weights'}"
    row: dict[str, Any] = {"name": name, "steps": recipe.steps, "batch_size": recipe.batch_size}
    for by in options.by:
        row[by] = held_out(by, windows, recipe, options, name)
    known = options.output.with_name(options.output.name + ".json")
    rows = json.loads(known.read_text())["rows"] if known.exists() else []
    found = {"rows": [*(other for other in rows if other["name"] != name), row]}
    write_results(options.output, found, format_report(found))
    print(format_report(found))


def parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--runs", type=Path, required=True, help="folder of the runs")
    p.add_argument("--encoder", default="resnet18")
    p.add_argument("--init", type=Path, help="weights to start from")
    p.add_argument("--config", default="supervised-64", help="recipe")
    p.add_argument("--steps", type=int, help="steps of each run (default: those of the recipe)")
    p.add_argument("--by", nargs="+", choices=FOLDS, default=list(FOLDS), help="unit that is held out")
    p.add_argument("--clouds", type=Path, default=Path("../shared/data/clouds"), help="folder of map sets")
    p.add_argument("--threads", type=int, default=1, help="threads of torch")
    p.add_argument(
        "--output", type=Path, default=Path("benchmarks/results/supervised"), help="path of the results without suffix"
    )
    return p


if __name__ == "__main__":
    main()
