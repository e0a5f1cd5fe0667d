"""How well masses are predicted for stars, and clouds, that were never seen."""

from stellarfm.evaluation.benchmark import (
    Benchmark,
    benchmark_model,
    compare,
    held_out_masses,
    run_benchmark,
    score_table,
)
from stellarfm.evaluation.report import model_card, report
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
