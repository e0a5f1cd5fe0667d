"""Scores of a run's probe against its steps, as a record, a table in Markdown and a figure."""

from __future__ import annotations

import math
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from stellarfm.output import new_file
from stellarfm.pretraining.step_table import StepTable

__all__ = ["CURVE", "SCORES", "curve_record", "curve_table", "draw_curve"]

#: Files in the folder of a run.
SCORES, CURVE = "probe.csv", "probe.png"
#: Okabe-Ito colors, which color-blind readers can distinguish.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
#: Number of rows of the table in Markdown, including the first and the last step.
ROWS = 12


def curve_record(folder: Path, *, about: str = "") -> dict[str, Any] | None:
    """Return all rows of a run's ``probe.csv`` as values that JSON can represent (NaN is None); None without scores."""
    rows = StepTable(folder / SCORES).read()
    scores = [{name: value if math.isfinite(value) else None for name, value in row.items()} for row in rows]
    return {"about": about, "scores": scores} if scores else None


def curve_table(record: dict[str, Any]) -> str:
    """Return up to 12 rows of a `curve_record` as a table in Markdown."""
    rows, names = record["scores"], list(record["scores"][0])
    shown = {round(i * (len(rows) - 1) / (ROWS - 1)) for i in range(ROWS)} if len(rows) > ROWS else range(len(rows))
    lines = [
        names,
        ["--:"] * len(names),
        *([_format_score(name, rows[i][name]) for name in names] for i in sorted(shown)),
    ]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def _format_score(name: str, value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.0f}" if name in ("step", "images") else f"{value:.3f}"


def draw_curve(folder: Path, *, about: str = "") -> Path | None:
    """Draw ``probe.png``, each score against the step; return its path, or None without matplotlib or scores."""
    rows = StepTable(folder / SCORES).read()
    if find_spec("matplotlib") is None or not rows:
        return None
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.4, 4.4), layout="constrained")
    axes = figure.add_subplot()
    names = [name for name in rows[0] if name not in ("step", "images")]
    for number, name in enumerate(names):
        color = COLORS[number % len(COLORS)]
        axes.plot([row["step"] for row in rows], [row[name] for row in rows], "o-", ms=3, color=color, label=name)
        axes.axhline(rows[0][name], color=color, lw=0.8, ls=":")  # score before the first step
    axes.set(xlabel="step", ylabel="score")
    axes.set_title(about, fontsize=8, wrap=True)
    axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    with new_file(folder / CURVE, overwrite=True) as path:
        figure.savefig(path, dpi=150)
    return folder / CURVE
