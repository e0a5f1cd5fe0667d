"""The three plugins of a run: their names and their instances."""

from __future__ import annotations

from typing import Any

from stellarfm import registry
from stellarfm.contracts import PretrainingDataset, PretrainingMethod
from stellarfm.exceptions import PretrainingError
from stellarfm.pretraining.recipe import PLUGINS, Recipe

__all__ = ["encoder_options", "make_dataset", "make_encoder", "make_method", "plugin_names"]


def plugin_names(recipe: Recipe, **given: str | None) -> dict[str, str]:
    """Names of the encoder, the dataset and the method: what is `given`, or else what the recipe names.

    Raises
    ------
    PretrainingError
        If there is no encoder or no dataset; the method is `dinov2` unless another is named.
    """
    chosen = {"method": "dinov2", **recipe.plugins, **{kind: name for kind, name in given.items() if name is not None}}
    for kind in PLUGINS:
        if kind not in chosen:
            raise PretrainingError(f"no {kind}; give --{kind} NAME, or a recipe that names one in its table [plugins]")
    return {kind: chosen[kind] for kind in PLUGINS}


def encoder_options(recipe: Recipe) -> dict[str, Any]:
    """Options with which the encoder is made."""
    return {"image_size": recipe.size, **recipe.encoder}


def make_encoder(names: dict[str, str], recipe: Recipe) -> Any:
    """The `Encoder`, its weights drawn from torch's global random state."""
    return registry.create("encoders", names["encoder"], **encoder_options(recipe))


def make_dataset(names: dict[str, str], recipe: Recipe) -> PretrainingDataset:
    """The dataset."""
    return registry.create("datasets", names["dataset"], **{"size": recipe.size, **recipe.dataset})


def make_method(names: dict[str, str], recipe: Recipe) -> PretrainingMethod:
    """The method."""
    return registry.create("methods", names["method"], **recipe.method)
