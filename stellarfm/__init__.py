"""Masses of young stars from the gas that hides them.

Public names are resolved on first use: importing `stellarfm` loads neither torch nor yt nor astropy.
"""

from importlib import import_module
from importlib.metadata import version as _version
from typing import Any

__version__ = _version("stellarfm")

_HOME = {
    "GasMaps": "stellarfm.maps",
    "MapSet": "stellarfm.maps",
    "MapScaler": "stellarfm.maps",
    "StellarModel": "stellarfm.inference.model",
}

__all__ = ["__version__", *sorted(_HOME)]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'stellarfm' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
