"""Conformance of commands."""

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
    """Checks of a `Command`: it explains itself, at once."""

    contract = Command
    heavy: ClassVar[tuple[str, ...]] = HEAVY

    def parser(self) -> argparse.ArgumentParser:
        """A parser with the command's arguments."""
        parser = argparse.ArgumentParser(prog="stellarfm command")
        self.make().add_arguments(parser)
        return parser

    def test_explains_itself(self) -> None:
        """It has a description, and every option a help text."""
        parser = self.parser()
        assert parser.description, "add_arguments() sets no parser.description"
        for action in _options(parser):
            assert action.help, f"the option {'/'.join(action.option_strings) or action.dest} has no help text"

    def test_names_no_default_run(self) -> None:
        """The program calls `run` of the command; the parser leaves that name alone."""
        assert self.parser().get_default("run") is None, "add_arguments() sets `run`, which the program sets"

    def test_help_is_light(self) -> None:
        """Importing it and adding its arguments loads no heavy library: they belong into `run`."""
        code = (
            f"import argparse, sys; from {self.plugin.__module__} import {self.plugin.__qualname__} as Command\n"
            "Command().add_arguments(argparse.ArgumentParser())\n"
            f"print(*(name for name in {self.heavy!r} if name in sys.modules))"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert not done.stdout.split(), f"help loads {done.stdout.strip()}; import it in run()"


def _options(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """Options of a parser and of its sub-commands."""
    found = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            found += [option for sub in action.choices.values() for option in _options(sub)]
        else:
            found.append(action)
    return found
