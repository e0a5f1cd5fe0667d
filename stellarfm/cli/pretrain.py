"""``stellarfm pretrain``: train an encoder without labels."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from stellarfm.cli.common import add_output_options, existing_file, say

if TYPE_CHECKING:
    from stellarfm.pretraining.callbacks.probe import Probe
    from stellarfm.pretraining.recipe import Recipe

__all__ = ["add_parser", "run"]


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the sub-command."""
    p = subparsers.add_parser(
        "pretrain",
        help="train an encoder without labels",
        description="Train an encoder without labels (or with labels, for a supervised method). "
        "Options override the recipe. Exit codes: 0, also after --max-hours; 143 after SIGTERM and 130 after SIGINT, "
        "both with a checkpoint from which --resume continues; 1 for an error.",
    )
    p.add_argument("--config", help="recipe: TOML file, or name of a bundled one, e.g. small8-64")
    p.add_argument("--encoder", help="encoder plugin, e.g. dinov2-vit-tiny8 (default: from the recipe)")
    p.add_argument("--dataset", help="dataset plugin, e.g. flames (default: from the recipe)")
    p.add_argument("--method", help="method plugin (default: from the recipe, else dinov2)")
    p.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="TABLE.KEY=VALUE",
        dest="settings",
        help="setting of the recipe, e.g. dataset.path=maps.h5 or method.koleo_weight=0.2; may be repeated",
    )
    p.add_argument("--steps", type=int, help="number of optimizer steps, and length of the schedules")
    p.add_argument("--batch-size", type=int, help="images per step, over all devices")
    p.add_argument("--size", type=int, help="side of the images in pixels")
    p.add_argument("--seed", type=int, help="seed of weights, choice of images and views")
    p.add_argument("--checkpoint-steps", type=int, help="steps between checkpoints")
    p.add_argument("--checkpoint-minutes", type=float, help="minutes between additional checkpoints")
    p.add_argument("--max-hours", type=float, help="time limit, after which a checkpoint and the encoder are written")
    p.add_argument("--workers", type=int, help="number of processes that render images")
    p.add_argument("--torch-threads", type=int, help="number of threads of torch")
    p.add_argument(
        "--init",
        metavar="FILE",
        help="initial encoder weights (safetensors), or `bundled` for those of the bundled model",
    )
    p.add_argument("--resume", action="store_true", help="continue the run in the output directory")
    p.add_argument(
        "--probe", nargs="+", type=Path, metavar="maps.h5", help="map sets with masses for probing the encoder"
    )
    p.add_argument("--probe-steps", type=int, metavar="N", help="steps between probes (default: as checkpoints)")
    p.add_argument("--devices", type=int, help="number of GPUs (default: 1, or as many as torchrun started)")
    p.add_argument("--tensorboard", action="store_true", help="also write the log for TensorBoard")
    p.add_argument(
        "--cost",
        nargs="?",
        const="h200",
        metavar="DEVICE",
        help="print operations, hours and kWh on a device (default: h200) without training",
    )
    p.add_argument("--utilisation", type=float, default=0.4, help="fraction of peak performance (default: 0.4)")
    what = "directory for the encoder, its record, the log and the checkpoints"
    add_output_options(p, what=what, required=False, lock=False)
    p.set_defaults(run=run, usage_error=p.error)


def run(args: argparse.Namespace) -> None:
    """Read the recipe; print its cost, or train and print the path of the encoder."""
    recipe = _recipe(args)
    if args.cost is not None:
        from stellarfm.pretraining.cost import cost_of

        print(cost_of(recipe).describe(args.cost, utilisation=args.utilisation))
    elif args.output is None:
        args.usage_error("the following arguments are required: --output/-o")
    else:
        _train(args, recipe)


def _recipe(args: argparse.Namespace) -> Recipe:
    """Return the recipe with all options that override it."""
    from stellarfm.pretraining.recipe import Recipe, load_recipe, with_settings

    recipe = with_settings(load_recipe(args.config) if args.config else Recipe(), args.settings)
    return recipe.with_plugins(encoder=args.encoder, dataset=args.dataset, method=args.method).replace(
        steps=args.steps,
        batch_size=args.batch_size,
        size=args.size,
        seed=args.seed,
        checkpoint_steps=args.checkpoint_steps,
        checkpoint_minutes=args.checkpoint_minutes,
        max_hours=args.max_hours,
        workers=args.workers,
        torch_threads=args.torch_threads,
    )


def _train(args: argparse.Namespace, recipe: Recipe) -> None:
    """Train, and print the path of the encoder."""
    from stellarfm.pretraining.training import pretrain

    path = pretrain(
        output=args.output,
        recipe=recipe,
        init=args.init,
        resume=args.resume,
        overwrite=args.overwrite,
        devices=args.devices,
        tensorboard=args.tensorboard,
        probe=_probe(args.probe, args.probe_steps, recipe),
        progress=not args.quiet,
    )
    if os.environ.get("RANK", "0") == "0":  # torchrun starts many processes; one prints
        say(f"wrote {path}", args)


def _probe(paths: list[Path] | None, steps: int | None, recipe: Recipe) -> Probe | None:
    """Return a probe of log mass on map sets; None without map sets (and then astropy is not imported)."""
    from stellarfm.exceptions import PretrainingError

    if paths is None and steps is not None:
        raise PretrainingError("--probe-steps needs --probe maps.h5")
    if paths is None:
        return None
    from stellarfm.evaluation.mass_probe import MassProbe
    from stellarfm.maps import MapSet
    from stellarfm.pretraining.callbacks.probe import Probe

    masses = MassProbe(MapSet.concatenate([MapSet.read(existing_file(path)) for path in paths]))
    every = recipe.checkpoint_steps if steps is None else steps
    return Probe(ask=masses, every=every, about=masses.about, check=masses.check)
