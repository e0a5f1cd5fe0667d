"""Reports in Markdown: tables of scores, and the card of a model."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from stellarfm import __version__

if TYPE_CHECKING:
    from astropy.table import QTable, Row

    from stellarfm.evaluation.benchmark import Benchmark
    from stellarfm.inference.model import StellarModel

__all__ = ["model_card", "report"]

_SPLITS = {
    "star": "By star: five folds of whole stars",
    "simulation": "By simulation: each cloud predicted from the others",
}

_READING = (
    "R2 of log10 mass over all held-out windows, with 95 % intervals from resampling stars; lengths in dex. Scaler, "
    "whitening, neighbors or trees and intervals are refitted in every fold, to its training side alone. "
    "Coverage counts windows; in brackets every star has weight one, as in the calibration."
)

_LIMITS = """\
- The masses are sink masses of these runs: isothermal, Bondi accretion, no feedback. Heavy stars grow too fast in them.
  They are right within these runs, not in nature, and no mass here was checked against an observed star.
- The windows are cubes of 0.5 pc. A real map holds the whole line of sight, with more column density and a larger
  dispersion around the star. The intervals are calibrated on cubes and do not include what this does to a mass;
  `stellarfm demo` shows it: its field is the whole depth of a cloud that is not in the reference set.
- The simulations differ in their magnetic field; every one is unlike the others, and they are few. Intervals calibrated
  on the stars of some hold for another only on average: compare their coverage by star and by simulation above.
- Noise and a beam that the reference set does not have lower the scores by much (benchmarks/results/robustness.md).
  Maps of another resolution, and tracers that freeze out or saturate: not tested.
- Heavy stars are few in the reference set; their masses are underestimated.
- Architecture of the encoder, readout, weights, number of components and head were chosen among more than 300
  combinations that were compared on the very splits above, about 58 of them also on the field of the demo. The trees
  and rings of the hand-made statistics were chosen on the same splits, among far fewer. So the scores of the model are
  optimistic, more so than the baselines', the intervals in brackets do not include it, and no cloud is left that
  nothing was chosen on.
"""

_USE = """\
Masses of young stars embedded in dense gas, from maps of column density, velocity and velocity dispersion around them,
with intervals; segments of alike gas. To compare methods and to explore. Not for masses of single stars that
something depends on, and never for the stars of its own reference set.
"""


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table with the first column aligned left."""
    lines = [head, [":--", *["--:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def _number(value: Any) -> str:
    """Return a number, or the value of a quantity, with two decimals."""
    return f"{float(getattr(value, 'value', value)):.2f}"


def _score_row(row: Row) -> list[str]:
    """Return the cells of one method."""
    r2, rmse = (f"{_number(row[n])} ({_number(row[f'{n}_low'])}, {_number(row[f'{n}_high'])})" for n in ("r2", "rmse"))
    cells = [str(row["method"]), r2, rmse, _number(row["bias"])]
    for level in ("68", "95"):
        covered, by_star = (f"{100 * float(row[f'{kind}coverage_{level}']):.0f} %" for kind in ("", "star_"))
        cells += [f"{covered} ({by_star})", f"± {_number(row[f'half_width_{level}'])}"]
    return cells


def _score_tables(scores: QTable) -> str:
    """Return a table per split, best method first."""
    head = ["method", "R2", "RMSE", "bias", "68 % covers", "half-width", "95 % covers", "half-width"]
    parts = []
    for split in dict.fromkeys(scores["split"]):
        part = scores[scores["split"] == split]
        part.sort("r2", reverse=True)
        counts = f"{part['n_windows'][0]} windows of {part['n_stars'][0]} stars"
        parts.append(f"### {_SPLITS[split]} ({counts})\n\n{_table(head, map(_score_row, part))}")
    return "\n".join(parts)


def _verdict(row: Row) -> str:
    """Return one comparison in words."""
    wins = row["low"] > 0, row["high"] < 0
    word = "better than" if wins[0] else "worse than" if wins[1] else "not distinguishable from"
    numbers = f"R2 difference {row['difference']:+.2f}, 95 % interval {row['low']:+.2f} to {row['high']:+.2f}"
    return f"- by {row['split']}: *{row['method']}* is **{word}** *{row['other']}* ({numbers})"


def report(benchmark: Benchmark) -> str:
    """Return scores and comparisons of a benchmark in Markdown.

    Parameters
    ----------
    benchmark : Benchmark
        Result of `stellarfm.evaluation.run_benchmark`.

    Returns
    -------
    str
        Tables of scores, and comparisons in words.

    Examples
    --------
    See `stellarfm.evaluation.run_benchmark`.
    """
    verdicts = "\n".join(_verdict(row) for row in benchmark.differences)
    return f"{_score_tables(benchmark.scores)}\n{_READING}\n\n{verdicts}\n"


def _training(model: StellarModel) -> str:
    """Return the complete training record."""
    if model.embedder.encoder is None:
        return "There is none.\n"
    if not model.embedder.encoder.training:
        return "The weights are random: this encoder was never trained.\n"
    record = json.dumps(model.embedder.encoder.training, indent=2)
    return f"Pretrained without labels; the record:\n\n```json\n{record}\n```\n"


def _describe_head(model: StellarModel) -> str:
    """Return the name of the head and its options that differ from the defaults."""
    return f"{model.head.options()['head']} head, `{model.head.head!r}`"


def _describe_encoder(model: StellarModel) -> str:
    """Return the name of the encoder, and whether the masses use it."""
    encoder = model.embedder.encoder
    if encoder is None:
        return "none"
    return f"`{encoder.name}`; frozen{'' if model.embedder.readout.needs_images else '; used for segments only'}"


def model_card(model: StellarModel, benchmark: Benchmark, *, command: str) -> str:
    """Return the card of a model in Markdown: use, training, reference set, scores of model and baselines, limits.

    Parameters
    ----------
    model : StellarModel
        Saved model.
    benchmark : Benchmark
        Benchmark of the model's encoder and readout.
    command : str
        Command line that reproduces the scores.

    Returns
    -------
    str
        Markdown text.

    Examples
    --------
    >>> model_card(model, benchmark, command="stellarfm benchmark *.h5")  # doctest: +SKIP
    """
    embedder, reference = model.embedder, model.head.summary()
    lightest, heaviest = reference["trusted_mass_solMass"]
    return (
        f"# stellarfm model: {' + '.join(embedder.readout.pooling)}, {model.head.options()['head']}\n\n{_USE}\n"
        f"## What it is\n\n"
        f"- encoder: {_describe_encoder(model)}\n"
        f"- readout: {' + '.join(embedder.readout.pooling)}; {_describe_head(model)}\n"
        f"- input: windows of {embedder.pixels} pixels of {embedder.pixel_scale:.4g} around a star\n"
        f"- masses: {model.label_kind} masses; five or more reference stars lie beyond {lightest:.2g} and "
        f"{heaviest:.2g} solar masses, outside this range masses are flagged\n"
        f"- reference set: {reference['windows']} windows of {reference['stars']} stars of "
        f"{', '.join(reference['simulations'])}\n"
        f"- intervals: conformal, by {model.head.calibration_by}, each star with weight one\n"
        f"- fingerprint: `{model.sha256}`; made by stellarfm {__version__}\n\n"
        f"## How the encoder was trained\n\n{_training(model)}\n"
        f"## How good it is\n\n"
        f"Reprinted by `{command}`. Tables are sorted by R2: a baseline that beats this encoder stands above it.\n\n"
        f"{report(benchmark)}\n"
        f"## Limits\n\n{_LIMITS}"
    )
