"""Conformance checks of commands."""

from __future__ import annotations

import argparse
import subprocess
import sys
from typing import ClassVar

from stellarfm.contracts import Command
from stellarfm.testing.base import Conformance

__all__ = ["CommandConformance"]

HEAVY = ("torch", "astropy", "lightning", "sklearn", "timm")


class CommandConformance(Conformance):
    """Checks of a `Command`: complete help, and nothing heavy imported to print it.

    Examples
    --------
    >>> from stellarfm.testing import CommandConformance
    >>> class TestCommand(CommandConformance):
    ...     plugin = ...  # the class under test
    """

    contract = Command
    heavy: ClassVar[tuple[str, ...]] = HEAVY

    def parser(self) -> argparse.ArgumentParser:
        """Return a parser with the arguments of the command."""
        parser = argparse.ArgumentParser(prog="stellarfm command")
        self.make().add_arguments(parser)
        return parser

    def test_explains_itself(self) -> None:
        """Check that the command has a description, and every option a help text."""
        parser = self.parser()
        assert parser.description, "add_arguments() sets no parser.description"
        for action in _options(parser):
            assert action.help, f"the option {'/'.join(action.option_strings) or action.dest} has no help text"

    def test_names_no_default_run(self) -> None:
        """Check that the parser does not set ``run``, which the program sets to that of the command."""
        assert self.parser().get_default("run") is None, "add_arguments() sets `run`, which the program sets"

    def test_help_is_light(self) -> None:
        """Check that importing the command and adding its arguments loads no heavy library: import these in `run`."""
        code = (
            f"import argparse, sys; from {self.plugin.__module__} import {self.plugin.__qualname__} as Command\n"
            "Command().add_arguments(argparse.ArgumentParser())\n"
            f"print(*(name for name in {self.heavy!r} if name in sys.modules))"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert not done.stdout.split(), f"help loads {done.stdout.strip()}; import it in run()"


def _options(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """Return the options of a parser and of its sub-commands."""
    found = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            found += [option for sub in action.choices.values() for option in _options(sub)]
        else:
            found.append(action)
    return found
