"""``stellarfm benchmark``: scores of a model on held-out stars and clouds, compared with baselines."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from stellarfm.cli.common import add_output_options, existing_file, say

if TYPE_CHECKING:
    from stellarfm.evaluation import Benchmark

__all__ = ["add_parser", "run"]


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the sub-command."""
    p = subparsers.add_parser(
        "benchmark",
        help="R2, RMSE, CRPS and interval coverage on held-out stars and clouds",
        description="Predict the masses of held-out stars and of held-out simulations; everything but the encoder is "
        "refitted in every fold. Compares with constant-width intervals, published methods, statistics and the mean.",
    )
    p.add_argument("maps", nargs="+", type=Path, metavar="maps.h5", help="map sets with masses, of at least two runs")
    choice = p.add_mutually_exclusive_group()
    choice.add_argument("--model", default="bundled", metavar="DIR", help="model directory (default: bundled)")
    choice.add_argument("--encoder", metavar="NAME|DIR", help="encoder with the default readout, in place of a model")
    p.add_argument("--quick", action="store_true", help="three windows per star, as a quick test")
    add_output_options(p, what="directory for scores.md, scores.ecsv, predictions.fits and figures")
    p.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Read the map sets, run the benchmark, and write tables and figures."""
    from stellarfm.output import check_output, new_directory

    check_output(args.output, overwrite=args.overwrite)
    paths = [existing_file(path) for path in args.maps]

    from stellarfm.evaluation import benchmark_model, report
    from stellarfm.inference.model import StellarModel
    from stellarfm.maps import MapSet

    model = None if args.encoder else StellarModel.load(None if args.model == "bundled" else args.model)
    windows = MapSet.concatenate([MapSet.read(path) for path in paths])
    benchmark = benchmark_model(windows, model=model, encoder=args.encoder, quick=args.quick, quiet=args.quiet)
    with new_directory(args.output, overwrite=args.overwrite) as folder:
        _write(benchmark, folder)
        (folder / "scores.md").write_text(report(benchmark))
    say(report(benchmark), args)
    say(f"wrote {args.output}", args)


def _write(benchmark: Benchmark, folder: Path) -> None:
    """Write tables, and a figure for each split if matplotlib is installed."""
    from stellarfm.plotting import has_matplotlib, held_out

    benchmark.scores.write(folder / "scores.ecsv")
    benchmark.differences.write(folder / "differences.ecsv")
    benchmark.predictions.write(folder / "predictions.fits")
    if has_matplotlib():
        for split in dict.fromkeys(benchmark.predictions["split"]):
            held_out(benchmark.predictions, split=split).savefig(folder / f"by_{split}.png", dpi=150)
