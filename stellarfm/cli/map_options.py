"""Options of the commands that take a field or a map set."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from stellarfm.cli.reader_options import add_reader_options, reader_options

if TYPE_CHECKING:
    from stellarfm.maps import GasMaps, MapSet
    from stellarfm.readers import MapsAndSources

__all__ = ["add_field_options", "field_paths", "print_report", "read_field"]

_ROLES = {
    "column": "column density map",
    "velocity": "line-of-sight velocity map",
    "dispersion": "velocity dispersion map (a standard deviation)",
}

#: Options of readers of maps: name -> (metavar, help).
_HEADER = {
    "column_unit": ("UNIT", 'unit of the column density in place of BUNIT: cm-2, "dex(cm-2)"'),
    "column_species": ("X", "species that it counts: H (nuclei), H2, NH3, ... (default: H, if the header names none)"),
    "abundance": ("RATIO", "N(X)/N(H2) of a species other than H and H2"),
    "distance": ('"140 pc"', "distance of the field, in place of DISTANCE in the header"),
}
_MAPS = {
    "velocity_unit": ("UNIT", "unit of the velocity map in place of BUNIT: km/s"),
    "dispersion_unit": ("UNIT", "unit of the dispersion map in place of BUNIT: km/s"),
    "dispersion_is": ("KIND", "meaning of the dispersion map: sigma, fwhm or variance"),
    "mask_is": ("KIND", "meaning of nonzero pixels of MASK: bad or good"),
    "missing_value": ("NUMBER", "number that stands for a missing pixel"),
}
_CUBE = {
    "column_per_intensity": (
        '"2e20 cm-2 / (K km/s)"',
        'column density per unit of the map or integrated intensity of a cube: also "9.4e20 cm-2 / mag"',
    ),
    "brightness_unit": ("UNIT", "unit of the cube in place of BUNIT: K"),
    "spectral_unit": ("UNIT", "unit of the spectral axis in place of CUNIT: m/s"),
    "rest_frequency": ('"110.2 GHz"', "rest frequency of the line, in place of RESTFRQ"),
    "noise": ('"0.1 K"', "standard deviation of a voxel (default: measured pixel by pixel)"),
    "line_free": ('"0 to 2 km/s, ..."', "velocities without a line, to measure the noise in (default: found)"),
}


def add_field_options(parser: argparse.ArgumentParser) -> None:
    """Add the positional FIELD, or three maps in its place, and the options of the readers of maps."""
    parser.add_argument(
        "field",
        nargs="?",
        type=Path,
        metavar="FIELD.fits|maps.h5",
        help="a field (COLUMN, VELOCITY, DISPERSION), a spectral cube or a map set",
    )
    group = parser.add_argument_group("a field in three files")
    for name, words in _ROLES.items():
        group.add_argument(f"--{name}", metavar="FITS[EXT][PLANE]", help=words)
    titles = {
        "in place of the header": _HEADER,
        "in place of the headers of maps": _MAPS,
        "a spectral cube (position, position, velocity)": _CUBE,
    }
    for title, options in titles.items():
        group = parser.add_argument_group(title)
        for name, (metavar, words) in options.items():
            kind = float if name in ("abundance", "missing_value") else str
            group.add_argument(f"--{name.replace('_', '-')}", type=kind, metavar=metavar, help=words)
    group = parser.add_argument_group("reading")
    add_reader_options(group)
    group.add_argument("--dry-run", action="store_true", help="print how the maps would be read, and write nothing")


def field_paths(args: argparse.Namespace) -> list[Path]:
    """Return the files that the options of `add_field_options` name, each once."""
    from stellarfm.maps.io.plane_selection import split_name

    names = [args.field, *(getattr(args, role) for role in _ROLES)]
    return list(dict.fromkeys(split_name(name).path for name in names if name is not None))


def read_field(args: argparse.Namespace) -> MapsAndSources:
    """Read the field or map set that the options of `add_field_options` name; see `stellarfm.readers.read_maps`."""
    from stellarfm.exceptions import MapError
    from stellarfm.readers import read_maps

    planes = {role: getattr(args, role) for role in _ROLES if getattr(args, role) is not None}
    if args.field is not None and planes:
        raise MapError(f"both {args.field} and --{', --'.join(planes)} were given; expected one file or three maps")
    if args.field is None and not planes:
        raise MapError("no field given; expected FIELD.fits, maps.h5, or --column, --velocity and --dispersion")
    given = {name: getattr(args, name) for name in (*_HEADER, *_MAPS, *_CUBE) if getattr(args, name) is not None}
    return read_maps(args.field or planes, reader=args.reader, options=given | reader_options(args))


def print_report(maps: GasMaps | MapSet) -> None:
    """Print the decisions of the intake on stdout."""
    report = getattr(maps, "report", None)
    print("\n".join([repr(maps), *(report().pformat(max_lines=-1, max_width=-1, align="<") if report else [])]))
