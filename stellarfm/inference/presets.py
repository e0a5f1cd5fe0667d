"""Published methods by name: the options of `StellarModel.fit` that reproduce them."""

from __future__ import annotations

from typing import Any

from stellarfm.exceptions import ModelError
from stellarfm.inference.encoding.features import Readout
from stellarfm.inference.masses.heads.knn import KNNHead
from stellarfm.inference.model_directory import PRESETS

__all__ = ["preset_options"]


def preset_options(name: str) -> dict[str, Any]:
    """Return the arguments ``encoder``, ``readout`` and ``head`` of `StellarModel.fit` for a published method.

    ``"hirashima2025"`` (arXiv:2510.24159) reads the class token of a vision transformer pretrained on fractals, whitens
    all its principal components, and lets the five nearest windows vote with weights of inverse distance.

    Raises
    ------
    ModelError
        If the name is unknown.

    Examples
    --------
    >>> preset_options("hirashima2025")["head"]
    KNNHead()
    """
    if name != "hirashima2025":
        raise ModelError(f"unknown preset {name!r}; choose {', '.join(PRESETS)}")
    head = KNNHead(n_components=None, n_neighbors=5, vote_by="window")
    return {"encoder": name, "readout": Readout(pooling=("class",)), "head": head}
