"""Predict masses of held-out stars and held-out simulations with a model and with baselines, and score them."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from astropy import units as u
from astropy.table import QTable, vstack
from sklearn.base import clone
from tqdm import tqdm

from stellarfm import registry
from stellarfm.evaluation.baselines import Method, default_methods
from stellarfm.evaluation.scores import LEVELS, compare, score_table
from stellarfm.evaluation.splits import Fold, check_disjoint, split
from stellarfm.exceptions import MapError
from stellarfm.inference.encoding.embedding import Embedder
from stellarfm.inference.encoding.features import Readout
from stellarfm.inference.encoding.frozen_encoder import FrozenEncoder
from stellarfm.inference.masses.calibrated_head import CalibratedHead
from stellarfm.inference.masses.conformal import StarConformal
from stellarfm.inference.masses.mass_table import interval_columns
from stellarfm.inference.masses.reference_set import ReferenceSet
from stellarfm.inference.model import StellarModel
from stellarfm.maps import MapScaler

if TYPE_CHECKING:
    from stellarfm.inference.masses.distribution import MassDistribution
    from stellarfm.maps import MapSet

__all__ = [
    "Benchmark",
    "benchmark_model",
    "held_out_masses",
    "run_benchmark",
    "subsample_windows",
]

#: Windows per star in a quick check.
QUICK_WINDOWS = 3


@dataclass(frozen=True)
class Benchmark:
    """Predictions of every method for every held-out window, and their scores.

    Attributes
    ----------
    predictions : QTable
        Result of `held_out_masses`.
    scores : QTable
        Result of `score_table`.
    differences : QTable
        Result of `compare`: the first method against each of the others.

    Examples
    --------
    >>> from dataclasses import replace
    >>> from astropy import units as u
    >>> from astropy.table import QTable
    >>> from stellarfm.data import EXAMPLE_FIELD
    >>> from stellarfm.evaluation.baselines import mean_of_training
    >>> from stellarfm.maps import GasMaps, windows_around
    >>> stars = QTable.read(EXAMPLE_FIELD, hdu="STARS")
    >>> windows = windows_around(GasMaps.read(EXAMPLE_FIELD), stars, pixels=32, pixel_scale=0.01 * u.pc)
    >>> windows = replace(windows, label_kind="sink")
    >>> benchmark = run_benchmark(windows, [mean_of_training()], splits=["star"])
    >>> len(benchmark.predictions), len(benchmark.scores), len(benchmark.differences)
    (25, 1, 0)
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
    """Score a model, or an encoder with the default readout, and the baselines on these windows.

    Only the encoder and the options of `model` are used; scaler, head, calibration and reference set are refitted to
    the windows in every fold, so the reference simulations of the model may be among the windows.

    Parameters
    ----------
    windows : MapSet
        Windows with masses, of two simulations at least.
    model : StellarModel, optional
        Model to score; the bundled one if neither `model` nor `encoder` is given.
    encoder : str or path, optional
        Encoder to score instead of `model`: a registered name (random weights) or the output of a pretraining run.
    quick : bool
        Keep three windows per star: a check that everything works, not a result.
    quiet : bool
        Show no progress bar.

    Returns
    -------
    Benchmark
        Predictions, scores and differences.

    Raises
    ------
    MapError, ModelError
        If the windows have no masses, are too few to split, or do not fit the encoder.

    Examples
    --------
    >>> from stellarfm.maps import MapSet
    >>> clouds = [MapSet.read(path) for path in ("a.h5", "b.h5")]  # doctest: +SKIP
    >>> benchmark_model(MapSet.concatenate(clouds), quick=True).scores  # doctest: +SKIP
    """
    windows = subsample_windows(windows, per_star=QUICK_WINDOWS) if quick else windows
    if encoder is not None:
        pixels = windows.column_density.shape[-1]
        frozen = FrozenEncoder.resolve(encoder, image_size=pixels)
        embedder = Embedder(frozen, MapScaler(), Readout(), pixels=pixels, pixel_scale=windows.pixel_scale)
        methods, calibration_by = default_methods(embedder, registry.create("heads", "svr")), "star"
    else:
        model = model or StellarModel.load()
        methods = default_methods(model.embedder, clone(model.head.head), conformal=clone(model.head.conformal))
        calibration_by = model.head.calibration_by
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
    """Compare methods on held-out stars and simulations; everything that is fitted is refitted in every fold.

    Parameters
    ----------
    windows : MapSet
        Windows with masses, of two simulations at least if split by simulation.
    methods : sequence of Method
        Methods to compare; the others are compared with the first one.
    splits : sequence of {"star", "simulation"}
        Units that are held out.
    n_folds : int
        Number of folds of the split by star.
    calibration_by : {"star", "simulation"}
        Unit held out within the training side of a fold to calibrate the intervals.
    quiet : bool
        Show no progress bar.

    Returns
    -------
    Benchmark
        Predictions, scores and differences.

    Raises
    ------
    MapError
        If masses are absent, or there are too few stars or simulations to split.

    Examples
    --------
    >>> from dataclasses import replace
    >>> from astropy import units as u
    >>> from astropy.table import QTable
    >>> from stellarfm.data import EXAMPLE_FIELD
    >>> from stellarfm.evaluation.baselines import mean_of_training
    >>> from stellarfm.maps import GasMaps, windows_around
    >>> stars = QTable.read(EXAMPLE_FIELD, hdu="STARS")
    >>> windows = windows_around(GasMaps.read(EXAMPLE_FIELD), stars, pixels=32, pixel_scale=0.01 * u.pc)
    >>> windows = replace(windows, label_kind="sink")
    >>> benchmark = run_benchmark(windows, [mean_of_training()], splits=["star"])
    >>> print(benchmark.scores["n_stars"][0])
    25
    >>> from stellarfm.evaluation import report
    >>> print(report(benchmark).splitlines()[0])
    ### By star: five folds of whole stars (25 windows of 25 stars)
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
    """Return the out-of-fold mass and intervals for every window, method and split.

    Parameters
    ----------
    windows : MapSet
        Windows with masses.
    methods : sequence of Method
        Methods to compare.
    splits : sequence of str
        Units that are held out whole: ``"star"``, ``"simulation"``.
    n_folds : int
        Number of folds of stars.
    calibration_by : {"star", "simulation"}
        Unit that is held out whole to calibrate the intervals.
    quiet : bool
        Show no progress bar.

    Returns
    -------
    QTable
        A row for each (split, method, window), with columns ``split``, ``method``, ``fold``, ``simulation``,
        ``star``, ``group`` (``"simulation/star"``); ``mass_true``, ``mass`` (median), ``mass_mean`` (10 to the power of
        the mean log10 mass), ``mass_predicted`` (point prediction of the head), ``mass_lower_68``, ... in solMass; and
        ``crps`` in dex.

    Raises
    ------
    MapError
        If masses are absent, or there are too few stars or simulations to split.

    Examples
    --------
    >>> from dataclasses import replace
    >>> from astropy import units as u
    >>> from astropy.table import QTable
    >>> from stellarfm.data import EXAMPLE_FIELD
    >>> from stellarfm.evaluation.baselines import mean_of_training
    >>> from stellarfm.maps import GasMaps, windows_around
    >>> stars = QTable.read(EXAMPLE_FIELD, hdu="STARS")
    >>> windows = windows_around(GasMaps.read(EXAMPLE_FIELD), stars, pixels=32, pixel_scale=0.01 * u.pc)
    >>> windows = replace(windows, label_kind="sink")
    >>> predictions = held_out_masses(windows, [mean_of_training()], splits=["star"])
    >>> len(predictions), predictions["mass_lower_68"].unit
    (25, Unit("solMass"))
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
    several = len(np.unique(train.simulations)) > 1
    unit = calibration_by if several else "star"
    refit_features = _cached_refit(methods[0], train) if unit == "simulation" else None
    tables: list[QTable] = []
    fitted: dict[tuple, CalibratedHead] = {}  # methods may differ in their calibration alone
    for method in methods:
        key = (id(method.head), str(method.columns))
        if key in fitted:
            calibrated = _recalibrated(fitted[key], method.conformal)
        else:
            calibrated = _fitted(method, X, train, unit=unit, refit_features=refit_features)
        fitted[key] = calibrated
        table = QTable({"group": test.groups, "simulation": test.stars["simulation"], "star": test.stars["star"]})
        table["split"], table["method"], table["fold"] = by, method.name, number
        table["mass_true"] = test.stars["mass"].to("solMass")
        tables.append(_with_masses(table, calibrated.predict(unseen[:, method.columns])))
    return tables


def _cached_refit(method: Method, train: MapSet) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function from kept rows to features refitted to them, computed once for all methods that share them."""
    known: dict[bytes, np.ndarray] = {}

    def refit_features(kept: np.ndarray) -> np.ndarray:
        key = np.asarray(kept).tobytes()
        if key not in known:
            known[key] = copy(method.features).fit(train[kept]).transform(train)
        return known[key]

    return refit_features


def _fitted(
    method: Method,
    X: np.ndarray,
    train: MapSet,
    *,
    unit: str,
    refit_features: Callable[[np.ndarray], np.ndarray] | None,
) -> CalibratedHead:
    """Return the head fitted to training windows alone.

    As in a model, a simulation that is held out to calibrate does not set the scales either.
    """
    return CalibratedHead(head=method.head, conformal=method.conformal, calibration_by=unit).fit(
        ReferenceSet.from_windows(X[:, method.columns], [train]),
        blocks=method.blocks,
        refit_features=(lambda kept: refit_features(kept)[:, method.columns]) if refit_features else None,
    )


def _recalibrated(fitted: CalibratedHead, conformal: StarConformal) -> CalibratedHead:
    """Return a fitted head with another calibration, from the same out-of-fold predictions."""
    calibrations = {
        name: clone(conformal).fit(one.predicted_, one.log_mass_, stars=one.star_)
        for name, one in fitted.calibrations.items()
    }
    return replace(fitted, conformal=conformal, calibrations=calibrations)


def _with_masses(table: QTable, distribution: MassDistribution) -> QTable:
    """Add masses, intervals and CRPS of distributions to a table with true masses."""
    test_mass = table["mass_true"].to_value("solMass")
    table["mass"] = 10 ** distribution.median() * u.solMass
    table["mass_mean"] = 10 ** distribution.mean() * u.solMass
    table["mass_predicted"] = 10 ** np.asarray(distribution.predicted) * u.solMass
    table["crps"] = distribution.crps(np.log10(test_mass))  # no unit: FITS has none for dex
    for level in LEVELS:
        for column, end in zip(interval_columns(level), distribution.interval(level), strict=True):
            table[column] = 10**end * u.solMass
    return table


def subsample_windows(windows: MapSet, *, per_star: int, seed: int = 0) -> MapSet:
    """Return at most `per_star` windows of each star, drawn at random with `seed`, in their order."""
    order = np.random.default_rng(seed).permutation(len(windows))
    groups = windows.groups[order]
    kept = [order[groups == group][:per_star] for group in np.unique(groups)]
    return windows[np.sort(np.concatenate(kept))]
