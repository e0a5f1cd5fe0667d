"""Entry point of the `stellarfm` command.

Sub-command modules import only argparse at the top; what they compute with is imported when they run, so that
``stellarfm --help`` answers at once. Commands of plugins are imported when they are called.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from stellarfm import __version__, registry
from stellarfm.cli.common import log_to_stderr
from stellarfm.cli.plugin_parser import LazyParser
from stellarfm.exceptions import StellarFMError

__all__ = ["build_parser", "main"]

COMMANDS = ("demo", "plugins", "fractals", "pretrain", "project", "fit", "estimate", "segment", "benchmark")


def build_parser() -> argparse.ArgumentParser:
    """The parser with every sub-command. Each module offers ``add_parser(subparsers)`` that sets ``run``."""
    parser = argparse.ArgumentParser(prog="stellarfm", description="Masses of young stars from the gas around them.")
    parser.add_argument("--version", action="version", version=f"stellarfm {__version__}")
    parser.add_argument("--traceback", action="store_true", help="show the full traceback of an error")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True, parser_class=LazyParser)
    for name in COMMANDS:
        import_module(f"stellarfm.cli.{name}").add_parser(subparsers)
    for name in registry.names("commands"):
        if name not in COMMANDS:
            subparsers.add_parser(name, help=f"from {registry.origin('commands', name)}", plugin=name)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line; returns the exit code: 0, or 1 with one line on stderr if the input is at fault."""
    try:
        args = build_parser().parse_args(argv)
    except StellarFMError as error:  # a command of a plugin that cannot be loaded
        return _report(error)
    try:
        with log_to_stderr(quiet=getattr(args, "quiet", False)):
            args.run(args)
        sys.stdout.flush()
    except BrokenPipeError:
        _silence_stdout()
    except (StellarFMError, OSError) as error:
        if args.traceback:
            raise
        return _report(error)
    except KeyboardInterrupt:
        print("stellarfm: interrupted", file=sys.stderr)
        return 130
    return 0


def _report(error: Exception) -> int:
    """Print an error as one line; returns the exit code."""
    print(f"stellarfm: error: {' '.join(str(error).split())}", file=sys.stderr)
    return 1


def _silence_stdout() -> None:
    """Let the interpreter flush into nothing: the reader of the pipe (``| head``) has left, which is no error."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
