"""Options ``--reader`` and ``--reader-option`` of the commands that read files by plugins."""

from __future__ import annotations

import argparse
from typing import Any

__all__ = ["add_reader_options", "reader_options"]


def add_reader_options(group: Any) -> None:
    """Add ``--reader`` and ``--reader-option`` to a parser or a group of options."""
    group.add_argument("--reader", metavar="NAME", help="reader plugin (default: the one that recognizes the file)")
    group.add_argument(
        "--reader-option", action="append", default=[], metavar="KEY=VALUE", help="option of the reader; repeatable"
    )


def reader_options(args: argparse.Namespace) -> dict[str, str]:
    """Return the options of the reader as a dictionary; raise `ReaderError` for one without an equals sign."""
    from stellarfm.exceptions import ReaderError

    for pair in args.reader_option:
        if "=" not in pair:
            raise ReaderError(f"--reader-option {pair!r}; expected KEY=VALUE")
    pairs = (pair.partition("=") for pair in args.reader_option)
    return {key.strip().replace("-", "_"): value for key, _, value in pairs}
