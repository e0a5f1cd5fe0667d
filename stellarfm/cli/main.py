"""Entry point of the `stellarfm` command.

Sub-command modules import only argparse at the top; libraries for computing are imported when a command runs, so that
``stellarfm --help`` answers at once. Commands of plugins are imported when they are called.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib import import_module
from typing import NoReturn

from stellarfm import __version__, registry
from stellarfm.cli.common import log_to_stderr, name_options
from stellarfm.cli.plugin_parser import LazyParser
from stellarfm.exceptions import StellarFMError

__all__ = ["build_parser", "main"]

COMMANDS = ("demo", "plugins", "fractals", "pretrain", "project", "fit", "estimate", "segment", "benchmark")


def build_parser() -> argparse.ArgumentParser:
    """Return the parser with every sub-command; each module has ``add_parser(subparsers)``, which sets ``run``."""
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
    """Run a command line.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments; those of the process by default.

    Returns
    -------
    int
        Exit code: 0; 1, with one line on stderr, if the input is at fault; 130 if interrupted. SIGTERM exits with 143
        after unfinished outputs were removed.
    """
    try:
        args = build_parser().parse_args(argv)
    except StellarFMError as error:  # a command of a plugin that cannot be loaded
        return _report(error, {})
    options = getattr(args, "option_names", {})
    args.command_line = list(sys.argv[1:] if argv is None else argv)
    try:
        with _exit_at_sigterm(), log_to_stderr(quiet=getattr(args, "quiet", False), options=options), _locked(args):
            args.run(args)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of the pipe (``| head``) has ended: let the interpreter flush into nothing
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (StellarFMError, OSError) as error:
        if args.traceback:
            raise
        return _report(error, options)
    except KeyboardInterrupt:
        print("stellarfm: interrupted", file=sys.stderr)
        return 130
    return 0


@contextmanager
def _exit_at_sigterm() -> Iterator[None]:
    """Convert SIGTERM to `SystemExit`, so that unfinished outputs are removed."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return

    def terminate(number: int, frame: object) -> NoReturn:
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _locked(args: argparse.Namespace) -> AbstractContextManager[None]:
    """Return the lock of the output of a command, so that a second process is refused before it has worked for long."""
    if not getattr(args, "locks_output", False) or args.output is None:
        return nullcontext()
    from stellarfm.output import lock_output

    return lock_output(args.output)


def _report(error: Exception, options: Mapping[str, str]) -> int:
    """Print an error as one line that names options, not Python arguments; return the exit code."""
    print(f"stellarfm: error: {name_options(' '.join(str(error).split()), options)}", file=sys.stderr)
    return 1
