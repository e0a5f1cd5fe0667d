"""``stellarfm fractals``: write pretraining images, or a preview sheet of them."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stellarfm.cli.common import add_output_options, existing_file, say

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np

    from stellarfm.contracts import PretrainingDataset
    from stellarfm.fractals.acceptance import Costs
    from stellarfm.fractals.export.generation import EncodedImage
    from stellarfm.fractals.export.outputs import Writer

PREVIEW_IMAGES = 64
#: Options passed to the dataset if they are given.
FORWARDED = ("size", "seed", "channels", "points", "threshold", "window", "colour", "gamma")
#: Smallest number of images per process for which starting a process saves time.
IMAGES_PER_WORKER = 32


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the sub-command."""
    parser = subparsers.add_parser(
        "fractals",
        help="write pretraining images, or a preview sheet of them",
        description="Write pretraining images: DIR for PNG files, DIR with --shard-size for HDF5 files, FILE.h5, "
        "FILE.png for a single image, or FILE.jsonl with --genomes-only.",
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--count", type=int, metavar="N", help="number of images")
    what.add_argument("--genome", type=Path, metavar="FILE", help="file of genomes to render (.json, .jsonl)")
    parser.add_argument("--dataset", default="flames", metavar="NAME", help="dataset plugin (default: flames)")
    parser.add_argument("--size", type=int, default=336, metavar="PIXELS", help="side of an image (default: 336)")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="seed of the images (default: 0)")
    parser.add_argument("--channels", type=int, choices=(1, 2, 3), help="number of channels (default: of the dataset)")
    parser.add_argument("--points", type=int, metavar="N", help="number of points per image")
    parser.add_argument("--threshold", type=float, metavar="FRACTION", help="smallest fraction of covered pixels")
    parser.add_argument("--window", choices=("fixed", "quantile", "box"), help="part of the fractal in an image")
    parser.add_argument("--colour", "--color", choices=("moments", "flame", "none"), help="contents of the channels")
    parser.add_argument("--gamma", type=float, help="exponent of the density; > 1 brightens")
    parser.add_argument("--genomes-only", action="store_true", help="write one genome per line (.jsonl) and no images")
    parser.add_argument("--shard-size", type=int, metavar="N", help="number of images per HDF5 file in a directory")
    parser.add_argument("--preview", type=Path, metavar="GRID.png", help="sheet of the first 64 images to write")
    parser.add_argument("--workers", type=int, metavar="N", help="number of rendering processes (default: all cores)")
    parser.add_argument("--device", default="cpu", help="cpu, or cuda to render on a GPU (default: cpu)")
    add_output_options(parser, what="DIR, FILE.h5, FILE.png or FILE.jsonl", required=False)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Make the images and write them; report how many genomes were accepted, at what cost."""
    from stellarfm.fractals.export.generation import GenerationTask, generate
    from stellarfm.fractals.export.image_encoding import write_preview
    from stellarfm.fractals.export.outputs import choose_output

    _check_outputs(args)
    dataset, attributes = _given(args) if args.genome else _drawn(args)
    output = choose_output(
        args.output,
        count=attributes["count"],
        attributes=attributes,
        shard_size=args.shard_size,
        genomes_only=args.genomes_only,
        overwrite=args.overwrite,
    )
    job = GenerationTask(dataset, output.encode, shown=PREVIEW_IMAGES if args.preview else 0)
    products = generate(job, count=attributes["count"], workers=_workers(args, attributes["count"]), device=args.device)
    with output.open() as write:
        shown, costs = _write(_with_bar(products, args, attributes["count"]), write)
    if args.preview:
        write_preview(shown, args.preview, overwrite=args.overwrite)
    say(f"{args.output or args.preview}: {costs}", args)


def _check_outputs(args: argparse.Namespace) -> None:
    """Check that the outputs can be written, before anything is rendered."""
    from stellarfm.exceptions import FractalError
    from stellarfm.output import check_output

    if args.output is None and args.preview is None:
        raise FractalError("nothing would be written; add --output DIR or FILE.h5, or --preview GRID.png")
    for path in filter(None, (args.output, args.preview)):
        check_output(path, overwrite=args.overwrite)


def _drawn(args: argparse.Namespace) -> tuple[PretrainingDataset, dict[str, Any]]:
    """Return the dataset, which must contain enough images, and the attributes of the output."""
    from stellarfm import registry
    from stellarfm.exceptions import FractalError

    if args.count < 1:
        raise FractalError(f"--count is {args.count}; expected at least 1")
    options = _options(args)
    takes_count = "count" in registry.options(registry.get("datasets", args.dataset))
    dataset = registry.create("datasets", args.dataset, **options, **({"count": args.count} if takes_count else {}))
    if len(dataset) < args.count:
        raise FractalError(f"--count is {args.count}, but {args.dataset!r} has only {len(dataset)} images; reduce it")
    return dataset, _attributes(args.dataset, args.count, dataset, options)


def _given(args: argparse.Namespace) -> tuple[PretrainingDataset, dict[str, Any]]:
    """Return the images of the genomes in a file, and the attributes of the output."""
    from stellarfm.fractals.datasets import GenomeDataset, read_genomes

    options = {name: value for name, value in _options(args).items() if name not in ("seed", "threshold")}
    dataset = GenomeDataset(genomes=read_genomes(existing_file(args.genome)), **options)
    return dataset, _attributes(args.genome.name, len(dataset), dataset, options)


def _options(args: argparse.Namespace) -> dict[str, Any]:
    """Return the options of the dataset that were given."""
    return {name: value for name in FORWARDED if (value := getattr(args, name)) is not None}


def _attributes(name: str, count: int, dataset: PretrainingDataset, options: dict[str, Any]) -> dict[str, Any]:
    """Return the attributes of the output: dataset, options and version."""
    from stellarfm import __version__

    return {"dataset": name, "count": count, "limits": list(dataset.limits), "stellarfm": __version__, **options}


def _workers(args: argparse.Namespace, count: int) -> int:
    """Return the number of processes: the given one, or as many cores as save time."""
    from stellarfm.parallel import available_cores

    if args.workers is not None:
        return args.workers
    return max(min(available_cores(), count // IMAGES_PER_WORKER), 1)


def _with_bar(products: Iterable[EncodedImage], args: argparse.Namespace, count: int) -> Iterable[EncodedImage]:
    """Return the images, with a progress bar on a terminal."""
    from tqdm import tqdm

    hidden = args.quiet or not sys.stderr.isatty()
    return tqdm(products, total=count, desc="fractals", unit="image", disable=hidden)


def _write(products: Iterable[EncodedImage], write: Writer) -> tuple[list[np.ndarray], Costs]:
    """Pass images to the writer; return those for the preview, and the cost of all."""
    from stellarfm.fractals.acceptance import Costs

    shown, costs = [], Costs()
    for product in products:
        write(product)
        costs.add(candidates=product.attempts, renders=product.renders)
        if product.pixels is not None:
            shown.append(product.pixels)
    return shown, costs
