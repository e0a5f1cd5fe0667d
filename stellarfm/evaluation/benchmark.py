"""Masses predicted for held-out stars and held-out simulations, by a model and by what it has to beat."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from astropy import units as u
from astropy.table import QTable, vstack
from tqdm import tqdm

from stellarfm.evaluation.baselines import Method, default_methods
from stellarfm.evaluation.metrics import coverage, r2_difference, score
from stellarfm.evaluation.splits import Fold, check_disjoint, split
from stellarfm.exceptions import MapError
from stellarfm.inference.encoding.frozen_encoder import FrozenEncoder
from stellarfm.inference.masses.conformal import StarConformal, cross_fit, star_weights
from stellarfm.inference.model import StellarModel

if TYPE_CHECKING:
    from stellarfm.maps import MapSet

__all__ = [
    "LEVELS",
    "Benchmark",
    "benchmark_model",
    "compare",
    "held_out_masses",
    "run_benchmark",
    "score_table",
    "subsample_windows",
]

#: Probabilities of the intervals.
LEVELS = (0.68, 0.95)
#: Windows a star in a quick look.
QUICK_WINDOWS = 3


@dataclass(frozen=True)
class Benchmark:
    """Predictions of every method for every held-out window, and what they are worth.

    Attributes
    ----------
    predictions : QTable
        As `held_out_masses` gives them.
    scores : QTable
        As `score_table` gives them.
    differences : QTable
        As `compare` gives them: the first method against each of the others.
    """

    predictions: QTable
    scores: QTable
    differences: QTable


def benchmark_model(
    windows: MapSet,
    *,
    model: StellarModel | None = None,
    encoder: str | os.PathLike | None = None,
    quick: bool = False,
    quiet: bool = True,
) -> Benchmark:
    """What a model, or an encoder with the default readout, is worth on these windows, beside what it has to beat.

    Only the encoder and the options of `model` are used; its scaler, head, calibration and reference set are not, but
    learnt anew from the windows in every fold. So its own reference simulations may be among the windows.

    Parameters
    ----------
    windows : MapSet
        Windows with masses, of two simulations at least.
    model : StellarModel, optional
        The bundled one if neither `model` nor `encoder` is given.
    encoder : str or path, optional
        In place of `model`: a name of the registry (random weights) or the output of a pretraining run.
    quick : bool
        Keep three windows a star: a look at whether all works, not a result.
    quiet : bool
        Show no progress bar.
    """
    windows = subsample_windows(windows, per_star=QUICK_WINDOWS) if quick else windows
    pixels = windows.column_density.shape[-1]
    if encoder is not None:
        methods, calibration_by = (
            default_methods(FrozenEncoder.resolve(encoder, image_size=pixels), pixels=pixels),
            "star",
        )
    else:
        model = model or StellarModel.load()
        calibration_by = model.calibration_by
        methods = default_methods(
            model.encoder, pixels=pixels, scaler=model.scaler, readout=model.readout, regressor=model.regressor
        )
    return run_benchmark(windows, methods, calibration_by=calibration_by, quiet=quiet)


def run_benchmark(
    windows: MapSet,
    methods: Sequence[Method],
    *,
    splits: Sequence[str] = ("star", "simulation"),
    n_folds: int = 5,
    calibration_by: str = "star",
    quiet: bool = True,
) -> Benchmark:
    """Compare methods on held-out stars and simulations; everything that is learnt is refitted in every fold.

    Parameters
    ----------
    windows : MapSet
        Windows with masses, of two simulations at least if split by simulation.
    methods : sequence of Method
        The first is the one that the others are compared with.
    splits : sequence of {"star", "simulation"}
        What is held out.
    n_folds : int
        Folds of the split by star.
    calibration_by : {"star", "simulation"}
        What is held out, within the training side of a fold, to learn the intervals.
    quiet : bool
        Show no progress bar.

    Raises
    ------
    MapError
        If masses are absent, or there are too few stars or simulations to split.
    """
    predictions = held_out_masses(
        windows, methods, splits=splits, n_folds=n_folds, calibration_by=calibration_by, quiet=quiet
    )
    return Benchmark(predictions, score_table(predictions), compare(predictions, methods[0].name))


def held_out_masses(
    windows: MapSet,
    methods: Sequence[Method],
    *,
    splits: Sequence[str] = ("star", "simulation"),
    n_folds: int = 5,
    calibration_by: str = "star",
    quiet: bool = True,
) -> QTable:
    """A mass with intervals for every window, method and split, by what never saw the window's star.

    Returns
    -------
    QTable
        One row for each (split, method, window), with columns ``split``, ``method``, ``fold``, ``simulation``,
        ``star``, ``group`` (``"simulation/star"``), ``mass_true``, ``mass`` and ``mass_lower_68``, ... in solMass.
    """
    if windows.label_kind is None:
        raise MapError("these windows have no masses; a benchmark needs a map set with a label kind and masses")
    shared = [
        [m for m in methods if m.features is features]
        for features in {id(m.features): m.features for m in methods}.values()
    ]
    tasks = [
        (by, number, fold, together)
        for by in splits
        for number, fold in enumerate(split(windows, by, n_folds=n_folds))
        for together in shared
    ]
    bar = tqdm(tasks, disable=True if quiet else None, unit="fit", leave=False)
    rows = [
        row
        for by, number, fold, together in bar
        for row in _predict_fold(windows, fold, together, by, number, calibration_by)
    ]
    table = vstack(rows, metadata_conflicts="silent")
    table.meta.update(labels=windows.label_kind, runs=windows.simulation)  # FITS keywords: eight letters
    return table


def _predict_fold(
    windows: MapSet, fold: Fold, methods: Sequence[Method], by: str, number: int, calibration_by: str
) -> list[QTable]:
    """Fit and calibrate methods that share their features on one side of a fold; predict the other side."""
    train, test = windows[fold.train], windows[fold.test]
    check_disjoint(train.groups, test.groups)
    features = methods[0].features.fit(train)
    X, unseen = features.transform(train), features.transform(test)
    unit = _unit(train, calibration_by)
    relearned = _relearned(methods[0], train) if unit == "simulation" else None
    tables = []
    for method in methods:
        table = QTable({"group": test.groups, "simulation": test.stars["simulation"], "star": test.stars["star"]})
        table["split"], table["method"], table["fold"] = by, method.name, number
        table["mass_true"] = test.stars["mass"].to("solMass")
        tables.append(_with_masses(table, method, X, unseen, train, unit=unit, relearned=relearned))
    return tables


def _unit(train: MapSet, by: str) -> str:
    """What calibration holds out: what was asked for, or stars where there is a single training simulation."""
    return by if len(np.unique(train.simulations)) > 1 else "star"


def _relearned(method: Method, train: MapSet) -> Callable[[np.ndarray], np.ndarray]:
    """Features behind a scaler that saw the kept windows only, computed once for all methods that share them."""
    known: dict[bytes, np.ndarray] = {}

    def refit_features(kept: np.ndarray) -> np.ndarray:
        key = np.asarray(kept).tobytes()
        if key not in known:
            known[key] = copy(method.features).fit(train[kept]).transform(train)
        return known[key]

    return refit_features


def _with_masses(
    table: QTable,
    method: Method,
    X: np.ndarray,
    unseen: np.ndarray,
    train: MapSet,
    *,
    unit: str,
    relearned: Callable[[np.ndarray], np.ndarray] | None,
) -> QTable:
    """Add masses and intervals, learnt from training windows alone.

    As in a model, a simulation that is held out to calibrate does not set the scales either.
    """
    mass = train.stars["mass"].to_value("solMass")
    found = cross_fit(
        method.regressor,
        X[:, method.columns],
        mass,
        stars=train.groups,
        simulations=train.simulations,
        by=unit,
        refit_features=(lambda kept: relearned(kept)[:, method.columns]) if relearned else None,
    )
    conformal = StarConformal().fit(found.residual, found.spread, stars=train.groups)
    said = method.regressor.fit(X[:, method.columns], mass, stars=train.groups).predict_log_mass(
        unseen[:, method.columns]
    )
    table["mass"] = 10**said.value * u.solMass
    for level in LEVELS:
        lower, upper = conformal.interval(level, said.spread)
        table[f"mass_lower_{level:.0%}".rstrip("%")] = 10 ** (said.value + lower) * u.solMass
        table[f"mass_upper_{level:.0%}".rstrip("%")] = 10 ** (said.value + upper) * u.solMass
    return table


def _log(table: QTable, column: str) -> np.ndarray:
    with np.errstate(divide="ignore"):  # the lower end of an unbounded interval is zero
        return np.log10(table[column].to_value("solMass"))


def _cells(predictions: QTable) -> list[tuple[str, str, QTable]]:
    """Split, method and rows of each part of a table of predictions, in the order of their first rows."""
    pairs = dict.fromkeys(zip(predictions["split"], predictions["method"], strict=True))
    return [
        (by, name, predictions[(predictions["split"] == by) & (predictions["method"] == name)]) for by, name in pairs
    ]


def score_table(predictions: QTable) -> QTable:
    """Scores of each (split, method), over windows pooled over the held-out folds.

    Returns
    -------
    QTable
        ``r2`` and ``rmse`` with ends of a 95 % interval from resampling stars, ``bias``; for the 68 % and 95 %
        intervals the fraction of true masses inside, of windows and of stars (each with weight one, which is what the
        calibration promises), and the mean half-width; numbers of stars and windows. Lengths in dex.
    """
    rows = []
    for by, name, part in _cells(predictions):
        truth = _log(part, "mass_true")
        row = {"split": by, "method": name, **score(truth, _log(part, "mass"), part["group"])._asdict()}
        for level in ("68", "95"):
            lower, upper = _log(part, f"mass_lower_{level}"), _log(part, f"mass_upper_{level}")
            row[f"coverage_{level}"] = coverage(truth, lower, upper)
            row[f"star_coverage_{level}"] = coverage(truth, lower, upper, weights=star_weights(part["group"]))
            row[f"half_width_{level}"] = float(np.mean(upper - lower) / 2)
        row["n_stars"], row["n_windows"] = len(np.unique(part["group"])), len(part)
        rows.append(row)
    table = QTable(rows=rows)
    for column in table.colnames:
        if column.startswith(("rmse", "bias", "half_width")):
            table[column].unit = u.dex
    return table


def compare(predictions: QTable, method: str) -> QTable:
    """R2 of `method` minus that of each other one, by a paired bootstrap over stars.

    Returns
    -------
    QTable
        ``split``, ``method``, ``other``, ``difference`` with a 95 % interval ``low`` to ``high``, and ``probability``,
        the fraction of the resamplings in which `method` is the better one.
    """
    parts = {(by, name): part for by, name, part in _cells(predictions)}
    rows = []
    for (by, other), part in parts.items():
        if other == method:
            continue
        first, truth = parts[by, method], _log(part, "mass_true")
        found = r2_difference(truth, _log(first, "mass"), _log(part, "mass"), part["group"])
        rows.append({"split": by, "method": method, "other": other, **found._asdict()})
    names = ("split", "method", "other", "difference", "low", "high", "probability")
    return QTable(rows=rows) if rows else QTable(names=names)


def subsample_windows(windows: MapSet, *, per_star: int, seed: int = 0) -> MapSet:
    """At most `per_star` windows of each star, drawn at random, in their order: a quick look, not a result."""
    order = np.random.default_rng(seed).permutation(len(windows))
    groups = windows.groups[order]
    kept = [order[groups == group][:per_star] for group in np.unique(groups)]
    return windows[np.sort(np.concatenate(kept))]
