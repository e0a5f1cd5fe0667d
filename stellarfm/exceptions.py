"""Exceptions of stellarfm.

Each derives from `StellarFMError` and from the matching built-in exception, so that both ``except StellarFMError`` and
``except ValueError`` work. A message states in one line what was given, what was expected and how to fix it. The
command line prints it, with the names of arguments replaced by those of its options, and exits with code 1.

Notes
-----
How messages name a Python argument, so that the command line can translate it (`stellarfm.cli.common.name_options`):
an argument of several words is written plainly (``column_species``); an argument of one word is followed by an equals
sign (``reader=``, ``width='0.5 pc'``, ``overwrite=True``), or set in backticks.

Examples
--------
>>> from stellarfm.exceptions import MapError
>>> issubclass(MapError, ValueError)
True
"""

__all__ = [
    "BrokenPluginError",
    "DuplicatePluginError",
    "FractalError",
    "InputNotFoundError",
    "MapError",
    "ModelError",
    "OutputError",
    "OutputExistsError",
    "PluginError",
    "PluginTypeError",
    "PretrainingError",
    "ReaderError",
    "SnapshotError",
    "StellarFMError",
    "UnitsError",
    "UnknownPluginError",
]


class StellarFMError(Exception):
    """Base class of every error that a user's input can cause."""


class InputNotFoundError(StellarFMError, FileNotFoundError):
    """An input path does not exist."""


class OutputExistsError(StellarFMError, FileExistsError):
    """An output path exists and may not be overwritten."""


class OutputError(StellarFMError, OSError):
    """An output that cannot be written: the disk is full, or a directory may not be written to."""


class MapError(StellarFMError, ValueError):
    """Maps with an unusable shape, content or header."""


class UnitsError(MapError):
    """A quantity with a missing or a wrong unit."""


class ReaderError(StellarFMError, OSError):
    """A file that cannot be read: truncated, of an unknown format, or without required content."""


class SnapshotError(StellarFMError, ValueError):
    """A snapshot that is inconsistent or cannot be projected: no gas, a star outside the box, a window too large."""


class ModelError(StellarFMError, ValueError):
    """A model directory that is incomplete, modified, or incompatible with the input."""


class PretrainingError(StellarFMError, ValueError):
    """A pretraining run that cannot start, cannot resume, or has collapsed."""


class FractalError(StellarFMError, ValueError):
    """A genome or an option of the fractal renderer that produces no image."""


class PluginError(StellarFMError):
    """Base class of the four errors of the plugin registry."""


class UnknownPluginError(PluginError, KeyError):
    """No installed distribution provides a plugin of this name."""

    __str__ = Exception.__str__  # KeyError would print the repr of the message


class DuplicatePluginError(PluginError, ValueError):
    """Two distributions provide a plugin of the same name in the same group."""


class BrokenPluginError(PluginError, ImportError):
    """A plugin is installed but cannot be imported."""


class PluginTypeError(PluginError, TypeError):
    """A plugin does not implement the contract of its group, or does not accept the given options."""
