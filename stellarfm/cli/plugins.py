"""``stellarfm plugins``: list the installed plugins, and check that they can be imported."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence

COLUMNS = ("name", "group", "package", "version", "state")


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the sub-command."""
    parser = subparsers.add_parser(
        "plugins",
        help="list the installed plugins",
        description="List the installed plugins from the metadata of their packages, without importing them.",
    )
    parser.add_argument("--check", action="store_true", help="import each plugin in a process of its own")
    parser.add_argument("--json", action="store_true", help="print a list of objects instead of a table")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> None:
    """Print one line per plugin; with ``--check``, faulty plugins are listed with the reason."""
    from stellarfm import registry
    from stellarfm.plugin_check import check_plugins

    plugins = registry.plugins()
    rows = [plugin.as_dict() for plugin in (check_plugins(plugins) if args.check else plugins)]
    if args.json:
        print(json.dumps(rows, indent=2))
    else:
        print(table([COLUMNS, *([row[column] for column in COLUMNS] for row in rows)]))


def table(rows: Sequence[Sequence[str]]) -> str:
    """Return rows of text as aligned columns, two spaces apart; the last column is not padded."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)][:-1]
    return "\n".join("  ".join([*(cell.ljust(width) for cell, width in zip(row, widths)), row[-1]]) for row in rows)
