"""Compare the four arms at several label budgets, on the synthetic survey and on real ring galaxies.

    python arms.py --output runs/arms --workers 2         the whole experiment: one to two hours on two cores
    python arms.py --output runs/arms-quick --quick       a short version: minutes
    python arms.py --output runs/arms --real ../../../../shared/data/galaxies   real galaxies too
    python arms.py --output results --tables              print the results without running

Every run is stored in the output folder and is not repeated, so that an interrupted experiment can be resumed. Tables
are printed from ``results.jsonl`` and written to the same folder. Pretraining runs are sequential; models are fitted in
``--workers`` processes with one thread each.

The task is to detect rings; half of the galaxies have one, so that chance is 0.5. ``direct`` trains the encoder and a
head from scratch on the labels alone, with as many steps as fine-tuning and a higher learning rate. The other arms are
pretrained on the survey without labels of the task, then used with a linear head (``frozen``) or fine-tuned
(``tuned``). A frozen encoder with random weights is the control. On real galaxies all images, including the test
images, are used for pretraining, but no ring label; the votes are those of the 58 galaxies that have some. Intervals
are 95 % bootstrap intervals over the test galaxies, after averaging over seeds; differences are paired.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from astropy.table import QTable, Table
from stellarfm_galaxyzoo.catalogue import Catalogue, read_table
from stellarfm_galaxyzoo.dirichlet import credible_interval
from stellarfm_galaxyzoo.evaluation import evaluate
from stellarfm_galaxyzoo.finetuning import Subset, Tuning, finetune
from stellarfm_galaxyzoo.model import FileImages, ImageOptions
from stellarfm_galaxyzoo.schema import Schema
from stellarfm_galaxyzoo.simulated_votes import is_ring
from stellarfm_galaxyzoo.synthetic_survey import SyntheticSurvey

from stellarfm.pretraining.recipe import Recipe
from stellarfm.pretraining.training import pretrain

PRETRAINED = {
    "pretrained": {"contrastive": False},
    "contrastive": {"supervised": False},
    "hybrid": {},
}
RINGS = Schema.load("rings")
CAMPAIGNS = ("dr5", "gz2")
#: First galaxy of the survey for the ring task, which are not used for pretraining, and their number.
POOL_FIRST, POOL = 1_000_000, 12_000
#: Question and answers of the schema for each task of Galaxy Zoo 2; the ring vote of task 08 is excluded.
GZ2 = {
    "t01_smooth_or_features": ("smooth-or-featured", "smooth", "featured-or-disk", "artifact"),
    "t02_edgeon": ("disk-edge-on", "yes", "no"),
    "t03_bar": ("bar", "yes", "no"),
    "t04_spiral": ("has-spiral-arms", "yes", "no"),
    "t05_bulge_prominence": ("bulge-size", "no", "just-noticeable", "obvious", "dominant"),
    "t07_rounded": ("how-rounded", "round", "in-between", "cigar"),
    "t09_bulge_shape": ("bulge-shape", "round", "boxy", "no-bulge"),
    "t10_arms_winding": ("spiral-winding", "tight", "medium", "loose"),
    "t11_arms_number": ("spiral-arm-count", "1", "2", "3", "4", "more-than-4", "cant-tell"),
}


@dataclass(frozen=True)
class ExperimentSize:
    """Size of the experiment."""

    size: int = 32
    galaxies: int = 3000
    steps: int = 800
    batch: int = 64
    tuning_steps: int = 200
    budgets: tuple[int, ...] = (50, 200, 750)
    seeds: int = 2
    tested: int = 600
    real_steps: int = 100
    real_budgets: tuple[int, ...] = (376,)


QUICK = ExperimentSize(
    size=32, galaxies=200, steps=12, batch=16, tuning_steps=4, budgets=(20, 40), seeds=2, tested=60,
    real_steps=6, real_budgets=(40,),
)  # fmt: skip


class Results:
    """Results of the runs, stored as one line of JSON per run."""

    def __init__(self, path: Path, *, workers: int) -> None:
        self.path = path
        self.workers = workers
        lines = path.read_text().splitlines() if path.exists() else []
        self.rows = {json.loads(line)["key"]: json.loads(line) for line in lines}

    def fill(self, makers: dict[str, Callable[[], dict]]) -> None:
        """Run those that are missing, in parallel, and write each result when it is available."""
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(self.workers, context, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            running = {pool.submit(timed, make): key for key, make in makers.items() if key not in self.rows}
            for done in as_completed(running):
                key = running[done]
                self.rows[key] = {"key": key, **done.result()}
                with self.path.open("a") as file:
                    file.write(json.dumps(self.rows[key]) + "\n")
                print(f"{key}: {self.rows[key]['minutes']} min", flush=True)


def timed(make: Callable[[], dict]) -> dict:
    """Return the result of `make` with its duration in minutes."""
    start = time.monotonic()
    return {**make(), "minutes": round((time.monotonic() - start) / 60, 2)}


def pretrained_run(
    arm: str, folder: Path, scale: ExperimentSize, encoder: str, dataset: str, options: dict, steps: int
) -> Path:
    """Return the folder of a pretraining run; start or resume the run if it is not complete."""
    recipe = Recipe(
        steps=steps,
        batch_size=scale.batch,
        size=scale.size,
        learning_rate=1e-3,
        warmup_steps=steps // 10,
        weight_decay=(0.01, 0.01),
        precision="32-true",
        checkpoint_steps=max(steps // 8, 1),
        workers=0,
        torch_threads=torch.get_num_threads(),
        dataset=options,
        method=PRETRAINED[arm],
    )
    run = folder / arm
    last = run / "checkpoints" / f"step-{steps:08d}.ckpt"
    if last.exists():
        return run
    started = any((run / "checkpoints").glob("step-*.ckpt"))
    pretrain(
        output=run, encoder=encoder, dataset=dataset, method="byol-hybrid", recipe=recipe, resume=started,
        overwrite=run.exists() and not started, progress=False,
    )  # fmt: skip
    if not last.exists():  # a signal stops a run regularly before its last step
        raise SystemExit(f"{run} was stopped; run this script again to resume it")
    return run


def ring_sample(scale: ExperimentSize) -> tuple[SyntheticSurvey, np.ndarray, np.ndarray, np.ndarray]:
    """Return survey, votes, training rows and balanced test rows of the ring task."""
    survey = SyntheticSurvey(size=scale.size, count=POOL, schema=("rings",), labelled=1.0, first=POOL_FIRST)
    rings = np.array([is_ring(survey.galaxy(index)) for index in range(POOL)])
    votes = np.stack([rings, ~rings], axis=1).astype(np.float32)
    half, n_training = scale.tested // 2, max(scale.budgets)
    yes, no = np.flatnonzero(rings), np.flatnonzero(~rings)
    test = np.concatenate([yes[:half], no[:half]])
    train = np.concatenate([yes[half : half + n_training], no[half : half + n_training]])
    assert len(yes) >= half + n_training, "too few rings: increase POOL"
    return survey, votes, train, test


def classified_correctly(model, source, rows: np.ndarray, votes: np.ndarray) -> list[int]:
    """Return 1 for each test galaxy that is classified correctly, else 0."""
    found = model.concentrations(Subset(source, rows))
    return (found.argmax(axis=1) == votes[rows].argmax(axis=1)).astype(int).tolist()


def balanced(votes: np.ndarray, rows: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Return `count` rows, half of them rings."""
    order = np.random.default_rng(seed).permutation(rows)
    ring = votes[order, 0] > 0
    return np.concatenate([order[ring][: count // 2], order[~ring][: count - count // 2]])


def run_synthetic(folder: Path, scale: ExperimentSize, encoder: str, results: Results) -> None:
    """Run the ring task and the vote task on the synthetic survey."""
    options = {"count": scale.galaxies, "schema": list(CAMPAIGNS), "labelled": 0.5}
    runs = {
        arm: pretrained_run(arm, folder / "synthetic", scale, encoder, "galaxyzoo-synthetic", options, scale.steps)
        for arm in PRETRAINED
    }
    survey, votes, train, test = ring_sample(scale)
    results.fill(
        {
            f"synthetic rings {budget} {seed} {arm} {mode}": partial(
                ring_accuracy,
                survey,
                votes,
                balanced(votes, train, budget, seed),
                test,
                runs.get(arm, encoder),
                mode,
                scale,
                seed,
            )
            for budget in scale.budgets
            for seed in range(scale.seeds)
            for arm, mode in modes()
        }
    )
    voted = SyntheticSurvey(
        size=scale.size, count=max(scale.budgets) + scale.tested, schema=CAMPAIGNS, labelled=1.0, first=2 * POOL_FIRST
    )
    labels = np.stack([voted.label(index) for index in range(len(voted))])
    results.fill(
        {
            f"synthetic votes {arm}": partial(vote_scores, voted, labels, run, max(scale.budgets))
            for arm, run in {"random": encoder, **runs}.items()
        }
    )


def ring_accuracy(source, votes, rows, test, encoder, mode: str, scale: ExperimentSize, seed: int) -> dict:
    """Fit a model to some galaxies, and classify others."""
    return {
        "correct": classified_correctly(fit_model(source, votes, rows, encoder, mode, scale, seed), source, test, votes)
    }


def modes() -> list[tuple[str, str]]:
    """Return the arms and the use of their encoders."""
    pretrained = [(arm, mode) for arm in PRETRAINED for mode in ("frozen", "tuned")]
    return [("direct", "from scratch"), ("random weights", "frozen"), *pretrained]


def fit_model(
    source, votes: np.ndarray, rows: np.ndarray, encoder: str | Path, mode: str, scale: ExperimentSize, seed: int
):
    """Fit a model of the ring task."""
    tuning = Tuning(layers=0 if mode == "frozen" else None, steps=scale.tuning_steps)
    if mode == "from scratch":
        tuning = replace(tuning, learning_rate=1e-3)
    return finetune(Subset(source, rows), votes[rows], RINGS, encoder=encoder, tuning=tuning, seed=seed)


def vote_scores(survey: SyntheticSurvey, votes: np.ndarray, encoder: str | Path, n_training: int) -> dict:
    """Return the scores of a frozen linear head, compared with votes and with the true fractions."""
    train, test = np.arange(n_training), np.arange(n_training, len(survey))
    model = finetune(Subset(survey, train), votes[train], survey.schema, encoder=encoder)
    found = model.concentrations(Subset(survey, test))
    table = evaluate(found, votes[test], survey.schema)[-1]
    shares = np.stack([survey.fractions(int(index)) for index in test])
    low, high = credible_interval(found, survey.schema, level=0.9)
    asked = survey.schema.sums(votes[test])[:, survey.schema.question_of] > 0
    inside = (shares > low) & (shares < high)
    return {
        "loss": float(table["loss"]),
        "uniform_loss": float(table["uniform_loss"]),
        "error": float(np.abs(survey.schema.fractions(found) - shares)[asked].mean()),
        "coverage_of_votes": float(table["coverage_90"]),
        "coverage_of_truth": float(inside[asked].mean()),
    }


def real_catalogue(source: Path, folder: Path) -> tuple[Path, np.ndarray]:
    """Write the real galaxies with the vote columns of the schema; return the path, and which have a ring."""
    raw = read_table(source / "catalogue.csv")
    table = Table({"id_str": raw["id_str"]})
    table["file_loc"] = [str((source / word).resolve()) for word in raw["file_loc"]]
    for name in Schema.load("dr5").columns:
        if name in raw.colnames:
            table[name] = raw[name]
    for task, (question, *answers) in GZ2.items():
        for name, answer in zip([c for c in raw.colnames if c.startswith(f"gz2raw_{task}_")], answers, strict=True):
            table[f"{question}-gz2_{answer}"] = raw[name]
    table.write(folder / "real.csv", overwrite=True)
    return folder / "real.csv", np.asarray(raw["ring"]) > 0


def run_real(source: Path, folder: Path, scale: ExperimentSize, encoder: str, results: Results) -> None:
    """Run the ring task on real galaxies in five folds, pretrained on real or on synthetic images."""
    path, rings = real_catalogue(source.resolve(), folder)
    options = {"catalogue": str(path), "schema": list(CAMPAIGNS)}
    runs = {
        arm: pretrained_run(arm, folder / "real", scale, encoder, "galaxyzoo", options, scale.real_steps)
        for arm in PRETRAINED
    }
    images = FileImages(Catalogue.read(path, RINGS).paths, ImageOptions(size=scale.size))
    votes = np.stack([rings, ~rings], axis=1).astype(np.float32)
    fold = np.empty(len(rings), int)
    for kind in (rings, ~rings):
        fold[kind] = np.random.default_rng(0).permutation(int(kind.sum())) % 5
    starts = {(arm, mode): runs.get(arm, encoder) for arm, mode in modes()}
    starts |= {(f"{arm} on synthetic", "frozen"): folder / "synthetic" / arm for arm in PRETRAINED}
    results.fill(
        {
            f"real rings {budget} 0 {arm} {mode}": partial(
                cross_validate, images, votes, fold, budget, start, mode, scale
            )
            for budget in scale.real_budgets
            for (arm, mode), start in starts.items()
        }
    )


def cross_validate(
    images, votes: np.ndarray, fold: np.ndarray, budget: int, encoder, mode: str, scale: ExperimentSize
) -> dict:
    """Return 1 for each galaxy that is classified correctly by a model fitted to the other folds, else 0."""
    right = np.zeros(len(votes), int)
    for number in range(5):
        rows, test = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        chosen = balanced(votes, rows, min(budget, len(rows)), number)
        right[test] = classified_correctly(
            fit_model(images, votes, chosen, encoder, mode, scale, number), images, test, votes
        )
    return {"correct": right.tolist()}


def interval(values: np.ndarray) -> tuple[float, float, float]:
    """Return the mean and its 95 % bootstrap interval over galaxies."""
    draws = np.random.default_rng(0).integers(len(values), size=(4000, len(values)))
    low, high = np.percentile(values[draws].mean(axis=1), [2.5, 97.5])
    return float(values.mean()), float(low), float(high)


def ring_table(rows: dict[str, dict]) -> QTable:
    """Return accuracy and paired difference from the direct arm, for each arm and budget."""
    runs: dict[tuple, list] = {}
    for key, row in rows.items():
        where, task, *rest = key.split(" ", 2)
        if task == "rings":
            budget, _, arm_mode = rest[0].split(" ", 2)
            runs.setdefault((where, int(budget), arm_mode), []).append(row["correct"])
    lines = []
    for (where, budget, arm), found in sorted(runs.items(), key=_order):
        if (where, budget, "direct from scratch") not in runs:  # an interrupted experiment
            continue
        mean = np.mean(found, axis=0)
        direct = np.mean(runs[where, budget, "direct from scratch"], axis=0)
        lines.append((where, budget, arm, len(found), *interval(mean), *interval(mean - direct)))
    names = ("galaxies", "labels", "arm", "seeds", "accuracy", "low", "high", "minus_direct", "minus_low", "minus_high")
    return with_three_digits(QTable(rows=lines, names=names), names[4:])


def _order(item: tuple[tuple[str, int, str], list]) -> tuple:
    """Return a sort key: synthetic galaxies first, then by budget, then in the order of `modes`."""
    (where, budget, arm), _ = item
    known = [" ".join(words) for words in modes()]
    return where != "synthetic", budget, known.index(arm) if arm in known else len(known), arm


def vote_table(rows: dict[str, dict]) -> QTable:
    """Return the scores of frozen linear heads on votes."""
    lines = [row for key, row in rows.items() if key.startswith("synthetic votes")]
    names = ("loss", "uniform_loss", "error", "coverage_of_votes", "coverage_of_truth")
    table = QTable(
        {"encoder": [row["key"].split()[-1] for row in lines], **{n: [row[n] for row in lines] for n in names}}
    )
    return with_three_digits(table, names)


def with_three_digits(table: QTable, names: tuple[str, ...]) -> QTable:
    """Format columns with three digits."""
    for name in names:
        table[name].info.format = ".3f"
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True, help="folder of runs and results")
    parser.add_argument("--real", type=Path, help="folder of the real galaxies (catalogue.csv, images)")
    parser.add_argument("--encoder", default="resnet18", help="name of an encoder (default: resnet18)")
    parser.add_argument("--size", type=int, help="side of the images in pixels (default: 32)")
    parser.add_argument("--steps", type=int, help="steps of each pretraining run (default: 800)")
    parser.add_argument("--workers", type=int, default=1, help="processes (default: 1)")
    parser.add_argument("--tables", action="store_true", help="print the tables of existing runs only")
    parser.add_argument("--quick", action="store_true", help="short version, to test the script")
    args = parser.parse_args()
    given = {name: value for name in ("size", "steps") if (value := getattr(args, name)) is not None}
    scale = replace(QUICK if args.quick else ExperimentSize(), **given)
    args.output.mkdir(parents=True, exist_ok=True)
    results = Results(args.output / "results.jsonl", workers=args.workers)
    if not args.tables:
        run_synthetic(args.output, scale, args.encoder, results)
        if args.real is not None:
            run_real(args.real, args.output, scale, args.encoder, results)
    print(f"\n{scale}, {args.encoder}\n")
    for name, table in (("rings", ring_table(results.rows)), ("votes", vote_table(results.rows))):
        table.write(args.output / f"{name}.csv", format="ascii.csv", overwrite=True)
        print("\n".join(table.pformat(max_lines=-1, max_width=-1)), "\n")


if __name__ == "__main__":
    main()
