"""``stellarfm fit``: fit a model to windows of stars of known mass, with a frozen encoder."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from stellarfm.cli.common import add_output_options, existing_file, say

if TYPE_CHECKING:
    from stellarfm.inference import StellarModel

__all__ = ["add_parser", "run"]


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the sub-command."""
    p = subparsers.add_parser(
        "fit",
        help="fit a model to windows of stars of known mass",
        description="Fit a model: masses from the features of a frozen encoder, intervals calibrated by star.",
    )
    p.add_argument("maps", nargs="+", type=Path, metavar="maps.h5", help="map sets of one label kind")
    p.add_argument(
        "--encoder",
        default="bundled",
        metavar="NAME|DIR",
        help="output of pretrain, model, or plugin with random weights (default: the bundled encoder)",
    )
    p.add_argument(
        "--pooling",
        nargs="+",
        choices=("class", "mean", "rings", "zooms", "profiles"),
        help="parts of the readout (default: zooms profiles, as in the bundled model)",
    )
    p.add_argument(
        "--weights",
        dest="block_weights",
        type=float,
        nargs="+",
        metavar="W",
        help="weight of each part of the readout (default: 1 each)",
    )
    p.add_argument("--symmetries", action="store_true", help="average features over rotations and flips of a window")
    p.add_argument(
        "--neighbours",
        choices=("windows", "stars"),
        help="voters of the head `neighbours` (default: stars)",
    )
    p.add_argument("--k", dest="n_neighbors", type=int, metavar="K", help="number of neighbors (default: 20)")
    p.add_argument(
        "--components",
        dest="n_components",
        type=int,
        metavar="P",
        help="principal components of each part, at most (default: 24)",
    )
    p.add_argument("--head", choices=("neighbours", "kernel"), help="predictor of the mass (default: kernel)")
    p.add_argument(
        "--calibration-by",
        default="star",
        choices=("star", "simulation"),
        help="unit that is held out to calibrate the intervals (default: star)",
    )
    p.add_argument("--seed", type=int, default=0, help="seed of random weights and choices (default: 0)")
    add_output_options(p, what="directory of the model")
    p.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Read the map sets, fit the model and save it."""
    from stellarfm.inference import Readout, StellarModel
    from stellarfm.inference.encoding.features import DEFAULT_POOLING
    from stellarfm.inference.masses.mass_head import default_regressor
    from stellarfm.maps import MapSet
    from stellarfm.output import check_output

    check_output(args.output, overwrite=args.overwrite)
    mapset = MapSet.concatenate([MapSet.read(existing_file(path)) for path in args.maps])
    readout = Readout(pooling=args.pooling or DEFAULT_POOLING, symmetries=args.symmetries)
    names = ("n_components", "n_neighbors", "neighbours", "block_weights", "head")
    given = {name: value for name in names if (value := getattr(args, name)) is not None}
    regressor = default_regressor().set_params(**given)
    model = StellarModel.fit(
        mapset,
        encoder=args.encoder,
        readout=readout,
        regressor=regressor,
        calibration_by=args.calibration_by,
        seed=args.seed,
    )
    model.save(args.output, overwrite=args.overwrite)
    say(_summary(model, args), args)


def _summary(model: StellarModel, args: argparse.Namespace) -> str:
    """One line on what was made."""
    score, reference = model.head.cross_validation, model.head.summary()
    return (
        f"wrote {args.output}: {reference['windows']} windows of {reference['stars']} stars; "
        f"held out by {args.calibration_by}: R2 of log mass {score['r2']:.2f}, RMSE {score['rmse_dex']:.2f} dex"
    )
