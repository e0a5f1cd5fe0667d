"""Counted operations against formulas, and what follows from them."""

import pytest
import torch

from stellarfm.contracts import PretrainingMethod
from stellarfm.exceptions import PretrainingError
from stellarfm.pretraining.cost import HARDWARE, Cost, count_flops
from stellarfm.pretraining.recipe import Recipe, load_recipe, recipe_names

WIDTH, DEPTH = 192, 12  # ViT-Ti
SUPERVISED = {"encoder": "dinov2-vit-tiny8", "method": "supervised"}


def transformer(side):
    """Operations of the patch projection, and of the blocks, of a forward pass of ViT-Ti/8."""
    patches = (side // 8) ** 2
    tokens = patches + 1
    return 2 * patches * 3 * 64 * WIDTH, DEPTH * (24 * WIDTH**2 * tokens + 4 * tokens**2 * WIDTH)


def head(features, hidden, bottleneck, prototypes):
    """Operations of a forward pass of one vector."""
    return 2 * (features * hidden + hidden * hidden + hidden * bottleneck + bottleneck * prototypes)


def test_a_supervised_step_is_three_forward_passes():
    embedding, blocks = transformer(32)
    # The gradient of the pixels is not needed: two passes through the projection, three through all else.
    expected = 2 * embedding + 3 * (blocks + 2 * WIDTH * 2)
    recipe = Recipe(size=32).with_plugins(**SUPERVISED)
    assert count_flops(recipe) == pytest.approx(expected)


def test_a_step_of_dinov2():
    recipe = load_recipe("tiny8-64")
    method = recipe.method
    sizes = (WIDTH, method["hidden"], method["bottleneck"], method["prototypes"])
    (embedding, blocks), (small_embedding, small_blocks) = transformer(40), transformer(24)
    hidden = 2 * 0.5 * 0.3 * 25
    student = 3 * (2 * blocks + 4 * small_blocks) + 2 * (2 * embedding + 4 * small_embedding)
    expected = student + 2 * (blocks + embedding) + (3 * (6 + hidden) + 2 + hidden) * head(*sizes)
    found = count_flops(recipe)
    assert found == pytest.approx(expected, rel=0.02)


def test_the_large_model_of_the_mass_paper():
    recipe = load_recipe("large16-336")
    # PAPER: 2.2-2.9 TFLOP an image-step.
    assert 2.2e12 < count_flops(recipe) < 2.9e12


def test_counting_draws_nothing_and_holds_nothing():
    torch.manual_seed(3)
    state = torch.get_rng_state()
    count_flops(Recipe(size=32).with_plugins(**SUPERVISED))
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_of_the_package_can_be_counted(name):
    assert count_flops(load_recipe(name)) > 1e7


def test_a_recipe_without_an_encoder_is_named():
    with pytest.raises(PretrainingError, match="the recipe has no encoder; pass encoder or name one"):
        count_flops(Recipe())


def test_hours_and_energy():
    cost = Cost(flops=1e12, images=1_000_000)
    h200 = HARDWARE["h200"]
    assert cost.total == 1e18
    assert cost.hours(h200, utilisation=0.5) == pytest.approx(1e18 / (989.5e12 * 0.5) / 3600)
    assert cost.energy(h200, utilisation=0.5) == pytest.approx(0.7 * cost.hours(h200, utilisation=0.5))
    assert "1,000,000" in cost.describe("h200")


def test_what_cannot_be_is_named():
    cost = Cost(1e12, 1)
    with pytest.raises(PretrainingError, match=r"utilisation is 40.0; expected a fraction"):
        cost.hours(HARDWARE["h200"], utilisation=40.0)
    with pytest.raises(PretrainingError, match="unknown device 'abacus'; expected one of h200, h100"):
        cost.describe("abacus")


class Choosy(PretrainingMethod):
    """What it computes depends on the data."""

    def build(self, encoder, *, image_size, total_steps):
        return encoder

    def views(self, images, *, generator):
        return images

    def losses(self, module, views, *, step, labels=None):
        image = module.encode(views).image
        return {"loss": image[image > 0].sum()}

    def encoder(self, module):
        return module


def test_a_method_that_cannot_be_counted(distribution, monkeypatch):
    monkeypatch.setattr("stellarfm.pretraining.cost.make_method", lambda recipe: Choosy())
    with pytest.raises(PretrainingError, match="the cost of choosy cannot be counted"):
        count_flops(Recipe(size=32).with_plugins(encoder="dinov2-vit-tiny8", method="choosy"))
