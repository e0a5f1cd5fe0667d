"""Comparison of the recipes with the published configuration and code of DINOv2."""

import math
import tomllib
from pathlib import Path

from stellarfm import registry
from stellarfm.pretraining.recipe import load_recipe

RECIPES = ("large16-336", "nano8-64")


def elements():
    """Return the rows of the data file."""
    return tomllib.loads(Path(__file__).with_name("dinov2.toml").read_text("utf-8"))["element"]


def setting(name, key):
    """Return the value of a setting of a recipe, or the default of the option."""
    recipe = load_recipe(name)
    table, _, option = key.partition(".")
    if table == "training":
        derived = {
            "base_learning_rate": recipe.peak_learning_rate / math.sqrt(recipe.batch_size / 1024),
            "warmup": recipe.warmup_steps / recipe.steps,
        }
        return derived[option] if option in derived else getattr(recipe, option)
    plugin = registry.get(f"{table}s", recipe.plugin(table))
    given = getattr(recipe, table)
    value = given[option] if option in given else registry.options(plugin)[option].default
    return getattr(plugin, option, None) if value is None else value


def equal(first, second):
    """Return whether two values agree."""
    if isinstance(first, (list, tuple)) and isinstance(second, (list, tuple)):
        return len(first) == len(second) and all(map(equal, first, second))
    numbers = all(isinstance(value, (int, float)) for value in (first, second))
    return math.isclose(first, second, rel_tol=1e-9) if numbers else first == second


def values(element):
    """Return the value of each recipe, and whether it agrees with the official one."""
    if "key" not in element:
        return [(element["ours"], element["ours"] == "same")] * len(RECIPES)
    found = [setting(name, element["key"]) for name in RECIPES]
    return [(value, equal(value, element["official"])) for value in found]


def text(value):
    """Return a value as text."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return " to ".join(map(text, value))
    return f"{value:.6g}" if isinstance(value, (int, float)) else str(value)


def fidelity_rows():
    """Yield the header and the rows of the table."""
    yield ("element", "DINOv2", *(f"`{name}`" for name in RECIPES), "reason for a difference", "source")
    for element in elements():
        ours = ["same" if same else text(value) for value, same in values(element)]
        yield (element["name"], text(element["official"]), *ours, element.get("reason", ""), f"`{element['source']}`")


def fidelity_table():
    """Return the table as reStructuredText."""
    lines = [f"   * - {row[0]}\n" + "\n".join(f"     - {cell}" for cell in row[1:]) for row in fidelity_rows()]
    return "\n".join([".. list-table::", "   :header-rows: 1", "", *lines])
