"""How commands are given a field or a map set."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from stellarfm.cli.common import existing_file

if TYPE_CHECKING:
    from stellarfm.maps import GasMaps, MapSet

__all__ = ["add_field_options", "field_paths", "read_field"]

_ROLES = ("column", "velocity", "dispersion")


def add_field_options(parser: argparse.ArgumentParser) -> None:
    """Add the positional FIELD, or three maps in its place, and what their headers may not say."""
    parser.add_argument(
        "field",
        nargs="?",
        type=Path,
        metavar="FIELD.fits|maps.h5",
        help="a field (COLUMN, VELOCITY, DISPERSION) or a map set",
    )
    group = parser.add_argument_group("a field in three files")
    group.add_argument("--column", type=Path, metavar="FITS", help="column density map")
    group.add_argument("--velocity", type=Path, metavar="FITS", help="line-of-sight velocity map")
    group.add_argument("--dispersion", type=Path, metavar="FITS", help="velocity dispersion map (a standard deviation)")
    group = parser.add_argument_group("what the header may not say")
    group.add_argument(
        "--column-unit", metavar="UNIT", help='unit of the column density in place of BUNIT: cm-2, "dex(cm-2)"'
    )
    group.add_argument(
        "--column-species", default="H", metavar="X", help="what it counts: H (nuclei), H2, NH3, ... (default: H)"
    )
    group.add_argument("--abundance", type=float, metavar="RATIO", help="N(X)/N(H2) of a species other than H and H2")
    group.add_argument(
        "--distance", metavar='"140 pc"', help="distance of the field, in place of DISTANCE in the header"
    )


def field_paths(args: argparse.Namespace) -> list[Path]:
    """The files that the options of `add_field_options` name."""
    paths = [args.field, *(getattr(args, role) for role in _ROLES)]
    return [path for path in paths if path is not None]


def read_field(args: argparse.Namespace) -> GasMaps | MapSet:
    """The field or map set that the options of `add_field_options` name."""
    from stellarfm import registry
    from stellarfm.exceptions import MapError
    from stellarfm.readers import reader_name

    planes = {role: getattr(args, role) for role in _ROLES if getattr(args, role) is not None}
    if args.field is not None and planes:
        raise MapError(f"both {args.field} and --{', --'.join(planes)} were given; expected one file or three maps")
    if args.field is None:
        return _read_planes(args, planes)
    name = reader_name(existing_file(args.field))
    if name == "fits":
        return _read_maps(args, args.field)
    _refuse_header_options(args)
    return registry.create("readers", name).read(args.field)


def _read_planes(args: argparse.Namespace, planes: dict[str, Path]) -> GasMaps:
    from stellarfm.exceptions import MapError

    if not planes:
        raise MapError("no field given; expected FIELD.fits, maps.h5, or --column, --velocity and --dispersion")
    return _read_maps(args, {role: existing_file(path) for role, path in planes.items()})


def _read_maps(args: argparse.Namespace, source: Path | dict[str, Path]) -> GasMaps:
    from stellarfm.maps import GasMaps

    return GasMaps.read(
        source,
        distance=args.distance,
        column_unit=args.column_unit,
        column_species=args.column_species,
        abundance=args.abundance,
    )


def _refuse_header_options(args: argparse.Namespace) -> None:
    """A map set knows its units and scale; options that would be ignored are refused."""
    from stellarfm.exceptions import MapError

    given = {"distance": None, "column_unit": None, "column_species": "H", "abundance": None}
    for name, default in given.items():
        if getattr(args, name) != default:
            option = name.replace("_", "-")
            raise MapError(f"--{option} was given for {args.field}, which is not FITS and says it itself; leave it out")
