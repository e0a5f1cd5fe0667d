"""Recipes: what the package ships, and what a file may hold."""

import json

import pytest
import torch

from stellarfm import registry
from stellarfm.exceptions import InputNotFoundError, PretrainingError
from stellarfm.pretraining.recipe import (
    Recipe,
    load_recipe,
    make_dataset,
    make_encoder,
    make_method,
    recipe_names,
    with_settings,
)


@pytest.mark.parametrize("name", recipe_names())
def test_recipes_of_the_package_build_their_method_on_their_encoder(name):
    recipe = load_recipe(name)
    assert set(recipe.dataset) <= set(registry.options(registry.get("datasets", recipe.plugin("dataset"))))
    json.dumps(recipe.as_dict())
    with torch.device("meta"):  # shapes alone: the largest would need gigabytes
        method = make_method(recipe)
        module = method.build(make_encoder(recipe), image_size=recipe.size, total_steps=recipe.steps)
    assert {p.device.type for p in module.parameters()} == {"meta"}
    trained = sum(len(group["params"]) for group in method.parameter_groups(module))
    assert trained == sum(p.requires_grad for p in module.parameters())


def test_the_recipes_that_were_promised():
    assert {"tiny8-64", "small8-64", "small16-224", "base16-224", "large16-336"} <= set(recipe_names())


@pytest.mark.parametrize("name", ["small8-64", "small16-224", "base16-224", "large16-336"])
def test_official_values(name):
    """What ssl_default_config.yaml of facebookresearch/dinov2 says, in steps of its epochs of 1250."""
    recipe, method = load_recipe(name), load_recipe(name).method
    assert (recipe.steps, recipe.warmup_steps) == (100 * 1250, 10 * 1250)
    assert recipe.peak_learning_rate == pytest.approx(0.004 * (recipe.batch_size / 1024) ** 0.5)
    assert (recipe.weight_decay, recipe.betas, recipe.final_learning_rate) == ([0.04, 0.4], (0.9, 0.999), 1e-6)
    assert (method["prototypes"], method["hidden"], method["bottleneck"]) == (65536, 2048, 256)
    assert (method["momentum"], method["teacher_temperature"]) == ([0.992, 1.0], [0.04, 0.07])
    assert (method["temperature_warmup"], method["frozen_prototypes"]) == (30 / 100, 1 / 100)
    assert (recipe.encoder["layer_scale"], recipe.encoder["drop_path_uniform"]) == (1e-5, True)
    assert (method["layer_decay"], method["stem_rate"], method["clip"]) == (0.9, 0.2, 3.0)
    assert (method["global_area"], method["local_area"], method["local_crops"]) == ([0.32, 1.0], [0.05, 0.32], 8)


def test_points_of_the_mass_paper():
    recipe = load_recipe("large16-336")
    assert (recipe.size, make_dataset(recipe).n_points) == (336, 1_000_000)


def test_plugins_of_a_recipe_and_of_the_caller():
    recipe = load_recipe("small8-64")
    assert recipe.plugin("encoder") == "dinov2-vit-small8"
    changed = recipe.with_plugins(encoder="resnet18", dataset=None)
    assert (changed.plugin("encoder"), changed.plugin("dataset")) == ("resnet18", "flames")
    named = Recipe().with_plugins(encoder="a", dataset="b")
    assert [named.plugin(kind) for kind in ("encoder", "dataset", "method")] == ["a", "b", "dinov2"]
    with pytest.raises(PretrainingError, match=r"the recipe has no dataset; pass dataset or name one in the recipe"):
        Recipe().with_plugins(encoder="a").plugin("dataset")
    with pytest.raises(PretrainingError, match=r"plugins.reader is 'fits'"):
        Recipe().with_plugins(reader="fits")


def test_settings_override_a_recipe():
    recipe = with_settings(
        load_recipe("tiny8-64"),
        ["training.steps=7", "method.koleo_weight = 0.5", "dataset.path=a/b.h5", 'dataset.names=["x", "y"]'],
    )
    assert (recipe.steps, recipe.batch_size) == (7, 32)
    assert (recipe.method["koleo_weight"], recipe.method["global_size"]) == (0.5, 40)
    assert recipe.dataset == {"path": "a/b.h5", "names": ["x", "y"]}
    assert with_settings(recipe, []) == recipe


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("steps=7", "setting 'steps=7'; expected TABLE.KEY=VALUE with a table of training, encoder"),
        ("optimiser.lr=7", "setting 'optimiser.lr=7'; expected TABLE.KEY=VALUE"),
        ("training.steps", "expected TABLE.KEY=VALUE"),
        ("training.step=7", "unknown key training.step"),
        ("training.steps=many", "steps is 'many'; expected an integer"),
    ],
)
def test_settings_that_make_no_sense(setting, message):
    with pytest.raises(PretrainingError, match=message):
        with_settings(Recipe(), [setting])


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
        ("[optimiser]\nlr = 1\n", "unknown key optimiser; expected dataset, encoder, method, monitors, plugins, trai"),
        ("[plugins]\nencoder = 3\n", "plugins.encoder is 3; expected a name of one of encoder, dataset, method"),
        ("[plugins]\nreader = 'fits'\n", "plugins.reader is 'fits'"),
        ("[training]\nstrategy = 'ddp'\n", "strategy is 'ddp'; expected 'auto' or 'fsdp'"),
        ("[training]\nrender = 'gpu'\n", "render is 'gpu'; expected 'auto' or 'workers' or 'device'"),
        ("[training]\ncheckpoint_minutes = 0\n", "checkpoint_minutes is 0; expected a positive number"),
        ("steps = 7\n", "unknown key steps"),
        ("[training\n", "not valid TOML"),
        ("[training]\nsteps = 0\n", "steps is 0; expected at least 1"),
        ("[training]\nsteps = 'many'\n", "steps is 'many'; expected an integer"),
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
