"""Maps of gas to masses of stars with intervals, and to segments.

`StellarModel` (`model.py`, open it first) is the entrance: a field (`GasMaps`) or star-centered windows (`MapSet`)
enter, a table of masses or a `Segmentation` leaves. Stages: `encoding` (windows to features), `masses` (features to
masses), `segmentation` (patch features to segments). `selection.py` chooses encoder, readout and head;
`serialization.py` reads and writes model directories.
"""

from importlib import import_module
from typing import Any

_HOME = {
    "Candidate": "selection",
    "KNNHead": "masses.heads.knn",
    "SVRHead": "masses.heads.svr",
    "ForestHead": "masses.heads.forest",
    "MassDistribution": "masses.distribution",
    "MassFlag": "masses.flags",
    "MassPrior": "masses.priors",
    "Readout": "encoding.features",
    "Segmentation": "segmentation.segmentation_map",
    "Selection": "selection",
    "StarConformal": "masses.conformal",
    "StellarModel": "model",
    "select": "selection",
    "write_masses": "masses.mass_table",
}

__all__ = [
    "Candidate",
    "ForestHead",
    "KNNHead",
    "MassDistribution",
    "MassFlag",
    "MassPrior",
    "Readout",
    "SVRHead",
    "Segmentation",
    "Selection",
    "StarConformal",
    "StellarModel",
    "select",
    "write_masses",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'stellarfm.inference' has no attribute {name!r}")
    return getattr(import_module(f"stellarfm.inference.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
