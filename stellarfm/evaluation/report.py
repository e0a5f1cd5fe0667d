"""Reports in Markdown: tables of scores, and the card of a model."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from stellarfm import __version__

if TYPE_CHECKING:
    from astropy.table import QTable, Row

    from stellarfm.evaluation.benchmark import Benchmark
    from stellarfm.inference.model import StellarModel

__all__ = ["HEAVY", "model_card", "report"]

#: Mass [solMass] above which stars are called heavy in the card of a model.
HEAVY = 3.0

_LEVELS = ("68", "95")

_SPLITS = {
    "star": "By star: five folds of whole stars",
    "simulation": "By simulation: each cloud predicted from the others",
}

_READING = """\
How to read the tables: everything that is fitted (scaler, whitening, trees or neighbors, intervals) is refitted in
every fold, to its training side alone. R2 and RMSE are those of log10 mass over all held-out windows, of `mass`, the
median; R2 of the mean is that of `mass_mean`. Numbers in brackets are 95 % intervals from resampling stars. CRPS
(smaller is better) and the full width of the 68 % interval are means in dex over stars, each of weight one. Coverage
is the fraction of true masses inside an interval, over stars, and in brackets over windows: heavy stars have many
windows, so that it is lower. In the second table stars are divided into fifths by predicted median, the lightest
first; an asterisk marks a coverage outside the 95 % binomial range, in the heading, of as many stars with exact
intervals.
"""

_USE = """\
Masses of young stars embedded in dense gas, with intervals, from maps of column density, velocity and velocity
dispersion around them; segments of similar gas. To compare populations and methods, and to explore. Not for decisions
about a single star, and never for the stars of its own reference set.
"""

_LIMITS = """\
- The masses are sink masses of simulations: isothermal, Bondi accretion, no feedback. They are right within these
  runs, not in nature, and no mass here was checked against an observed star.
- Intervals hold the true masses of the stated fraction of *stars* drawn from the same distribution as the reference
  stars. Counted by windows the coverage is lower. The simulations are few, and each is unlike the others: on a new
  cloud the intervals hold on average at best. Compare the coverage by star and by simulation above.
- `mass` is the median of a skewed distribution, in general below `mass_mean`. To average log masses take `mass_mean`;
  for sums of masses neither is right: draw `samples`.
- The reference set acts as a prior. {heavy} of its {stars} stars are heavier than 3 solar masses, so the masses of
  heavy stars are underestimated, and fewer of them lie inside their intervals than of light stars. For stars drawn
  from another distribution of masses, choose another `prior`.
- The scores above are of cubes around stars. {depth}
- Readout, head and calibration were chosen among more than a hundred combinations that were compared on these same
  clouds and splits; cloud c and its fields, one of which is that of `stellarfm demo`, were among the data compared.
  So the scores are optimistic, the intervals in brackets do not include it, and no cloud is left that nothing was
  chosen on.
- Noise, beam and pixels unlike those of the reference set lower the scores. Windows unlike it are flagged, with a
  false-alarm rate of a few percent (benchmarks/results/familiarity.md). Tracers that freeze out or saturate: not
  tested.
"""


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table with the first column aligned left."""
    lines = [head, [":--", *["--:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def _number(value: Any) -> str:
    """Return a number, or the value of a quantity, with two decimals."""
    return f"{float(getattr(value, 'value', value)):.2f}"


def _percent(value: Any) -> str:
    """Return a fraction as whole percent."""
    return f"{100 * float(value):.0f}" if math.isfinite(value) else "-"


def _score_row(row: Row) -> list[str]:
    """Return the cells of one method in the table of scores."""
    cells = [str(row["method"])]
    cells += [f"{_number(row['r2'])} ({_number(row['r2_low'])}, {_number(row['r2_high'])})", _number(row["r2_mean"])]
    cells += [_number(row["rmse"])]
    cells += [f"{row['star_crps'].value:.3f} ({row['star_crps_low'].value:.3f}, {row['star_crps_high'].value:.3f})"]
    cells += [_number(row["star_width_68"])]
    covers = [f"{_percent(row[f'star_coverage_{k}'])} % ({_percent(row[f'coverage_{k}'])} %)" for k in _LEVELS]
    return [*cells, *covers]


def _fifths_row(row: Row) -> list[str]:
    """Return the cells of one method in the table of coverage by fifths."""
    cells = [str(row["method"])]
    for level in _LEVELS:
        key = f"star_coverage_{level}_fifths"
        for value, low, high in zip(row[key], row[f"{key}_low"], row[f"{key}_high"], strict=True):
            cells.append(_percent(value) + ("" if not math.isfinite(value) or low <= value <= high else "*"))
    return cells


def _score_tables(scores: QTable) -> str:
    """Return two tables for each split, smallest CRPS first."""
    head = ["method", "R2", "R2 of mean", "RMSE", "CRPS", "width 68 %", "68 % covers", "95 % covers"]
    parts = []
    for split in dict.fromkeys(scores["split"]):
        part = scores[scores["split"] == split]
        part.sort("star_crps")
        counts = f"{part['n_windows'][0]} windows of {part['n_stars'][0]} stars"
        parts.append(f"### {_SPLITS[split]} ({counts})\n\n{_table(head, map(_score_row, part))}")
        ranges = " and ".join(f"{_fifths_range(part[0], level)} % of the {level} % interval" for level in _LEVELS)
        fifths = ["method", *(f"{level} %: {k}" for level in _LEVELS for k in range(1, 6))]
        title = f"Coverage [%] in fifths of predicted mass; within {ranges} if exact:"
        parts.append(f"{title}\n\n{_table(fifths, map(_fifths_row, part))}")
    return "\n".join(parts)


def _fifths_range(row: Row, level: str) -> str:
    """Return the widest binomial range of the fifths in percent, ``"54 to 81"``."""
    low, high = (row[f"star_coverage_{level}_fifths_{end}"] for end in ("low", "high"))
    finite = [(x, y) for x, y in zip(low, high, strict=True) if math.isfinite(x) and math.isfinite(y)]
    lows, highs = zip(*finite, strict=True)
    return f"{_percent(min(lows))} to {_percent(max(highs))}"


def _verdict(row: Row) -> str:
    """Return one comparison in words, by CRPS."""
    low, high = (float(getattr(row[f"crps_{end}"], "value", row[f"crps_{end}"])) for end in ("low", "high"))
    difference = float(getattr(row["crps_difference"], "value", row["crps_difference"]))
    word = "better than" if high < 0 else "worse than" if low > 0 else "not distinguishable from"
    return (
        f"- by {row['split']}: *{row['method']}* is **{word}** *{row['other']}* (CRPS difference {difference:+.3f} "
        f"dex, 95 % interval {low:+.3f} to {high:+.3f}; R2 difference {row['difference']:+.2f}, {row['low']:+.2f} to "
        f"{row['high']:+.2f})"
    )


def report(benchmark: Benchmark) -> str:
    """Return scores and comparisons of a benchmark in Markdown.

    Parameters
    ----------
    benchmark : Benchmark
        Result of `stellarfm.evaluation.run_benchmark`.

    Returns
    -------
    str
        For each split a table of scores and one of coverage in fifths of predicted mass; comparisons in words.

    Examples
    --------
    >>> from dataclasses import replace
    >>> from astropy import units as u
    >>> from astropy.table import QTable
    >>> from stellarfm.data import EXAMPLE_FIELD
    >>> from stellarfm.evaluation import run_benchmark
    >>> from stellarfm.evaluation.baselines import mean_of_training
    >>> from stellarfm.maps import GasMaps, windows_around
    >>> stars = QTable.read(EXAMPLE_FIELD, hdu="STARS")
    >>> windows = windows_around(GasMaps.read(EXAMPLE_FIELD), stars, pixels=32, pixel_scale=0.01 * u.pc)
    >>> windows = replace(windows, label_kind="sink")
    >>> print(report(run_benchmark(windows, [mean_of_training()], splits=["star"])).splitlines()[0])
    ### By star: five folds of whole stars (25 windows of 25 stars)
    """
    verdicts = "\n".join(_verdict(row) for row in benchmark.differences)
    return f"{_score_tables(benchmark.scores)}\n{_READING}\n{verdicts}\n"


def _training(model: StellarModel) -> str:
    """Return whether the masses use the encoder, and its complete training record."""
    encoder = model.embedder.encoder
    if encoder is None:
        return "The model has no encoder.\n"
    unused = "" if model.embedder.readout.needs_images else "The encoder is used for segments; no mass depends on it.\n"
    if not encoder.training:
        return f"{unused}The weights are random: this encoder was never trained.\n"
    record = json.dumps(encoder.training, indent=2)
    return f"{unused}Pretrained without labels; the record:\n\n```json\n{record}\n```\n"


def _limits(model: StellarModel) -> str:
    """Return the limits, with the numbers of the reference set."""
    reference = model.head.reference
    assert reference is not None
    deep = "field" in reference.depth_classes
    runs = sorted(set(reference.simulation[reference.depth_class == "field"].tolist()))
    depth = (
        f"For maps, which hold the whole line of sight, the model is calibrated with deep windows of {', '.join(runs)} "
        "alone."
        if deep
        else "Real maps hold the whole line of sight, with more column density and a larger dispersion around a star; "
        "the intervals do not include what this does to a mass."
    )
    return _LIMITS.format(heavy=reference.count_stars(above=HEAVY), stars=reference.count_stars(), depth=depth)


def _describe_head(model: StellarModel) -> str:
    """Return the name of the head and its options that differ from the defaults."""
    return f"{model.head.options()['head']} head, `{model.head.head!r}`"


def _describe_encoder(model: StellarModel) -> str:
    """Return the name of the encoder, and whether the masses use it."""
    encoder = model.embedder.encoder
    if encoder is None:
        return "none"
    return f"`{encoder.name}`; frozen{'' if model.embedder.readout.needs_images else '; used for segments only'}"


def _depths(windows: dict[str, int]) -> str:
    """Return the number of windows of each depth class in words."""
    return ", ".join(f"{number} of depth '{name}'" for name, number in windows.items())


def model_card(model: StellarModel, benchmark: Benchmark, *, command: str) -> str:
    """Return the card of a model in Markdown: use, training, reference set, scores of model and baselines, limits.

    Parameters
    ----------
    model : StellarModel
        Saved model.
    benchmark : Benchmark
        Benchmark of the model's readout and head.
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
        f"{', '.join(reference['simulations'])} ({_depths(reference['windows_by_depth'])})\n"
        f"- `mass`: the median; `mass_mean`: ten to the power of the mean log10 mass; intervals: the shortest, "
        f"calibrated by {model.head.calibration_by}, each star with weight one\n"
        f"- fingerprint: `{model.sha256}`; made by stellarfm {__version__}\n\n"
        f"## How the encoder was trained\n\n{_training(model)}\n"
        f"## How good it is\n\n"
        f"Reprinted by `{command}`. Tables are sorted by CRPS: a baseline that beats this model stands above it.\n\n"
        f"{report(benchmark)}\n"
        f"## Limits\n\n{_limits(model)}"
    )
