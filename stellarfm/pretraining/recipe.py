"""Recipes: everything that decides what a pretraining run learns, as one TOML file."""

from __future__ import annotations

import dataclasses
import math
import os
import tomllib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from stellarfm import registry
from stellarfm.contracts import PretrainingDataset, PretrainingMethod
from stellarfm.exceptions import InputNotFoundError, PretrainingError
from stellarfm.pretraining.collapse import CollapseLimits

__all__ = [
    "Recipe",
    "encoder_options",
    "load_recipe",
    "make_dataset",
    "make_encoder",
    "make_method",
    "plugin_names",
    "recipe_names",
    "with_settings",
]


PLUGINS = ("encoder", "dataset", "method")
SECTIONS = ("encoder", "dataset", "method", "monitors", "plugins")
CHOICES = {
    "precision": ("32-true", "bf16-mixed"),
    "strategy": ("auto", "fsdp"),
    "render": ("auto", "workers", "device"),
}


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _number(value: Any) -> bool:
    return isinstance(value, float) or _whole(value)


def _pair(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and len(value) == 2 and all(map(_number, value))


#: Annotation of a setting -> what is expected, in words and as a check.
KINDS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "int": ("a whole number", _whole),
    "int | None": ("a whole number", lambda value: value is None or _whole(value)),
    "float": ("a number", _number),
    "float | None": ("a number", lambda value: value is None or _number(value)),
    "str": ("a word", lambda value: isinstance(value, str)),
    "tuple[float, float]": ("two numbers", _pair),
    "dict[str, Any]": ("a table", lambda value: isinstance(value, dict)),
}


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Settings of the training loop, and the options of the three plugins and of the guard.

    Attributes
    ----------
    steps : int
        Optimiser steps; every schedule ends there.
    batch_size : int
        Images a step, over all devices.
    size : int
        Side of the images in pixels.
    seed : int
        Of the weights, the choice of images and the views. The dataset has a seed of its own.
    learning_rate : float or None
        Peak; None is ``0.004 sqrt(batch_size / 1024)`` (DINOv2's official rule).
    warmup_steps : int
        Straight rise of the rate.
    final_learning_rate : float
        At the last step.
    weight_decay : tuple of float
        First and last; half a cosine between.
    betas : tuple of float
        Of AdamW.
    precision : {"32-true", "bf16-mixed"}
        Type of the matrix products; losses are in float32 always.
    workers : int
        Processes that render images beside the training; 0 renders in the training process.
    torch_threads : int or None
        Threads of torch; None leaves its choice.
    checkpoint_steps, log_steps : int
        Steps between checkpoints and between lines of the log.
    checkpoint_minutes : float or None
        Also a checkpoint whenever so much time has passed since the last.
    max_hours : float or None
        Stop then, with a checkpoint and an encoder; the schedules do not change.
    strategy : {"auto", "fsdp"}
        How several devices share the work: ``auto`` gives each the whole model (DDP), ``fsdp`` a part of it.
    render : {"auto", "workers", "device"}
        Where images are made: in processes beside the training, or by the dataset on the device that trains. ``auto``
        is the device if it is a GPU and the dataset can.
    encoder, dataset, method : dict
        Options of the plugins.
    plugins : dict
        Names of the ``encoder``, the ``dataset`` and the ``method``; a caller may name others.
    monitors : dict
        When to give a run up: options of `stellarfm.pretraining.collapse.CollapseLimits`.
    """

    steps: int = 10_000
    batch_size: int = 64
    size: int = 64
    seed: int = 0
    learning_rate: float | None = None
    warmup_steps: int = 500
    final_learning_rate: float = 1e-6
    weight_decay: tuple[float, float] = (0.04, 0.4)
    betas: tuple[float, float] = (0.9, 0.999)
    precision: str = "bf16-mixed"
    workers: int = 1
    torch_threads: int | None = None
    checkpoint_steps: int = 500
    log_steps: int = 20
    max_hours: float | None = None
    checkpoint_minutes: float | None = None
    strategy: str = "auto"
    render: str = "auto"
    encoder: dict[str, Any] = field(default_factory=dict)
    dataset: dict[str, Any] = field(default_factory=dict)
    method: dict[str, Any] = field(default_factory=dict)
    monitors: dict[str, Any] = field(default_factory=dict)
    plugins: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for each in dataclasses.fields(self):
            value, (what, fits) = getattr(self, each.name), KINDS[str(each.type)]
            if not fits(value):
                raise PretrainingError(f"{each.name} is {value!r}; expected {what}")
        for name in ("steps", "batch_size", "size", "checkpoint_steps", "log_steps"):
            if getattr(self, name) < 1:
                raise PretrainingError(f"{name} is {getattr(self, name)}; expected at least 1")
        for name in ("seed", "warmup_steps", "workers"):
            if getattr(self, name) < 0:
                raise PretrainingError(f"{name} is {getattr(self, name)}; expected at least 0")
        if self.checkpoint_minutes is not None and not self.checkpoint_minutes > 0:
            raise PretrainingError(f"checkpoint_minutes is {self.checkpoint_minutes}; expected a positive number")
        CollapseLimits.from_table(self.monitors)
        self._check_words()

    def _check_words(self) -> None:
        """Raise `PretrainingError` for a choice or the name of a plugin that cannot be."""
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                expected = " or ".join(map(repr, known))
                raise PretrainingError(f"{name} is {getattr(self, name)!r}; expected {expected}")
        for name, value in self.plugins.items():
            if name not in PLUGINS or not isinstance(value, str):
                raise PretrainingError(f"plugins.{name} is {value!r}; expected a name for one of {', '.join(PLUGINS)}")

    @property
    def peak_learning_rate(self) -> float:
        """The learning rate after the warm-up."""
        if self.learning_rate is not None:
            return self.learning_rate
        return 0.004 * math.sqrt(self.batch_size / 1024)

    def replace(self, **changes: Any) -> Recipe:
        """A copy with other settings; those that are None are left as they are."""
        return dataclasses.replace(self, **{name: value for name, value in changes.items() if value is not None})

    def as_dict(self) -> dict[str, Any]:
        """Plain values that JSON can hold."""
        plain = dataclasses.asdict(self)
        return {name: list(value) if isinstance(value, tuple) else value for name, value in plain.items()}


def recipe_names() -> list[str]:
    """Names of the recipes in the package."""
    folder = resources.files("stellarfm.pretraining.recipes")
    return sorted(Path(entry.name).stem for entry in folder.iterdir() if entry.name.endswith(".toml"))


def load_recipe(source: str | os.PathLike) -> Recipe:
    """A recipe by the name of one in the package, or by the path of a TOML file.

    The tables ``[encoder]``, ``[dataset]`` and ``[method]`` hold plugin options, ``[plugins]`` their names,
    ``[monitors]`` when to give a run up; ``[training]`` holds the settings of `Recipe`.

    Raises
    ------
    InputNotFoundError
        If there is no such recipe.
    PretrainingError
        If it is no TOML, or holds a table or a key that is not known.
    """
    try:
        content = tomllib.loads(_text(source))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PretrainingError(f"recipe {source}: not valid TOML: {error}") from error
    _check_keys(f"recipe {source}", "", content, {"training", *SECTIONS})
    training = content.pop("training", {})
    _check_keys(f"recipe {source}", "training.", training, {f.name for f in dataclasses.fields(Recipe)} - set(SECTIONS))
    return Recipe(**training, **content)


def with_settings(recipe: Recipe, assignments: Iterable[str]) -> Recipe:
    """`recipe` with other settings, each written ``table.key=value`` as in its file; a bare word is a string.

    Raises
    ------
    PretrainingError
        If one is not written so, or names no table or setting.
    """
    changed: dict[str, Any] = {name: dict(getattr(recipe, name)) for name in SECTIONS}
    training: dict[str, Any] = {}
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        table, dot, key = path.strip().partition(".")
        if not (equals and dot and key) or table not in ("training", *SECTIONS):
            known = ", ".join(("training", *SECTIONS))
            raise PretrainingError(f"setting {assignment!r}; expected TABLE.KEY=VALUE with a table of {known}")
        (training if table == "training" else changed[table])[key] = _value(text.strip())
    _check_keys("setting", "training.", training, {f.name for f in dataclasses.fields(Recipe)} - set(SECTIONS))
    return dataclasses.replace(recipe, **training, **changed)


def _value(text: str) -> Any:
    """A TOML value, or the text itself."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _text(source: str | os.PathLike) -> str:
    """Content of a recipe file."""
    if str(source) in recipe_names():
        return resources.files("stellarfm.pretraining.recipes").joinpath(f"{source}.toml").read_text("utf-8")
    path = Path(source)
    if not path.is_file():
        raise InputNotFoundError(f"{source}: neither a file nor a recipe of stellarfm ({', '.join(recipe_names())})")
    return path.read_text("utf-8")


def _check_keys(source: str, prefix: str, given: dict[str, Any], known: set[str]) -> None:
    """Raise `PretrainingError` for the first key that is not known."""
    for key in given:
        if key not in known:
            raise PretrainingError(f"{source}: unknown key {prefix}{key}; expected {', '.join(sorted(known))}")


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
