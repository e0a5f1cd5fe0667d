"""Errors of stellarfm.

Each is an exception of ours and also the natural built-in one, so that both ``except StellarFMError`` and
``except ValueError`` work. A message says what was given, what was expected and how to mend it, in one line:
the command line prints it as it is and leaves with exit code 1.
"""

__all__ = [
    "BrokenPluginError",
    "DuplicatePluginError",
    "FractalError",
    "InputNotFoundError",
    "MapError",
    "ModelError",
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
    """Base of every error that a user's input can cause."""


class InputNotFoundError(StellarFMError, FileNotFoundError):
    """An input path does not exist."""


class OutputExistsError(StellarFMError, FileExistsError):
    """An output path exists and overwriting was not asked for."""


class MapError(StellarFMError, ValueError):
    """Maps whose shape, content or header cannot be used."""


class UnitsError(MapError):
    """A quantity with a missing or a wrong unit."""


class ReaderError(StellarFMError, OSError):
    """A file that cannot be read: truncated, foreign, or without what was asked for."""


class SnapshotError(StellarFMError, ValueError):
    """A snapshot that makes no sense, or cannot be projected so: no gas, a star outside, a window too large."""


class ModelError(StellarFMError, ValueError):
    """A model directory that is incomplete, tampered with, or does not fit the input."""


class PretrainingError(StellarFMError, ValueError):
    """A pretraining run that cannot start, cannot resume, or has collapsed."""


class FractalError(StellarFMError, ValueError):
    """A genome or an option of the fractal renderer that makes no image."""


class PluginError(StellarFMError):
    """Base of the four errors of the plugin registry."""


class UnknownPluginError(PluginError, KeyError):
    """No installed distribution offers a plugin of this name."""

    __str__ = Exception.__str__  # KeyError would print the repr of the message


class DuplicatePluginError(PluginError, ValueError):
    """Two distributions offer a plugin of the same name in the same group."""


class BrokenPluginError(PluginError, ImportError):
    """A plugin is installed but cannot be imported."""


class PluginTypeError(PluginError, TypeError):
    """A plugin does not fulfil the contract of its group."""
