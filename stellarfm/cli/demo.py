"""``stellarfm demo``: masses and segments of the bundled example field, offline."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from stellarfm.cli.common import add_model_options, add_output_options, say

if TYPE_CHECKING:
    from astropy.table import QTable
    from astropy.units import Quantity

__all__ = ["add_parser", "run"]

OUTPUT = Path("stellarfm-demo")


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the sub-command."""
    p = subparsers.add_parser(
        "demo",
        help="masses and segments of the bundled example field, offline, in under a minute",
        description="Estimate the masses of the stars in a simulated field that the bundled model never saw, print "
        "them next to the true ones, and segment the field.",
    )
    add_model_options(p)
    files = f"directory for masses.fits, segments.fits and overview.png (default: {OUTPUT})"
    add_output_options(p, what=files, required=False)
    p.set_defaults(run=run, output=OUTPUT)


def run(args: argparse.Namespace) -> None:
    """Estimate masses, segment the field and draw both; print the table to stdout."""
    from stellarfm.output import check_output, new_directory

    check_output(args.output, overwrite=args.overwrite)

    from astropy.table import QTable

    from stellarfm.data import EXAMPLE_FIELD
    from stellarfm.inference.masses.mass_table import write_masses
    from stellarfm.inference.model import StellarModel
    from stellarfm.maps import GasMaps
    from stellarfm.plotting import has_matplotlib, overview
    from stellarfm.provenance import record_inputs

    maps, stars = GasMaps.read(EXAMPLE_FIELD), QTable.read(EXAMPLE_FIELD, hdu="STARS")
    model = StellarModel.load(args.model)
    say(f"estimating {len(stars)} masses in {EXAMPLE_FIELD.name}", args)
    masses = model.estimate(maps, sources=stars)
    say("segmenting the field", args)
    segmentation = model.segment(maps)
    for result in (masses, segmentation):
        record_inputs(result.meta, [EXAMPLE_FIELD])
    with new_directory(args.output, overwrite=args.overwrite) as folder:
        write_masses(masses, folder / "masses.fits")
        segmentation.write(folder / "segments.fits")
        if has_matplotlib():
            overview(maps, segmentation, masses, truth=stars["mass"]).savefig(folder / "overview.png", dpi=150)
        else:
            say(
                "matplotlib is not installed, so no figure was drawn; install it with pip install 'stellarfm[plots]'",
                args,
            )
    print("\n".join(mass_lines(masses, stars["mass"])))
    say(f"wrote {args.output}", args)


def mass_lines(masses: QTable, truth: Quantity) -> Iterator[str]:
    """Yield the table of estimated and true masses, heaviest star first, and a summary."""
    import numpy as np

    from stellarfm.inference.masses.flags import decode_flags

    yield f"{'star':>5} {'true':>8} {'estimate':>9} {'68 % interval':>17}  flags        (solar masses)"
    true = truth.to_value("solMass")
    mass, lower, upper = (masses[n].to_value("solMass") for n in ("mass", "mass_lower_68", "mass_upper_68"))
    for row in np.argsort(-true):
        flags = ", ".join(decode_flags(masses["flags"][row])) or "-"
        interval = f"{lower[row]:.2f} - {upper[row]:.2f}"
        yield f"{masses['star'][row]:>5} {true[row]:8.2f} {mass[row]:9.2f} {interval:>17}  {flags}"
    error, inside = np.log10(mass / true), (true >= lower) & (true <= upper)
    rmse = np.sqrt(np.nanmean(error**2))
    yield f"RMSE {rmse:.2f} dex; {inside.sum()} of {len(true)} true masses inside their 68 % interval"
