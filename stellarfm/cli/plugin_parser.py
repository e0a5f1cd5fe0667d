"""Parser of sub-commands; those of plugins are known by name and imported when they are called."""

from __future__ import annotations

import argparse
from typing import Any

from stellarfm import registry
from stellarfm.cli.common import option_names

__all__ = ["LazyParser"]


class LazyParser(argparse.ArgumentParser):
    """Parser that a plugin of the group ``stellarfm.commands`` fills when it first parses.

    It also leaves the names of its options in the parsed arguments, as ``args.option_names``.

    Parameters
    ----------
    plugin : str, optional
        Name of the command; without one, the parser is filled by the caller.
    **options
        See `argparse.ArgumentParser`.
    """

    def __init__(self, *, plugin: str | None = None, **options: Any) -> None:
        super().__init__(**options)
        self._plugin = plugin

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Import the plugin, if there is one, and parse; see `argparse.ArgumentParser.parse_known_args`.

        Raises
        ------
        PluginError
            If the plugin cannot be loaded.
        """
        if self._plugin is not None:
            name, self._plugin = self._plugin, None
            command = registry.create("commands", name)
            self.set_defaults(run=command.run)
            command.add_arguments(self)
        self.set_defaults(option_names=option_names(self))
        return super().parse_known_args(args, namespace)
