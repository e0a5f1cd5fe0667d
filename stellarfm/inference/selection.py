"""Choice among encoders, readouts and heads by nested cross-validation.

Map sets and candidates enter, a `Selection` leaves; open `select` first. In each outer fold a whole simulation (or a
fifth of the stars of a single one) is held out, the candidates are compared by cross-fitting on the remaining stars,
and only the best one predicts the held-out stars: these predictions score the procedure, choice included. The final
choice compares the candidates in the same way on all stars.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy import units as u
from astropy.table import QTable
from tqdm import tqdm

from stellarfm import registry
from stellarfm.exceptions import ModelError
from stellarfm.inference.encoding.embedding import Embedder
from stellarfm.inference.encoding.features import STATISTICS, Readout
from stellarfm.inference.encoding.frozen_encoder import FrozenEncoder
from stellarfm.inference.masses.calibrated_head import CalibratedHead, head_name, head_options
from stellarfm.inference.masses.conformal import star_weights
from stellarfm.inference.masses.reference_set import ReferenceSet
from stellarfm.maps import MapScaler, MapSet

if TYPE_CHECKING:
    from stellarfm.contracts import MassHead

__all__ = ["Candidate", "Selection", "default_candidates", "select"]

#: Number of outer folds of stars of a single simulation.
OUTER_FOLDS = 5

#: Beginning of the names of the columns that leave out one outer fold.
WITHOUT = "crps_without_"


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """Encoder, readout and head that `StellarModel.fit` can combine.

    Parameters
    ----------
    readout : Readout
        Readout with its options.
    head : MassHead
        Unfitted head with its options.
    encoder : str, path or None
        Encoder, as for `StellarModel.fit`. Candidates that read only ``"statistics"`` do not use it for masses.

    Examples
    --------
    >>> from stellarfm.inference import Candidate, KNNHead, Readout
    >>> print(Candidate(readout=Readout(pooling=("statistics", "zooms")), head=KNNHead()))
    statistics + zooms, knn
    """

    readout: Readout
    head: MassHead
    encoder: str | os.PathLike | None = "bundled"

    def __str__(self) -> str:
        """Return readout and head in words."""
        return f"{' + '.join(self.readout.pooling)}, {head_name(self.head)}"

    def to_config(self) -> dict[str, Any]:
        """Return the options as plain JSON types."""
        return {
            "encoder": None if self.encoder is None else os.fspath(self.encoder),
            "readout": {**asdict(self.readout), "pooling": list(self.readout.pooling)},
            "head": head_name(self.head),
            "head_options": head_options(self.head),
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Candidate:
        """Return the candidate with these options."""
        head = registry.create("heads", config["head"], **config["head_options"])
        return cls(readout=Readout(**config["readout"]), head=head, encoder=config["encoder"])


@dataclass(frozen=True, eq=False, kw_only=True)
class Selection:
    """Result of `select`.

    Attributes
    ----------
    table : QTable
        A row per candidate: ``readout``, ``head``, ``head_options`` (JSON), ``encoder``, inner scores of all stars
        ``crps`` (each star of weight one; decides) and ``window_crps`` [dex], ``chosen``, and for each outer fold
        ``crps_without_NAME``, the inner score on its training side, which decides in that fold.
    folds : QTable
        A row per outer fold: ``held_out`` (name), ``stars`` (number held out), ``chosen`` (row of `table`), and the
        scores of the chosen candidate on the stars held out, ``crps`` and ``window_crps`` [dex].
    chosen : Candidate
        Candidate of smallest ``crps``.
    outer_score : dict
        ``crps`` and ``window_crps`` [dex] of all held-out predictions: the score to expect of the procedure. The
        ``crps`` of the chosen candidate in `table` is too good, because it was chosen for it.

    Examples
    --------
    >>> from astropy.table import QTable
    >>> from stellarfm.inference import Candidate, KNNHead, Readout, Selection
    >>> chosen = Candidate(readout=Readout(pooling="statistics"), head=KNNHead(), encoder=None)
    >>> score = {"crps": 0.21, "window_crps": 0.19}
    >>> selection = Selection(table=QTable({"chosen": [True]}), folds=QTable(), chosen=chosen, outer_score=score)
    >>> selection.summary()
    'chosen of 1 candidates: statistics, knn; CRPS of held-out stars 0.210 dex'
    """

    table: QTable
    folds: QTable
    chosen: Candidate
    outer_score: dict[str, float]

    def summary(self) -> str:
        """Return the choice and its score in one line."""
        return (
            f"chosen of {len(self.table)} candidates: {self.chosen}; "
            f"CRPS of held-out stars {self.outer_score['crps']:.3f} dex"
        )

    def card(self) -> str:
        """Return a short table in Markdown."""
        rows = [
            f"| {row['readout']} | {row['head']} | {row['crps'].value:.3f} | {row['window_crps'].value:.3f} "
            f"| {'yes' if row['chosen'] else ''} |\n"
            for row in self.table
        ]
        return (
            "| readout | head | CRPS by star [dex] | CRPS by window [dex] | chosen |\n|---|---|---|---|---|\n"
            + "".join(rows)
            + f"\nChosen by nested cross-validation; CRPS of held-out stars {self.outer_score['crps']:.3f} dex, "
            f"of held-out windows {self.outer_score['window_crps']:.3f} dex, over {len(self.folds)} outer folds.\n"
        )

    def to_config(self) -> dict[str, Any]:
        """Return the selection as plain JSON types, for `from_config`."""
        return {
            "candidates": _lists(self.table),
            "folds": _lists(self.folds),
            "chosen": self.chosen.to_config(),
            "outer_score": self.outer_score,
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Selection:
        """Return the selection that `to_config` describes."""
        return cls(
            table=_table(config["candidates"]),
            folds=_table(config["folds"]),
            chosen=Candidate.from_config(config["chosen"]),
            outer_score=dict(config["outer_score"]),
        )


def default_candidates(encoder: str | os.PathLike | None = "bundled") -> list[Candidate]:
    """Return the candidates that `select` compares by default.

    Parameters
    ----------
    encoder : str, path or None
        Encoder of all candidates; with ``"bundled"``, that of ``class`` and ``knn``, the published method, is
        ``"hirashima2025"``. Without an encoder (None) only the readout ``"statistics"`` is left.

    Examples
    --------
    >>> from stellarfm.inference.selection import default_candidates
    >>> print(*default_candidates(None), sep="; ")
    statistics, forest; statistics, svr; statistics, knn
    """
    scaled = {"standardize": True}
    pairs: list[tuple[str, str, dict[str, Any]]] = [
        ("statistics", "forest", {}),
        ("statistics", "svr", scaled),
        ("statistics", "knn", {**scaled, "n_components": 24, "n_neighbors": 10, "vote_by": "star"}),
    ]
    if encoder is not None:
        pairs += [
            ("profiles", "svr", {}),
            ("zooms", "svr", {}),
            ("statistics zooms", "svr", scaled),
            ("class", "knn", {}),
        ]
    return [
        Candidate(
            readout=Readout(pooling=tuple(pooling.split())),
            head=registry.create("heads", head, **options),
            encoder="hirashima2025" if (encoder, pooling) == ("bundled", "class") else encoder,
        )
        for pooling, head, options in pairs
    ]


def select(
    mapsets: MapSet | Sequence[MapSet],
    candidates: Sequence[Candidate] | None = None,
    *,
    encoder: str | os.PathLike | None = "bundled",
    seed: int = 0,
    quiet: bool = True,
) -> Selection:
    """Choose encoder, readout and head by nested cross-validation.

    Candidates are compared by the continuous ranked probability score (CRPS) of out-of-fold distributions of log mass,
    each star of weight one whatever the number of its windows. Folds are of whole stars: all windows of a star, in map
    sets of all depths, are on one side. The scaler of the maps, which uses no masses, is fitted to all windows, so that
    features are computed once.

    Parameters
    ----------
    mapsets : MapSet or sequence of MapSet
        Windows of stars of known mass, as for `StellarModel.fit`.
    candidates : sequence of Candidate, optional
        Candidates; the first of equal ones is chosen. By default `default_candidates`.
    encoder : str, path or None
        Encoder of the default candidates.
    seed : int
        Seed of random weights.
    quiet : bool
        Show no progress bar, which is otherwise shown on a terminal.

    Returns
    -------
    Selection
        Scores of all candidates, the choice, and the score of the procedure; pass it to `StellarModel.fit`.

    Raises
    ------
    ModelError
        If there is no candidate, fewer than three stars, or fewer than two outside one of the simulations.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy import units as u
    >>> from astropy.table import QTable
    >>> from stellarfm.inference import Candidate, KNNHead, Readout, select
    >>> from stellarfm.maps import MapSet
    >>> mass = np.geomspace(0.1, 10, 8)
    >>> windows = MapSet(
    ...     column_density=1e22 * mass[:, None, None] * np.ones((8, 16, 16)) / u.cm**2,
    ...     velocity=np.zeros((8, 16, 16)) * u.km / u.s,
    ...     velocity_dispersion=0.3 * np.ones((8, 16, 16)) * u.km / u.s,
    ...     stars=QTable({"star": np.arange(8), "axis": np.zeros(8, int), "mass": mass * u.solMass}),
    ...     pixel_scale=0.01 * u.pc,
    ...     depth=0.16 * u.pc,
    ...     label_kind="sink",
    ...     simulation="example",
    ...     provenance="made in an example",
    ... )
    >>> heads = KNNHead(n_neighbors=2), KNNHead(n_neighbors=6)
    >>> readout = Readout(pooling="statistics")
    >>> selection = select(windows, [Candidate(readout=readout, head=head, encoder=None) for head in heads])
    >>> selection.chosen.head
    KNNHead(n_neighbors=2)
    """
    sets = [mapsets] if isinstance(mapsets, MapSet) else list(mapsets)
    candidates = default_candidates(encoder) if candidates is None else list(candidates)
    if not candidates:
        raise ModelError("no candidate to choose from; give one or more, or None for the default ones")
    if any(one.label_kind is None for one in sets):
        raise ModelError("a map set has no label kind, so no masses to learn from; expected 'sink' or 'star'")
    known = ReferenceSet.from_windows(np.empty((sum(map(len, sets)), 0), np.float32), sets)
    folds = outer_folds(known)
    total = len(candidates) * (len(folds) + 1)
    with tqdm(total=total, disable=True if quiet else None, unit="fit", leave=False) as bar:
        features = _Features(sets, candidates, seed=seed)

        def scores(rows: np.ndarray) -> np.ndarray:
            """Return the star-weighted and the plain mean of the inner CRPS of each candidate, shape (C, 2)."""
            found = []
            for number, candidate in enumerate(candidates):
                found.append(_inner_score(candidate, features.reference(number, known, rows), features.blocks[number]))
                bar.update()
            return np.array(found)

        inner, held_out = [], []
        for _, kept, held in folds:
            inner.append(scores(kept)[:, 0])
            best = int(inner[-1].argmin())
            held_out.append(
                _held_out_crps(
                    candidates[best],
                    features.reference(best, known, kept),
                    features.reference(best, known, held),
                    features.blocks[best],
                )
            )
        final = scores(np.arange(len(known)))
    outer = np.full(len(known), np.nan)
    for (_, _, held), crps in zip(folds, held_out, strict=True):
        outer[held] = crps
    best = int(final[:, 0].argmin())
    table = _candidate_table(candidates)
    table["crps"], table["window_crps"] = final.T * u.dex
    table["chosen"] = np.arange(len(candidates)) == best
    for (name, _, _), column in zip(folds, inner, strict=True):
        table[WITHOUT + name] = column * u.dex
    groups = known.groups
    fold_scores = np.array([_means(crps, groups[held]) for (_, _, held), crps in zip(folds, held_out, strict=True)])
    fold_table = QTable(
        {
            "held_out": [name for name, _, _ in folds],
            "stars": [len(np.unique(groups[held])) for _, _, held in folds],
            "chosen": [int(column.argmin()) for column in inner],
            "crps": fold_scores[:, 0] * u.dex,
            "window_crps": fold_scores[:, 1] * u.dex,
        }
    )
    by_star, by_window = _means(outer, groups)
    return Selection(
        table=table,
        folds=fold_table,
        chosen=candidates[best],
        outer_score={"crps": by_star, "window_crps": by_window},
    )


def outer_folds(reference: ReferenceSet) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Return name, rows kept and rows held out of each outer fold.

    One simulation is held out per fold, named after it; of a single simulation a fifth of its stars.

    Raises
    ------
    ModelError
        If fewer than two stars are kept in a fold.
    """
    from sklearn.model_selection import GroupKFold

    groups, simulation = reference.groups, reference.simulation
    names = np.unique(simulation).tolist()
    if len(names) > 1:
        folds = [(str(n), np.flatnonzero(simulation != n), np.flatnonzero(simulation == n)) for n in names]
    else:
        n_folds = min(OUTER_FOLDS, len(np.unique(groups)))
        parts = GroupKFold(n_folds).split(groups, groups=groups) if n_folds > 1 else []
        folds = [(f"fold_{number}", kept, held) for number, (kept, held) in enumerate(parts, start=1)]
    if not folds or min(len(np.unique(groups[kept])) for _, kept, _ in folds) < 2:
        raise ModelError(
            f"{len(np.unique(groups))} stars of {len(names)} simulations are too few to select by; expected two or "
            "more outside each simulation, or three of a single one"
        )
    return folds


class _Features:
    """Features of all windows for each candidate, computed once for each combination of encoder and readout options.

    Attributes
    ----------
    blocks : list of tuple of int
        Lengths of the parts of the feature vectors of each candidate.
    """

    def __init__(self, sets: Sequence[MapSet], candidates: Sequence[Candidate], *, seed: int) -> None:
        windows = MapSet.concatenate(sets)
        n_y, n_x = windows.column_density.shape[1:]
        if n_y != n_x:
            raise ModelError(f"windows of {n_y} x {n_x} pixels; expected square ones")
        wanted: dict[tuple[Any, Readout], list[str]] = {}
        for candidate in candidates:
            for name in candidate.readout.pooling:
                names = wanted.setdefault(_key(candidate, name), [])
                names += [] if name in names else [name]
        self._parts: dict[tuple[Any, Readout, str], np.ndarray] = {}
        for (encoder, readout), names in wanted.items():
            embedder = Embedder(
                encoder
                if encoder is None
                else FrozenEncoder.resolve(encoder, image_size=n_x, seed=seed).half_precision(),
                MapScaler(),
                replace(readout, pooling=tuple(names)),
                pixels=n_x,
                pixel_scale=windows.pixel_scale,
            ).fit(windows)
            vectors = np.concatenate([embedder.features(one) for one in sets])
            ends = np.cumsum(embedder.block_lengths)[:-1]
            for name, values in zip(names, np.split(vectors, ends, axis=1), strict=True):
                self._parts[encoder, readout, name] = values
        self._keys = [[(*_key(one, name), name) for name in one.readout.pooling] for one in candidates]
        self.blocks = [tuple(self._parts[key].shape[1] for key in keys) for keys in self._keys]

    def reference(self, number: int, known: ReferenceSet, rows: np.ndarray) -> ReferenceSet:
        """Return the reference set of some rows with the features of a candidate."""
        parts = [self._parts[key][rows] for key in self._keys[number]]
        return replace(known[rows], features=np.concatenate(parts, axis=1))


def _key(candidate: Candidate, pooling: str) -> tuple[Any, Readout]:
    """Return what the features of one pooling depend on: encoder and options of the readout."""
    if pooling == STATISTICS:
        return None, Readout(pooling=(STATISTICS,))
    encoder = None if candidate.encoder is None else os.fspath(candidate.encoder)
    return encoder, replace(candidate.readout, pooling=("class",))


def _inner_score(candidate: Candidate, reference: ReferenceSet, blocks: tuple[int, ...]) -> tuple[float, float]:
    """Return the means of the CRPS of out-of-fold distributions, over stars and over windows."""
    crps = np.empty(len(reference))
    for name, one in CalibratedHead(head=candidate.head).calibrate(reference, blocks=blocks).items():
        crps[reference.depth_class == name] = one.reference_crps()
    return _means(crps, reference.groups)


def _held_out_crps(candidate: Candidate, kept: ReferenceSet, held: ReferenceSet, blocks: tuple[int, ...]) -> np.ndarray:
    """Return the CRPS of held-out windows, shape (N,), by a candidate fitted to the others."""
    fitted = CalibratedHead(head=candidate.head).fit(kept, blocks=blocks)
    crps = np.empty(len(held))
    for name in held.depth_classes:
        rows = held.depth_class == name
        depth = name if name in fitted.calibrations else None  # a class of the held-out simulation alone
        crps[rows] = fitted.predict(held.features[rows], depth_class=depth).crps(np.log10(held.mass[rows]))
    return crps


def _means(crps: np.ndarray, groups: np.ndarray) -> tuple[float, float]:
    """Return the mean over windows with each star of weight one, and the plain mean."""
    return float(np.average(crps, weights=star_weights(groups))), float(crps.mean())


def _candidate_table(candidates: Sequence[Candidate]) -> QTable:
    """Return a table of the options of candidates."""
    configs = [candidate.to_config() for candidate in candidates]
    return QTable(
        {
            "readout": [" + ".join(one["readout"]["pooling"]) for one in configs],
            "head": [one["head"] for one in configs],
            "head_options": [json.dumps(one["head_options"]) for one in configs],
            "encoder": [one["encoder"] or "none" for one in configs],
        }
    )


def _lists(table: QTable) -> dict[str, list]:
    """Return the columns as lists; those with a unit are scores in dex."""
    return {name: np.asarray(table[name]).tolist() for name in table.colnames}


def _table(columns: Mapping[str, list]) -> QTable:
    """Return the table of columns from `_lists`."""
    scores = {name for name in columns if name in ("crps", "window_crps") or name.startswith(WITHOUT)}
    return QTable({name: values * u.dex if name in scores else values for name, values in columns.items()})
