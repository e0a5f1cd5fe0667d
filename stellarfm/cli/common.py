"""What every sub-command shares: options, messages, and how an error leaves the program."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["PRESETS", "add_model_options", "add_output_options", "existing_file", "log_to_stderr", "say"]

#: Published methods whose models come with the package; the keys of `stellarfm.inference.model_directory.PRESETS`.
PRESETS = ("hirashima2025",)


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--model`` and ``--preset``, which exclude each other."""
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--model", metavar="DIR", help="output of fit (default: the bundled model)")
    choice.add_argument("--preset", choices=PRESETS, dest="model", help="the bundled model of a published method")


def add_output_options(parser: argparse.ArgumentParser, *, what: str, required: bool = True) -> None:
    """Add ``--output``, ``--overwrite`` and ``--quiet``."""
    parser.add_argument("--output", "-o", type=Path, required=required, help=what)
    parser.add_argument("--overwrite", action="store_true", help="replace the output if it exists")
    parser.add_argument("--quiet", "-q", action="store_true", help="print no words and no progress bar")


def existing_file(path: str | Path) -> Path:
    """`path` as a `Path`; raises `InputNotFoundError` if there is nothing there."""
    from stellarfm.exceptions import InputNotFoundError

    path = Path(path)
    if not path.exists():
        raise InputNotFoundError(f"{path}: no such file; check the path")
    return path


def say(message: str, args: argparse.Namespace) -> None:
    """Print words to stderr, unless ``--quiet``."""
    if not args.quiet:
        print(message, file=sys.stderr)


@contextmanager
def log_to_stderr(*, quiet: bool) -> Iterator[None]:
    """Show what the library logs (say, zeros taken as missing) on stderr; warnings only if `quiet`."""
    logger = logging.getLogger("stellarfm")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("stellarfm: %(message)s"))
    level = logger.level
    logger.setLevel(logging.WARNING if quiet else logging.INFO)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
