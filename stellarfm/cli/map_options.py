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

#: Options of a spectral cube and their help; they are those of the reader ``fits-ppv``.
_CUBE = {
    "column_per_intensity": ('"2e20 cm-2 / (K km/s)"', "column density for each unit of integrated intensity; needed"),
    "brightness_unit": ("UNIT", "unit of the cube in place of BUNIT: K"),
    "spectral_unit": ("UNIT", "unit of the spectral axis in place of CUNIT: m/s"),
    "rest_frequency": ('"110.2 GHz"', "of the line, in place of RESTFRQ"),
    "noise": ('"0.1 K"', "standard deviation of a voxel (default: measured pixel by pixel)"),
    "line_free": ('"0 to 2 km/s, ..."', "velocities without a line, to measure the noise in (default: found)"),
}


#: Options about headers, and their defaults.
_HEADER = {"distance": None, "column_unit": None, "column_species": "H", "abundance": None}


def add_field_options(parser: argparse.ArgumentParser) -> None:
    """Add the positional FIELD, or three maps in its place, and what their headers may not say."""
    parser.add_argument(
        "field",
        nargs="?",
        type=Path,
        metavar="FIELD.fits|maps.h5",
        help="a field (COLUMN, VELOCITY, DISPERSION), a spectral cube or a map set",
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
    group = parser.add_argument_group("a spectral cube (position, position, velocity)")
    for name, (example, words) in _CUBE.items():
        group.add_argument(f"--{name.replace('_', '-')}", metavar=example, help=words)


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
        _refuse_options(args, dict.fromkeys(_CUBE), "not given: a spectral cube is one file")
        return _read_planes(args, planes)
    name = reader_name(existing_file(args.field))
    if name == "fits-ppv":
        return _read_cube(args)
    _refuse_options(args, dict.fromkeys(_CUBE), "no spectral cube")
    if name == "fits":
        return _read_maps(args, args.field)
    _refuse_options(args, _HEADER, "not FITS and says it itself")
    return _finished(registry.create("readers", name).read(args.field), args.field)


def _read_cube(args: argparse.Namespace) -> GasMaps:
    """Moments of a spectral cube."""
    from stellarfm import registry

    _refuse_options(args, {"column_unit": None}, "a spectral cube: say --column-per-intensity")
    options = ("column_species", "abundance", "distance", *_CUBE)
    return registry.create("readers", "fits-ppv", **{name: getattr(args, name) for name in options}).read(args.field)


def _finished(maps: GasMaps | MapSet, path: Path) -> GasMaps | MapSet:
    """Maps, not what still has to be projected."""
    from stellarfm.exceptions import MapError
    from stellarfm.maps import GasMaps, MapSet

    if not isinstance(maps, GasMaps | MapSet):
        raise MapError(f"{path} is a snapshot of a simulation; make maps of it first: stellarfm project")
    return maps


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


def _refuse_options(args: argparse.Namespace, options: dict[str, str | None], reason: str) -> None:
    """Options that would be ignored are refused."""
    from stellarfm.exceptions import MapError

    for name, default in options.items():
        if getattr(args, name) != default:
            option = name.replace("_", "-")
            raise MapError(f"--{option} was given for {args.field}, which is {reason}; leave it out")
