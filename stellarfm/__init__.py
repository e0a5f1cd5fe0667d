"""Masses of young stars from maps of the gas around them.

Maps or simulation snapshots enter; tables of masses with calibrated intervals and segmentation maps leave. Start with
`StellarModel`, in ``stellarfm/inference/model.py``.

Public names are resolved on first use: importing `stellarfm` loads neither torch nor yt nor astropy.

Examples
--------
>>> import stellarfm
>>> "StellarModel" in dir(stellarfm)
True
"""

from importlib import import_module
from importlib.metadata import version as _version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stellarfm.inference import MassFlag, Segmentation, StellarModel
    from stellarfm.maps import GasMaps, MapScaler, MapSet
    from stellarfm.pretraining.training import pretrain
    from stellarfm.readers import read_maps, read_snapshot
    from stellarfm.simulations import Snapshot, project

__all__ = [
    "GasMaps",
    "MapScaler",
    "MapSet",
    "MassFlag",
    "Segmentation",
    "Snapshot",
    "StellarModel",
    "__version__",
    "pretrain",
    "project",
    "read_maps",
    "read_snapshot",
]

__version__ = _version("stellarfm")

#: Public name -> module that defines it.
_HOME = {
    "GasMaps": "stellarfm.maps",
    "MapScaler": "stellarfm.maps",
    "MapSet": "stellarfm.maps",
    "MassFlag": "stellarfm.inference",
    "Segmentation": "stellarfm.inference",
    "Snapshot": "stellarfm.simulations",
    "StellarModel": "stellarfm.inference",
    "pretrain": "stellarfm.pretraining.training",
    "project": "stellarfm.simulations",
    "read_maps": "stellarfm.readers",
    "read_snapshot": "stellarfm.readers",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'stellarfm' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
