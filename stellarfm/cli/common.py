"""Functions shared by all sub-commands: common options, names of options in messages, words on stderr."""

from __future__ import annotations

import argparse
import logging
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

__all__ = [
    "PRESETS",
    "add_model_options",
    "add_output_options",
    "existing_file",
    "log_to_stderr",
    "name_options",
    "option_names",
    "required_output",
    "say",
]

#: Published methods whose models come with the package; the keys of `stellarfm.inference.model_directory.PRESETS`.
PRESETS = ("hirashima2025",)


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--model`` and ``--preset``, which exclude each other."""
    choice = parser.add_mutually_exclusive_group()
    choice.add_argument("--model", metavar="DIR", help="output of fit (default: the bundled model)")
    choice.add_argument("--preset", choices=PRESETS, dest="model", help="the bundled model of a published method")


def add_output_options(parser: argparse.ArgumentParser, *, what: str, required: bool = True, lock: bool = True) -> None:
    """Add ``--output``, ``--overwrite`` and ``--quiet``.

    Parameters
    ----------
    parser : ArgumentParser
        Parser of the sub-command.
    what : str
        Help text of the output.
    required : bool
        Whether the output must be given.
    lock : bool
        Whether the output is locked while the command runs; False for a command that locks it itself.
    """
    parser.add_argument("--output", "-o", type=Path, required=required, help=what)
    parser.add_argument("--overwrite", action="store_true", help="replace the output if it exists")
    parser.add_argument("--quiet", "-q", action="store_true", help="print no messages and no progress bar")
    parser.set_defaults(locks_output=lock)


def required_output(args: argparse.Namespace) -> Path:
    """Return the output of a command that can do without one (``--dry-run``); raise `StellarFMError` without it."""
    from stellarfm.exceptions import StellarFMError

    if args.output is None:
        raise StellarFMError("no output given; expected --output FILE, or --dry-run to write nothing")
    return args.output


def existing_file(path: str | Path) -> Path:
    """Return `path` as a `Path`; raise `InputNotFoundError` if it does not exist."""
    from stellarfm.exceptions import InputNotFoundError

    path = Path(path)
    if not path.exists():
        raise InputNotFoundError(f"{path}: no such file; check the path")
    return path


def option_names(parser: argparse.ArgumentParser) -> dict[str, str]:
    """Return the table from argument names to the options of a parser, ``{"label_kind": "--mass-kind"}``."""
    table: dict[str, str] = {}
    for action in parser._actions:
        if long := [option for option in action.option_strings if option.startswith("--")]:
            table.setdefault(action.dest, long[0])
    return table


def name_options(message: str, options: Mapping[str, str]) -> str:
    """Replace the names of Python arguments in a message of the library by those of command-line options.

    Parameters
    ----------
    message : str
        Message that names arguments as described in `stellarfm.exceptions`: plainly if a name has an underscore
        (``column_species``), else followed by an equals sign (``reader=``) or in backticks.
    options : mapping
        Argument name -> option, see `option_names`. Other names, quoted words and parts of paths remain as they are.

    Examples
    --------
    >>> options = {"overwrite": "--overwrite", "label_kind": "--mass-kind", "width": "--width"}
    >>> name_options("maps.h5 exists; choose another path or pass overwrite=True", options)
    'maps.h5 exists; choose another path or pass --overwrite'
    >>> name_options("width is wrong: check width= and label_kind, e.g. width='0.5 pc'", options)
    "width is wrong: check --width and --mass-kind, e.g. --width '0.5 pc'"
    """
    if not options:
        return message

    def option(match: re.Match[str]) -> str:
        marked = match["before"] or match["equals"] or "_" in match["name"]
        space = " " if match["equals"] == "=" and match["value"] else ""
        return options[match["name"]] + space if marked else match[0]

    names = "|".join(sorted(map(re.escape, options), key=len, reverse=True))
    word = rf"""
        (?<![\w./\\'"`-])                  # not within another word, a path or quotes
        (?P<before>`{{1,2}})?
        (?P<name>{names})
        (?P<equals>=True\b|=(?!=))?
        (?(before)(?P=before)               # the same backticks again, or
        |(?(equals)(?=(?P<value>[^\s,;:.)])?)  # a value, or
        |(?![\w/\\'"-]|\.\w)))            # no continuation of the word
    """
    return re.sub(word, option, message, flags=re.VERBOSE)


def say(message: str, args: argparse.Namespace) -> None:
    """Print a message to stderr, unless ``--quiet``."""
    if not args.quiet:
        print(message, file=sys.stderr)


class _OptionFormatter(logging.Formatter):
    """Formatter of log messages that names options in place of Python arguments."""

    def __init__(self, options: Mapping[str, str]) -> None:
        super().__init__("stellarfm: %(message)s")
        self._options = options

    def format(self, record: logging.LogRecord) -> str:
        return name_options(super().format(record), self._options)


@contextmanager
def log_to_stderr(*, quiet: bool, options: Mapping[str, str] | None = None) -> Iterator[None]:
    """Show the log messages of the library on stderr.

    Parameters
    ----------
    quiet : bool
        Whether only warnings are shown.
    options : mapping, optional
        Argument name -> option, see `option_names`.
    """
    logger = logging.getLogger("stellarfm")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_OptionFormatter(options or {}))
    level = logger.level
    logger.setLevel(logging.WARNING if quiet else logging.INFO)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
