"""``stellarfm segment``: segments of similar gas in a field or a map set."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from stellarfm.cli.common import add_model_options, add_output_options, required_output, say
from stellarfm.cli.map_options import add_field_options, field_paths, print_report, read_field

if TYPE_CHECKING:
    from stellarfm.inference import Segmentation

__all__ = ["add_parser", "run"]


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the sub-command."""
    p = subparsers.add_parser(
        "segment",
        help="segments of similar gas in a field or a map set",
        description="Divide a field into segments of similar gas by the patch features of an encoder, without labels.",
    )
    add_field_options(p)
    p.add_argument("--segments", type=int, default=6, metavar="K", help="number of segments (default: 6)")
    p.add_argument(
        "--pixel-scale",
        metavar='"0.002 pc"',
        help="side of a pixel (default: that of the model, finer for small fields)",
    )
    add_model_options(p)
    p.add_argument("--seed", type=int, default=0, help="seed of the clustering (default: 0)")
    add_output_options(p, what="segmentation (FITS)", required=False)
    p.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Read field and model, segment, write the segmentation."""
    from stellarfm.inference import StellarModel
    from stellarfm.maps.units import parse_length
    from stellarfm.output import check_output
    from stellarfm.provenance import record_command, record_inputs

    if not args.dry_run:
        check_output(required_output(args), overwrite=args.overwrite)
    maps = read_field(args).maps
    if args.dry_run:
        print_report(maps)
        print("nothing was written")
        return
    model = StellarModel.load(args.model)
    scale = parse_length(args.pixel_scale, what="pixel_scale") if args.pixel_scale else None
    segmentation = model.segment(maps, segments=args.segments, pixel_scale=scale, seed=args.seed)
    record_inputs(segmentation.meta, field_paths(args))
    record_command(segmentation.meta, args)
    segmentation.write(args.output, overwrite=args.overwrite)
    say(_summary(segmentation, args), args)


def _summary(segmentation: Segmentation, args: argparse.Namespace) -> str:
    """Count the segments, and the pixels with data."""
    used = (segmentation.labels > 0).mean()
    return f"wrote {args.output}: {len(segmentation.segments)} segments on {100 * used:.0f} % of the pixels"
