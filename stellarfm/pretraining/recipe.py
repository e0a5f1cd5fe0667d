"""Recipes: the settings that determine what a pretraining run learns, read from TOML files."""

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
    "recipe_names",
    "with_settings",
]

#: Kinds of plugins that a run is made of.
PLUGINS = ("encoder", "dataset", "method")
DEFAULT_METHOD = "dinov2"
#: Tables of a recipe file other than ``[training]``.
SECTIONS = (*PLUGINS, "monitors", "plugins")
CHOICES = {
    "precision": ("32-true", "bf16-mixed"),
    "strategy": ("auto", "fsdp"),
    "render": ("auto", "workers", "device"),
}


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, float) or _is_integer(value)


def _is_pair(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and len(value) == 2 and all(map(_is_number, value))


#: Annotation of a setting -> description of the expected value, and a function that checks it.
KINDS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "int": ("an integer", _is_integer),
    "int | None": ("an integer", lambda value: value is None or _is_integer(value)),
    "float": ("a number", _is_number),
    "float | None": ("a number", lambda value: value is None or _is_number(value)),
    "str": ("a string", lambda value: isinstance(value, str)),
    "tuple[float, float]": ("two numbers", _is_pair),
    "dict[str, Any]": ("a table", lambda value: isinstance(value, dict)),
}


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Settings of the training loop, and names and options of the encoder, the dataset and the method.

    Attributes
    ----------
    steps : int
        Number of optimizer steps; all schedules end at this step.
    batch_size : int
        Number of images per step, summed over all devices.
    size : int
        Side of the images in pixels.
    seed : int
        Seed of the initial weights, the order of the images and their augmentation. The dataset has its own seed.
    learning_rate : float or None
        Peak learning rate; None selects ``0.004 sqrt(batch_size / 1024)`` (DINOv2's scaling rule).
    warmup_steps : int
        Number of steps of the linear warm-up of the learning rate.
    final_learning_rate : float
        Learning rate at the last step.
    weight_decay : tuple of float
        Initial and final weight decay, connected by half a cosine.
    betas : tuple of float
        Coefficients of AdamW's moving averages.
    precision : {"32-true", "bf16-mixed"}
        Data type of matrix products; losses are always computed in float32.
    workers : int
        Number of processes that render images in parallel with the training; 0 renders in the training process.
    torch_threads : int or None
        Number of torch threads; None keeps torch's default.
    checkpoint_steps, log_steps : int
        Number of steps between checkpoints and between rows of the log.
    checkpoint_minutes : float or None
        Largest time between checkpoints, in addition to `checkpoint_steps`.
    max_hours : float or None
        Duration after which the run stops with a checkpoint and an encoder. The schedules do not depend on it.
    strategy : {"auto", "fsdp"}
        Parallelization over devices: ``auto`` replicates the model (DDP), ``fsdp`` shards it.
    render : {"auto", "workers", "device"}
        Place where images are made: the worker processes, or the dataset's `images` on the training device. ``auto``
        selects the device if it is a GPU and the dataset implements `images`.
    encoder, dataset, method : dict
        Options of the three plugins.
    monitors : dict
        Options of `stellarfm.pretraining.collapse.CollapseLimits`.
    plugins : dict
        Names of the plugins, with keys ``encoder``, ``dataset`` and ``method``; see `with_plugins`.

    Examples
    --------
    >>> from stellarfm.pretraining import Recipe
    >>> recipe = Recipe(steps=100, batch_size=64).with_plugins(encoder="resnet18", dataset="flames")
    >>> recipe.peak_learning_rate
    0.001
    >>> recipe.plugin("encoder"), recipe.plugin("method")
    ('resnet18', 'dinov2')
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
            value, (expected, is_valid) = getattr(self, each.name), KINDS[str(each.type)]
            if not is_valid(value):
                raise PretrainingError(f"{each.name} is {value!r}; expected {expected}")
        for name in ("steps", "batch_size", "size", "checkpoint_steps", "log_steps"):
            if getattr(self, name) < 1:
                raise PretrainingError(f"{name} is {getattr(self, name)}; expected at least 1")
        for name in ("seed", "warmup_steps", "workers"):
            if getattr(self, name) < 0:
                raise PretrainingError(f"{name} is {getattr(self, name)}; expected at least 0")
        if self.checkpoint_minutes is not None and not self.checkpoint_minutes > 0:
            raise PretrainingError(f"checkpoint_minutes is {self.checkpoint_minutes}; expected a positive number")
        CollapseLimits.from_table(self.monitors)
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                choices = " or ".join(map(repr, known))
                raise PretrainingError(f"{name} is {getattr(self, name)!r}; expected {choices}")
        for name, value in self.plugins.items():
            if name not in PLUGINS or not isinstance(value, str):
                raise PretrainingError(f"plugins.{name} is {value!r}; expected a name of one of {', '.join(PLUGINS)}")

    @property
    def peak_learning_rate(self) -> float:
        """Learning rate after the warm-up."""
        if self.learning_rate is not None:
            return self.learning_rate
        return 0.004 * math.sqrt(self.batch_size / 1024)

    def plugin(self, kind: str) -> str:
        """Return the name of the ``encoder``, the ``dataset`` or the ``method`` (by default `dinov2`).

        Raises
        ------
        PretrainingError
            If the recipe does not name one.
        """
        names = {"method": DEFAULT_METHOD, **self.plugins}
        if kind not in names:
            raise PretrainingError(f"the recipe has no {kind}; pass {kind} or name one in the recipe's table [plugins]")
        return names[kind]

    def with_plugins(self, **names: str | None) -> Recipe:
        """Return a copy with other plugin names.

        Parameters
        ----------
        **names : str or None
            Names with keys ``encoder``, ``dataset`` and ``method``; None keeps the recipe's own.
        """
        chosen = {kind: name for kind, name in names.items() if name is not None}
        return dataclasses.replace(self, plugins={**self.plugins, **chosen})

    def replace(self, **changes: Any) -> Recipe:
        """Return a copy with other settings; settings that are None keep their value."""
        return dataclasses.replace(self, **{name: value for name, value in changes.items() if value is not None})

    def as_dict(self) -> dict[str, Any]:
        """Return all settings as values that JSON can represent."""
        plain = dataclasses.asdict(self)
        return {name: list(value) if isinstance(value, tuple) else value for name, value in plain.items()}


def recipe_names() -> list[str]:
    """Return the names of the recipes in the package, sorted.

    Examples
    --------
    >>> from stellarfm.pretraining.recipe import recipe_names
    >>> "tiny8-64" in recipe_names()
    True
    """
    folder = resources.files("stellarfm.pretraining.recipes")
    return sorted(Path(entry.name).stem for entry in folder.iterdir() if entry.name.endswith(".toml"))


def load_recipe(source: str | os.PathLike) -> Recipe:
    """Read a recipe.

    The table ``[training]`` holds the settings of `Recipe`; ``[encoder]``, ``[dataset]`` and ``[method]`` hold plugin
    options, ``[plugins]`` plugin names and ``[monitors]`` the limits beyond which a run is stopped.

    Parameters
    ----------
    source : str or path-like
        Name of a recipe in the package, or path of a TOML file.

    Returns
    -------
    Recipe
        The recipe; settings missing from the file have their default.

    Raises
    ------
    InputNotFoundError
        If the recipe does not exist.
    PretrainingError
        If the file is not valid TOML, or contains an unknown table or key.

    Examples
    --------
    >>> from stellarfm.pretraining import load_recipe
    >>> recipe = load_recipe("nano8-64")
    >>> recipe.steps, recipe.plugin("encoder")
    (500, 'dinov2-vit-nano8')
    """
    try:
        content = tomllib.loads(_recipe_text(source))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PretrainingError(f"recipe {source}: not valid TOML: {error}") from error
    _check_keys(f"recipe {source}", "", content, {"training", *SECTIONS})
    training = content.pop("training", {})
    _check_keys(f"recipe {source}", "training.", training, {f.name for f in dataclasses.fields(Recipe)} - set(SECTIONS))
    return Recipe(**training, **content)


def with_settings(recipe: Recipe, assignments: Iterable[str]) -> Recipe:
    """Return a copy of a recipe with settings given as text.

    Parameters
    ----------
    recipe : Recipe
        Recipe to be modified.
    assignments : iterable of str
        Settings written ``table.key=value``, with the tables and the values of a recipe file. A value that is not valid
        TOML is a string.

    Returns
    -------
    Recipe
        The new recipe.

    Raises
    ------
    PretrainingError
        If an assignment has another form, or names an unknown table or setting.

    Examples
    --------
    >>> from stellarfm.pretraining.recipe import Recipe, with_settings
    >>> with_settings(Recipe(), ["training.steps=7", "dataset.path=maps.h5"]).dataset
    {'path': 'maps.h5'}
    """
    sections: dict[str, Any] = {name: dict(getattr(recipe, name)) for name in SECTIONS}
    training: dict[str, Any] = {}
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        table, dot, key = path.strip().partition(".")
        if not (equals and dot and key) or table not in ("training", *SECTIONS):
            known = ", ".join(("training", *SECTIONS))
            raise PretrainingError(f"setting {assignment!r}; expected TABLE.KEY=VALUE with a table of {known}")
        (training if table == "training" else sections[table])[key] = _parse_value(text.strip())
    _check_keys("setting", "training.", training, {f.name for f in dataclasses.fields(Recipe)} - set(SECTIONS))
    return dataclasses.replace(recipe, **training, **sections)


def _parse_value(text: str) -> Any:
    """Return a TOML value, or the text itself if it is not one."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _recipe_text(source: str | os.PathLike) -> str:
    """Return the content of a recipe file."""
    if str(source) in recipe_names():
        return resources.files("stellarfm.pretraining.recipes").joinpath(f"{source}.toml").read_text("utf-8")
    path = Path(source)
    if not path.is_file():
        raise InputNotFoundError(f"{source}: neither a file nor a recipe of stellarfm ({', '.join(recipe_names())})")
    return path.read_text("utf-8")


def _check_keys(source: str, prefix: str, given: dict[str, Any], known: set[str]) -> None:
    """Raise `PretrainingError` for the first unknown key."""
    for key in given:
        if key not in known:
            raise PretrainingError(f"{source}: unknown key {prefix}{key}; expected {', '.join(sorted(known))}")


def encoder_options(recipe: Recipe) -> dict[str, Any]:
    """Return the options of the encoder: those of the recipe, and ``image_size`` if the encoder has that option."""
    known = registry.options(registry.get("encoders", recipe.plugin("encoder")))
    return {**({"image_size": recipe.size} if "image_size" in known else {}), **recipe.encoder}


def make_encoder(recipe: Recipe) -> Any:
    """Create the `stellarfm.contracts.Encoder`; its weights are drawn from torch's global random state."""
    return registry.create("encoders", recipe.plugin("encoder"), **encoder_options(recipe))


def make_dataset(recipe: Recipe) -> PretrainingDataset:
    """Create the dataset, with images of ``recipe.size`` pixels."""
    return registry.create("datasets", recipe.plugin("dataset"), **{"size": recipe.size, **recipe.dataset})


def make_method(recipe: Recipe) -> PretrainingMethod:
    """Create the pretraining method."""
    return registry.create("methods", recipe.plugin("method"), **recipe.method)
