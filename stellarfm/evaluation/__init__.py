"""Scores of predicted masses for stars and clouds that were never seen.

A `MapSet` of windows with known masses enters; a `Benchmark` (tables of predictions, scores and differences) and its
report in Markdown leave. Open `benchmark.py` first; `baselines.py` holds the methods that are compared, `splits.py`
the folds, `metrics.py` and `scores.py` the numbers.
"""

from stellarfm.evaluation.benchmark import Benchmark, benchmark_model, held_out_masses, run_benchmark
from stellarfm.evaluation.report import model_card, report
from stellarfm.evaluation.scores import compare, score_table
from stellarfm.evaluation.splits import check_disjoint, folds, split

__all__ = [
    "Benchmark",
    "benchmark_model",
    "check_disjoint",
    "compare",
    "folds",
    "held_out_masses",
    "model_card",
    "report",
    "run_benchmark",
    "score_table",
    "split",
]
