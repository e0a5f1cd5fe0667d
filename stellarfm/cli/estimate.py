"""``stellarfm estimate``: masses of the stars in a field or a map set."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from stellarfm.cli.common import add_model_options, add_output_options, required_output, say
from stellarfm.cli.map_options import add_field_options, field_paths, print_report, read_field

if TYPE_CHECKING:
    from astropy.table import QTable

__all__ = ["add_parser", "run"]


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the sub-command."""
    p = subparsers.add_parser(
        "estimate",
        help="masses of the stars in a field or a map set",
        description="Estimate the masses of stars from the gas around them, with calibrated intervals.",
    )
    add_field_options(p)
    p.add_argument(
        "--sources", type=Path, metavar="TABLE", help="positions of the stars, in place of a table in the field"
    )
    add_model_options(p)
    p.add_argument(
        "--depth",
        default="auto",
        choices=("auto", "cube", "field"),
        help="gas in the windows: a cube around the star, or the whole line of sight (default: auto, by the input)",
    )
    p.add_argument(
        "--prior",
        default="reference",
        metavar="NAME|TABLE",
        help="mass function: reference, flat, kroupa, chabrier, or a table with mass and pdf, or masses (default: "
        "reference, the stars that the model was fitted to)",
    )
    p.add_argument("--refuse", action="store_true", help="leave out masses of windows unlike the reference set")
    p.add_argument("--quantiles", type=float, nargs="+", default=(), metavar="P", help="more quantiles: 0.05 0.5 0.95")
    p.add_argument("--samples", type=int, default=0, metavar="N", help="draws from each distribution (default: 0)")
    p.add_argument(
        "--analogues",
        nargs="?",
        const=True,
        metavar="TABLE",
        help="also write the most similar reference stars: an extension ANALOGUES of a FITS output, or another table",
    )
    p.add_argument(
        "--min-coverage", type=float, default=0.8, metavar="FRACTION", help="flag windows with less data (default: 0.8)"
    )
    add_output_options(p, what="table of masses: .fits, .ecsv, .vot, .xml or .parquet", required=False)
    p.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Read field and model, estimate, write the table."""
    from stellarfm.inference import StellarModel
    from stellarfm.inference.masses.mass_table import check_masses_path, write_masses
    from stellarfm.provenance import record_command, record_inputs
    from stellarfm.readers import read_sources

    if not args.dry_run:
        check_masses_path(required_output(args), overwrite=args.overwrite)
    maps, sources = read_field(args)
    if args.sources is not None:
        sources = read_sources(args.sources)
    if args.dry_run:
        print_report(maps)
        kind = "candidates: peaks of the column density" if sources is None else f"{len(sources)} sources"
        print(f"sources: {kind}; nothing was written")
        return
    analogues_path = _analogues_path(args)
    model = StellarModel.load(args.model)
    table = model.estimate(
        maps,
        sources=sources,
        depth=args.depth,
        prior=args.prior,
        refuse=args.refuse,
        quantiles=args.quantiles,
        samples=args.samples,
        min_coverage=args.min_coverage,
    )
    record_inputs(table.meta, [*field_paths(args), *([args.sources] if args.sources else [])])
    record_command(table.meta, args)
    analogues = model.analogues(maps, sources=sources) if args.analogues else None
    if analogues is not None and analogues_path is not None:
        write_masses(analogues, analogues_path, overwrite=args.overwrite)
        analogues = None
    write_masses(table, args.output, analogues=analogues, overwrite=args.overwrite)
    say(_summary(table, args), args)


def _analogues_path(args: argparse.Namespace) -> Path | None:
    """Return the file for the analogues, or None if they go into the output."""
    from stellarfm.exceptions import MapError
    from stellarfm.inference.masses.mass_table import check_masses_path

    if isinstance(args.analogues, str):
        return check_masses_path(args.analogues, overwrite=args.overwrite)
    if args.analogues and args.output.suffix.lower() != ".fits":
        raise MapError(f"{args.output.name} cannot hold a second table; give a file: --analogues TABLE")
    return None


def _summary(table: QTable, args: argparse.Namespace) -> str:
    """Count the stars with a mass, and the flags that are set."""
    import numpy as np

    from stellarfm.inference import MassFlag

    counts = {flag.name: int(((table["flags"] & flag) > 0).sum()) for flag in MassFlag}
    raised = ", ".join(f"{name} {count}" for name, count in counts.items() if count)
    known = int(np.isfinite(table["mass"].value).sum())
    kind = table.meta["label_kind"]
    whose = (
        "stars" if "source_kind" not in table.colnames else "candidates (column density peaks, not known to be stars)"
    )
    return (
        f"wrote {args.output}: {kind} masses of {known} of {len(table)} {whose}; depth {table.meta['depth_class']}; "
        f"prior {table.meta['prior']}; flags: {raised or 'none'}"
    )
