"""``stellarfm demo``: masses and segments of the bundled example field, offline."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from stellarfm.cli.common import add_model_options, add_output_options, say

if TYPE_CHECKING:
    import numpy as np
    from astropy.table import QTable
    from astropy.units import Quantity

    from stellarfm.inference.model import StellarModel

__all__ = ["add_parser", "run"]

OUTPUT = Path("stellarfm-demo")

#: Levels of the printed intervals, as in the names of columns.
LEVELS = ("68", "95")


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
    print("\n".join([*mass_lines(masses, stars["mass"]), *summary_lines(masses, stars["mass"], model)]))
    say(f"wrote {args.output}", args)


def mass_lines(masses: QTable, truth: Quantity) -> Iterator[str]:
    """Yield the table of estimated and true masses, heaviest star first."""
    import numpy as np

    from stellarfm.inference.masses.flags import decode_flags

    yield "masses in solar masses"
    inside = {level: _inside(masses, truth, level) for level in LEVELS}
    header = f"{'star':>5} {'true':>7} {'median':>7} {'68 % interval':>15} {'95 % interval':>15}"
    yield f"{header} {'in 68':>6} {'in 95':>6}  flags"
    true, mass = truth.to_value("solMass"), masses["mass"].to_value("solMass")
    for row in np.argsort(-true):
        cells = [f"{masses['star'][row]:>5} {true[row]:7.2f} {mass[row]:7.2f}"]
        for level in LEVELS:
            lower, upper = (masses[f"mass_{end}_{level}"][row].to_value("solMass") for end in ("lower", "upper"))
            cells.append(f"{f'{lower:.2f} - {upper:.2f}':>15}")
        cells += [f"{'yes' if inside[level][row] else 'no':>6}" for level in LEVELS]
        yield f"{' '.join(cells)}  {', '.join(decode_flags(masses['flags'][row])) or '-'}"


def summary_lines(masses: QTable, truth: Quantity, model: StellarModel) -> Iterator[str]:
    """Yield numbers inside the intervals and those expected, errors, and limits."""
    import numpy as np

    from stellarfm.evaluation.metrics import binomial_range
    from stellarfm.evaluation.report import HEAVY

    known = np.isfinite(masses["mass"])
    n = int(known.sum())
    yield ""
    for level in LEVELS:
        low, high = binomial_range(n, int(level) / 100)
        yield (
            f"inside the {level} % interval: {_inside(masses, truth, level)[known].sum()} of {n}; "
            f"expected {int(level) / 100 * n:.0f}, in 95 % of such samples {low * n:.0f} to {high * n:.0f}"
        )
    true = np.log10(truth[known].to_value("solMass"))
    rmse = np.sqrt(np.mean((np.log10(masses["mass"][known].to_value("solMass")) - true) ** 2))
    yield f"RMSE of log10 mass: {rmse:.2f} dex; scatter of the true masses: {np.std(true):.2f} dex"
    reference = model.head.reference
    assert reference is not None
    heavy, total = reference.count_stars(above=HEAVY), reference.count_stars()
    yield (
        f"Heavy stars are hard: only {heavy} of the {total} reference stars are heavier than {HEAVY:g} solar masses, "
        "so their masses are underestimated."
    )
    yield "The field is simulated: the masses are sink masses of that simulation, not of observed stars."


def _inside(masses: QTable, truth: Quantity, level: str) -> np.ndarray:
    """Return whether each true mass lies in its interval; False without an estimate."""
    return (truth >= masses[f"mass_lower_{level}"]) & (truth <= masses[f"mass_upper_{level}"])
