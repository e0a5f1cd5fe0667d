"""``stellarfm estimate``: masses of the stars in a field or a map set."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from stellarfm.cli.common import add_output_options, required_output, say
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
    p.add_argument("--model", type=Path, metavar="DIR", help="output of fit (default: the bundled model)")
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
    table = StellarModel.load(args.model).estimate(maps, sources=sources, min_coverage=args.min_coverage)
    record_inputs(table.meta, [*field_paths(args), *([args.sources] if args.sources else [])])
    record_command(table.meta, args)
    write_masses(table, args.output, overwrite=args.overwrite)
    say(_summary(table, args), args)


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
    return f"wrote {args.output}: {kind} masses of {known} of {len(table)} {whose}; flags: {raised or 'none'}"
