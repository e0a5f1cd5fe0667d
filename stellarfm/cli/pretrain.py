"""``stellarfm pretrain``: train an encoder without labels."""

from __future__ import annotations

import argparse
from pathlib import Path

from stellarfm.cli.common import add_output_options, say

__all__ = ["add_parser", "run"]


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the sub-command."""
    p = subparsers.add_parser(
        "pretrain",
        help="train an encoder without labels",
        description="Train an encoder without labels. Options override the recipe.",
    )
    p.add_argument("--encoder", required=True, help="plugin name, e.g. dinov2-vit-tiny8")
    p.add_argument("--dataset", required=True, help="plugin name, e.g. flames")
    p.add_argument("--method", default="dinov2", help="plugin name (default: dinov2)")
    p.add_argument("--config", help="recipe: a TOML file, or the name of one in the package, e.g. tiny8-64")
    p.add_argument("--steps", type=int, help="optimiser steps; the schedules end there")
    p.add_argument("--batch-size", type=int, help="images a step, over all devices")
    p.add_argument("--size", type=int, help="side of the images in pixels")
    p.add_argument("--seed", type=int, help="of weights, choice of images and views")
    p.add_argument("--checkpoint-steps", type=int, help="steps between checkpoints")
    p.add_argument("--max-hours", type=float, help="stop then, with a checkpoint and an encoder")
    p.add_argument("--workers", type=int, help="processes that render images beside the training")
    p.add_argument("--torch-threads", type=int, help="threads of torch")
    p.add_argument("--init", type=Path, metavar="FILE", help="encoder weights to start from (safetensors)")
    p.add_argument("--resume", action="store_true", help="continue the run in the output folder")
    p.add_argument("--devices", type=int, default=1, help="number of GPUs (default: 1)")
    add_output_options(p, what="folder for the encoder, its record, the log and the checkpoints")
    p.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Parse the recipe, train, say where the encoder is."""
    from stellarfm.pretraining.recipe import Recipe, load_recipe
    from stellarfm.pretraining.training import pretrain

    recipe = load_recipe(args.config) if args.config else Recipe()
    recipe = recipe.replace(
        steps=args.steps,
        batch_size=args.batch_size,
        size=args.size,
        seed=args.seed,
        checkpoint_steps=args.checkpoint_steps,
        max_hours=args.max_hours,
        workers=args.workers,
        torch_threads=args.torch_threads,
    )
    path = pretrain(
        encoder=args.encoder,
        dataset=args.dataset,
        method=args.method,
        output=args.output,
        recipe=recipe,
        init=args.init,
        resume=args.resume,
        overwrite=args.overwrite,
        devices=args.devices,
        progress=not args.quiet,
    )
    say(f"wrote {path}", args)
