"""Recipes: what the package ships, and what a file may hold."""

import json

import pytest

from stellarfm import registry
from stellarfm.exceptions import InputNotFoundError, PretrainingError
from stellarfm.pretraining.recipe import Recipe, load_recipe, recipe_names


@pytest.mark.parametrize("name", recipe_names())
def test_recipes_of_the_package_fit_the_method(name):
    recipe = load_recipe(name)
    assert set(recipe.method) <= set(registry.options(registry.get("methods", "dinov2")))
    json.dumps(recipe.as_dict())


def test_the_cpu_recipe_is_there():
    assert "tiny8-64" in recipe_names()


def write(tmp_path, text):
    path = tmp_path / "recipe.toml"
    path.write_text(text)
    return path


def test_a_file(tmp_path):
    recipe = load_recipe(write(tmp_path, "[training]\nsteps = 7\n[method]\nprototypes = 8\n"))
    assert recipe.steps == 7
    assert recipe.method == {"prototypes": 8}
    assert recipe.batch_size == Recipe().batch_size


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[training]\nstep = 7\n", "unknown key training.step; expected .*steps"),
        ("[optimiser]\nlr = 1\n", "unknown key optimiser; expected dataset, encoder, method, monitors, plugins, training"),
        ("steps = 7\n", "unknown key steps"),
        ("[training\n", "not valid TOML"),
        ("[training]\nsteps = 0\n", "steps is 0; expected at least 1"),
        ("[training]\nsteps = 'many'\n", "steps is 'many'; expected a whole number"),
        ("[training]\nlearning_rate = true\n", "learning_rate is True; expected a number"),
        ("[training]\nprecision = '16'\n", "precision is '16'; expected '32-true' or 'bf16-mixed'"),
        ("[training]\nweight_decay = 0.1\n", "weight_decay is 0.1; expected two numbers"),
        ("method = 3\n", "method is 3; expected a table"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, text, message):
    with pytest.raises(PretrainingError, match=message):
        load_recipe(write(tmp_path, text))


def test_no_such_recipe():
    with pytest.raises(InputNotFoundError, match="neither a file nor a recipe of stellarfm .*tiny8-64"):
        load_recipe("tiny9")


def test_the_official_learning_rate():
    assert Recipe(batch_size=1024).peak_learning_rate == pytest.approx(0.004)
    assert Recipe(batch_size=64).peak_learning_rate == pytest.approx(0.001)
    assert Recipe(learning_rate=0.5).peak_learning_rate == 0.5


def test_none_replaces_nothing():
    recipe = Recipe(steps=5).replace(steps=None, seed=3)
    assert (recipe.steps, recipe.seed) == (5, 3)
