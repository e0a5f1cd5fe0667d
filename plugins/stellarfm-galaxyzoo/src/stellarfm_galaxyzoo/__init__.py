"""Galaxy morphology from volunteers' votes and from unlabelled images: a plugin of stellarfm.

Input is a catalogue with image files and vote columns (`Catalogue`, `GalaxyZoo`) or a simulated one
(`SyntheticSurvey`). Output is a model (`GalaxyModel`) that predicts the vote fractions of new galaxies. Start with
`finetuning`, which makes a model from a pretrained encoder; `byol` holds the pretraining method.

Public names are resolved on first use, so that listing plugins imports nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__all__ = [
    "Answer",
    "ByolHybrid",
    "Catalogue",
    "GalaxyModel",
    "GalaxyZoo",
    "Question",
    "Schema",
    "SyntheticSurvey",
    "VoteProbe",
    "dirichlet_multinomial_loss",
    "evaluate",
    "finetune",
    "read_image",
]

_HOMES = {
    "schema": ("Answer", "Question", "Schema"),
    "byol": ("ByolHybrid",),
    "catalogue": ("Catalogue",),
    "model": ("GalaxyModel",),
    "dataset": ("GalaxyZoo",),
    "synthetic_survey": ("SyntheticSurvey",),
    "vote_probe": ("VoteProbe",),
    "dirichlet": ("dirichlet_multinomial_loss",),
    "evaluation": ("evaluate",),
    "finetuning": ("finetune",),
    "images": ("read_image",),
}


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
