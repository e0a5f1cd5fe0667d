"""``stellarfm fractals``: pretraining images on disk, or a sheet of them to look at."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stellarfm.cli.common import add_output_options, say

if TYPE_CHECKING:
    from stellarfm.contracts import PretrainingDataset
    from stellarfm.fractals import FractalImage

PREVIEW_IMAGES = 64
#: Options that are handed to the dataset if they are given.
FORWARDED = ("size", "seed", "channels", "points", "threshold", "window", "colour")


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Register the command."""
    parser = subparsers.add_parser("fractals", help="write pretraining images, or a preview sheet of them")
    parser.add_argument("--dataset", default="flames", metavar="NAME", help="dataset plugin (default: flames)")
    parser.add_argument("--count", type=int, required=True, metavar="N", help="number of images")
    parser.add_argument("--size", type=int, default=336, metavar="PIXELS", help="side of an image (default: 336)")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="another seed, other images (default: 0)")
    parser.add_argument("--channels", type=int, choices=(1, 2, 3), help="default: the dataset's own")
    parser.add_argument("--points", type=int, metavar="N", help="points an image")
    parser.add_argument("--threshold", type=float, metavar="FRACTION", help="least fraction of covered pixels")
    parser.add_argument("--window", choices=("fixed", "quantile", "box"), help="what an image shows of its fractal")
    parser.add_argument("--colour", choices=("moments", "flame", "none"), help="what the channels hold")
    parser.add_argument("--genomes-only", action="store_true", help="write no images, but one genome a line (.jsonl)")
    parser.add_argument("--preview", type=Path, metavar="GRID.png", help="also write a sheet of the first 64 images")
    add_output_options(parser, what="directory for PNG files, or FILE.h5")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Make the images one by one and write them; report how many genomes were accepted."""
    from stellarfm.fractals.files import open_writer, write_preview
    from stellarfm.output import check_output

    for path in filter(None, (args.output, args.preview)):
        check_output(path, overwrite=args.overwrite)
    options = {name: value for name in FORWARDED if (value := getattr(args, name)) is not None}
    dataset = _dataset(args, options)
    attributes = _attributes(args, options)
    shown, attempts = [], 0
    with open_writer(
        args.output, count=args.count, attributes=attributes, genomes_only=args.genomes_only, overwrite=args.overwrite
    ) as write:
        for index in _progress(args):
            item = _item(dataset, index)
            write(index, item.image, item.genome)
            attempts += item.attempts
            shown += [item.image] if args.preview and index < PREVIEW_IMAGES else []
    if args.preview:
        write_preview(shown, args.preview, overwrite=args.overwrite)
    say(f"{args.output}: {args.count} of {attempts} candidates accepted ({args.count / attempts:.0%})", args)


def _dataset(args: argparse.Namespace, options: dict[str, Any]) -> PretrainingDataset:
    """The dataset, checked to hold as many images as are asked for."""
    from stellarfm import registry
    from stellarfm.exceptions import FractalError

    if args.count < 1:
        raise FractalError(f"--count is {args.count}; expected at least 1")
    if "count" in registry.options(registry.get("datasets", args.dataset)):
        options = {**options, "count": args.count}
    dataset = registry.create("datasets", args.dataset, **options)
    if len(dataset) < args.count:
        raise FractalError(f"--count is {args.count}, but {args.dataset!r} holds {len(dataset)} images; ask for fewer")
    return dataset


def _attributes(args: argparse.Namespace, options: dict[str, Any]) -> dict[str, Any]:
    """What made the images."""
    from stellarfm import __version__

    return {"dataset": args.dataset, "count": args.count, "stellarfm": __version__, **options}


def _progress(args: argparse.Namespace) -> Any:
    """Indices of the images, with a bar on a terminal."""
    from tqdm import tqdm

    hidden = args.quiet or not sys.stderr.isatty()
    return tqdm(range(args.count), desc=args.dataset, unit="image", disable=hidden)


def _item(dataset: PretrainingDataset, index: int) -> FractalImage:
    """Image number `index`, with its genome where the dataset has any."""
    from stellarfm.fractals import FractalDataset, FractalImage

    if isinstance(dataset, FractalDataset):
        return dataset.render(index)
    return FractalImage(dataset.image(index), None, 1)
