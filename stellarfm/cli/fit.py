"""``stellarfm fit``: fit a model to windows of stars of known mass, with a frozen encoder."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stellarfm.cli.common import PRESETS, add_output_options, existing_file, say

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
    p.add_argument(
        "maps", nargs="+", type=Path, metavar="maps.h5", help="map sets of one label kind, of one or several depths"
    )
    p.add_argument("--preset", choices=PRESETS, help="encoder, readout and head of a published method")
    p.add_argument(
        "--select",
        action="store_true",
        help="choose readout and head by nested cross-validation; excludes --preset, --readout and --head",
    )
    p.add_argument(
        "--encoder",
        metavar="NAME|DIR|none",
        help="output of pretrain, a model, or a plugin (random weights); default: that of the bundled model",
    )
    p.add_argument(
        "--readout",
        nargs="+",
        choices=("class", "mean", "rings", "zooms", "profiles", "statistics"),
        help="features of a window, of one or several kinds (default: statistics)",
    )
    p.add_argument("--symmetries", action="store_true", help="average features over rotations and flips of a window")
    p.add_argument("--head", metavar="NAME", help="head that predicts the mass: forest, svr, knn (default: forest)")
    p.add_argument(
        "--head-option", action="append", default=[], metavar="KEY=VALUE", help="option of the head; repeatable"
    )
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
    """Read the map sets, fit, save."""
    from stellarfm.inference import StellarModel, select
    from stellarfm.maps import MapSet
    from stellarfm.output import check_output

    check_output(args.output, overwrite=args.overwrite)
    _check_select(args)
    parts: dict[str, Any] = {} if args.select else _parts(args)
    mapsets = [MapSet.read(existing_file(path)) for path in args.maps]
    if args.select:
        parts["selection"] = select(mapsets, encoder=_encoder(args.encoder), seed=args.seed, quiet=args.quiet)
        say(parts["selection"].summary(), args)
    model = StellarModel.fit(mapsets, calibration_by=args.calibration_by, seed=args.seed, **parts)
    model.save(args.output, overwrite=args.overwrite)
    say(_summary(model, args), args)


def _parts(args: argparse.Namespace) -> dict[str, Any]:
    """Return encoder, readout and head, as `StellarModel.fit` takes them."""
    from stellarfm import registry
    from stellarfm.inference.encoding.features import DEFAULT_POOLING, Readout
    from stellarfm.inference.masses.calibrated_head import DEFAULT_HEAD
    from stellarfm.inference.presets import preset_options

    parts: dict[str, Any] = preset_options(args.preset) if args.preset else {}
    if args.encoder is not None:
        parts["encoder"] = _encoder(args.encoder)
    if args.readout or args.symmetries or not args.preset:
        pooling = args.readout or (parts["readout"].pooling if args.preset else DEFAULT_POOLING)
        parts["readout"] = Readout(pooling=pooling, symmetries=args.symmetries)
    if args.head or args.head_option or not args.preset:
        name = args.head or ("knn" if args.preset else DEFAULT_HEAD)
        parts["head"] = registry.create("heads", name, **_head_options(args.head_option))
    return parts


def _check_select(args: argparse.Namespace) -> None:
    """Raise `ModelError` if ``--select`` is given with an option that makes the choice."""
    from stellarfm.exceptions import ModelError

    names = ("preset", "readout", "head", "head_option", "symmetries")
    given = [f"--{name.replace('_', '-')}" for name in names if getattr(args, name)]
    if args.select and given:
        raise ModelError(f"--select chooses readout and head; leave out {', '.join(given)}")


def _encoder(choice: str | None) -> str | None:
    """Return the encoder that an option names, as `StellarModel.fit` takes it."""
    return {"none": None, None: "bundled"}.get(choice, choice)


def _head_options(pairs: list[str]) -> dict[str, Any]:
    """Return the options KEY=VALUE; values are JSON, or text."""
    from stellarfm.exceptions import ModelError

    options: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise ModelError(f"--head-option {pair!r}; expected KEY=VALUE")
        try:
            options[key.strip().replace("-", "_")] = json.loads(value)
        except ValueError:
            options[key.strip().replace("-", "_")] = value
    return options


def _summary(model: StellarModel, args: argparse.Namespace) -> str:
    """Return one line on the new model."""
    reference = model.head.summary()
    scores = "; ".join(
        f"{name}: R2 of log mass {score['r2']:.2f}, RMSE {score['rmse_dex']:.2f} dex"
        for name, score in model.head.cross_validation.items()
    )
    return (
        f"wrote {args.output}: {reference['windows']} windows of {reference['stars']} stars; "
        f"held out by {args.calibration_by}: {scores}"
    )
