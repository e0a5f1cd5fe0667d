"""``stellarfm plugins``: what is installed, where it comes from, and whether it works."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence

COLUMNS = ("name", "group", "package", "version", "state")


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Register the command."""
    parser = subparsers.add_parser("plugins", help="list the installed plugins and whether they work")
    parser.add_argument("--json", action="store_true", help="print a list of objects instead of a table")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Print one line a plugin; broken ones are listed too, with the reason."""
    from stellarfm.registry import plugins

    rows = [plugin.as_dict() for plugin in plugins()]
    if args.json:
        print(json.dumps(rows, indent=2))
    else:
        print(table([COLUMNS, *([row[column] for column in COLUMNS] for row in rows)]))


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows of text as aligned columns, two spaces apart; the last column, the widest, is left as it is."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)][:-1]
    return "\n".join("  ".join([*(cell.ljust(width) for cell, width in zip(row, widths)), row[-1]]) for row in rows)
