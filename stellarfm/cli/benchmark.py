"""``stellarfm benchmark``: how good a model is on held-out stars and clouds, beside what it has to beat."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from stellarfm.cli.common import add_output_options, existing_file, say

if TYPE_CHECKING:
    from stellarfm.evaluation import Benchmark
    from stellarfm.inference.model import StellarModel

__all__ = ["add_parser", "run"]


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the sub-command."""
    p = subparsers.add_parser(
        "benchmark",
        help="R2, RMSE and interval coverage on held-out stars and clouds",
        description="Predict the masses of held-out stars and of held-out simulations; everything but the encoder is "
        "learnt anew in every fold. Compares with random weights, hand-made statistics and the mean.",
    )
    p.add_argument("maps", nargs="+", type=Path, metavar="maps.h5", help="map sets with masses, of two or more runs")
    choice = p.add_mutually_exclusive_group()
    choice.add_argument("--model", default="bundled", metavar="DIR", help="a model directory (default: bundled)")
    choice.add_argument("--encoder", metavar="NAME|DIR", help="an encoder, with the default readout, instead")
    p.add_argument("--quick", action="store_true", help="three windows a star: to see that it works")
    add_output_options(p, what="folder for scores.md, scores.ecsv, predictions.fits and figures")
    p.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Read the map sets, run the benchmark, write tables and figures."""
    from stellarfm.output import check_output, new_directory

    check_output(args.output, overwrite=args.overwrite)
    paths = [existing_file(path) for path in args.maps]
    model = None if args.encoder else _model(args.model)

    from stellarfm.evaluation import benchmark_model, report
    from stellarfm.maps import MapSet

    windows = MapSet.concatenate([MapSet.read(path) for path in paths])
    benchmark = benchmark_model(windows, model=model, encoder=args.encoder, quick=args.quick, quiet=args.quiet)
    with new_directory(args.output, overwrite=args.overwrite) as folder:
        _write(benchmark, folder)
        (folder / "scores.md").write_text(report(benchmark))
    say(report(benchmark), args)
    say(f"wrote {args.output}", args)


def _model(choice: str) -> StellarModel:
    """The bundled model, or that in a directory."""
    from stellarfm.inference.model import StellarModel

    return StellarModel.load(None if choice == "bundled" else choice)


def _write(benchmark: Benchmark, folder: Path) -> None:
    """Tables, and a figure for each split if matplotlib is there."""
    from stellarfm.plotting import has_matplotlib, held_out

    benchmark.scores.write(folder / "scores.ecsv")
    benchmark.differences.write(folder / "differences.ecsv")
    benchmark.predictions.write(folder / "predictions.fits")
    if has_matplotlib():
        for split in dict.fromkeys(benchmark.predictions["split"]):
            held_out(benchmark.predictions, split=split).savefig(folder / f"by_{split}.png", dpi=150)
