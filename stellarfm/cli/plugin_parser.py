"""Sub-commands that plugins offer: known by name, imported when they are called."""

from __future__ import annotations

import argparse
from typing import Any

from stellarfm import registry

__all__ = ["LazyParser"]


class LazyParser(argparse.ArgumentParser):
    """A parser that, with a `plugin` of the group ``stellarfm.commands``, is filled by it when it first parses.

    Parameters
    ----------
    plugin : str, optional
        Name of the command; without one this is a plain parser.
    **options
        See `argparse.ArgumentParser`.
    """

    def __init__(self, *, plugin: str | None = None, **options: Any) -> None:
        super().__init__(**options)
        self._plugin = plugin

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """See `argparse.ArgumentParser.parse_known_args`; imports the plugin.

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
        return super().parse_known_args(args, namespace)
