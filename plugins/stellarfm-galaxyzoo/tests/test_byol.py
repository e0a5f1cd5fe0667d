import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from stellarfm_galaxyzoo.augmentations import Augmentation, color_jitter, crop, grayscale
from stellarfm_galaxyzoo.byol import ByolHybrid, byol_loss, hybrid_weight
from stellarfm_galaxyzoo.vote_columns import question_numbers

from stellarfm import registry
from stellarfm.exceptions import PretrainingError
from stellarfm.pretraining.recipe import Recipe
from stellarfm.pretraining.training import pretrain
from stellarfm.testing import MethodConformance

NAMES = ("bar-x_yes", "bar-x_no", "arms-x_1", "arms-x_2", "arms-x_3")
SMALL = {"hidden": 32, "projection": 16}
ARMS = {
    "hybrid": {},
    "contrastive": {"supervised": False},
    "supervised": {"contrastive": False},
    "on-projection": {"head_on": "projection"},
    "no-ratio": {"ratio": False, "supervised_weight": 0.01},
}


class Arm(MethodConformance):
    plugin = ByolHybrid

    def make_encoder(self):
        return registry.create("encoders", "resnet18")

    def labels(self, method, count):
        generator = torch.Generator().manual_seed(1)
        return {"labels": torch.randint(5, (count, 2), generator=generator).float()} if method.labelled else {}


class TestHybrid(Arm):
    options = SMALL


class TestContrastive(Arm):
    options = {**SMALL, **ARMS["contrastive"]}


class TestSupervised(Arm):
    options = {**SMALL, **ARMS["supervised"]}


@pytest.fixture(scope="module")
def tiny():
    """A small encoder without chance of its own."""
    from stellarfm.encoders.vit import DinoV2Tiny8

    torch.manual_seed(0)
    return DinoV2Tiny8(image_size=32)


def run(votes, *, steps=3, **options):
    """Losses and weights, step by step, of a few optimiser steps, as the training loop makes them."""
    torch.manual_seed(0)
    encoder = registry.create("encoders", "resnet18")
    method = ByolHybrid(**SMALL, **options)
    if method.labelled:
        method.accept_labels(NAMES)
    module = method.build(encoder, image_size=32, total_steps=steps).train()
    images = torch.rand(6, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    optimizer = torch.optim.AdamW(
        [
            {"params": group["params"], "weight_decay": 0.04 * group["decay_scale"]}
            for group in method.parameter_groups(module)
        ],
        lr=1e-3,
    )
    found = []
    for step in range(steps):
        torch.manual_seed(step)
        views = method.views(images, generator=torch.Generator().manual_seed(step))
        given = {"labels": votes} if method.labelled else {}
        losses = method.losses(module, views, step=step, **given)
        optimizer.zero_grad()
        losses["loss"].backward()
        optimizer.step()
        method.after_step(module, step=step)
        parts = {name: value for name, value in module.state_dict().items() if not name.startswith("votes")}
        found.append((losses, {name: value.clone() for name, value in parts.items()}))
    return found


@pytest.fixture(scope="module")
def votes():
    return torch.randint(1, 9, (6, 5), generator=torch.Generator().manual_seed(3)).float()


@pytest.fixture(scope="module")
def contrastive(votes):
    return run(votes, supervised=False)


@pytest.mark.parametrize("case", ["lambda is zero", "all votes are zero", "all votes are unknown"])
@pytest.mark.parametrize("ratio", [True, False])
def test_is_contrastive_step_by_step(case, ratio, votes, contrastive):
    if case == "lambda is zero":
        hybrid = run(votes, supervised_weight=0.0, ratio=ratio)
    else:
        hybrid = run(votes * (0.0 if "zero" in case else torch.nan), ratio=ratio)
    for (losses, weights), (expected, expected_weights) in zip(hybrid, contrastive, strict=True):
        assert torch.equal(losses["contrastive"], expected["contrastive"])
        assert torch.equal(losses["loss"], expected["loss"])
        for name, value in expected_weights.items():
            assert torch.equal(weights[name], value), name


def test_votes_change_the_encoder(votes, contrastive):
    hybrid = run(votes)
    assert not torch.equal(
        hybrid[0][1]["online.encoder.backbone.conv1.weight"], contrastive[0][1]["online.encoder.backbone.conv1.weight"]
    )


def test_unlabelled_galaxies_do_not_dilute_the_votes(votes):
    some = votes.clone()
    some[2:] = 0
    (losses, _), *_ = run(some, steps=1, contrastive=False)
    (whole, _), *_ = run(votes, steps=1, contrastive=False)
    assert 0.2 < losses["supervised"] / whole["supervised"] < 5


@pytest.mark.parametrize(
    ("contrastive", "supervised", "expected"),
    [(-0.5, 2.0, 0.25), (0.5, 2.0, 0.25), (0.0, 2.0, 0.05), (-0.5, 0.0, 0.0)],
)
def test_weight_is_the_ratio_with_a_floor(contrastive, supervised, expected):
    weight = hybrid_weight(torch.tensor(contrastive), torch.tensor(supervised), weight=1.0, ratio=True, floor=0.1)
    assert weight.item() == pytest.approx(expected)


def test_loss_is_the_negative_cosine_and_teaches_no_target():
    predicted, target = (torch.randn(4, 8, generator=torch.Generator().manual_seed(n)).requires_grad_() for n in (0, 1))
    assert byol_loss(predicted, 3 * predicted).item() == pytest.approx(-1.0)
    loss = byol_loss(predicted, target)
    expected = -torch.nn.functional.cosine_similarity(predicted, target).mean()
    assert loss.item() == pytest.approx(expected.item())
    loss.backward()
    assert target.grad is None


def test_agrees_with_lightly():
    from lightly.loss import NegativeCosineSimilarity

    one, other = (torch.randn(4, 8, generator=torch.Generator().manual_seed(n)) for n in (0, 1))
    assert byol_loss(one, other).item() == pytest.approx(NegativeCosineSimilarity()(one, other).item())


def test_target_is_a_moving_average(tiny):
    method = ByolHybrid(**SMALL)
    module = method.build(tiny, image_size=32, total_steps=1)
    before = module.target.projector[0].weight.clone()
    with torch.no_grad():
        module.online.projector[0].weight.add_(1.0)
    method.after_step(module, step=0)
    assert module.target.projector[0].weight == pytest.approx(before.numpy() + 0.01, abs=1e-6)


@pytest.mark.parametrize("arm", ARMS)
def test_arms_train_with_the_program_and_resume_to_the_bit(arm, tmp_path):
    recipe = Recipe(
        steps=4,
        batch_size=8,
        size=16,
        warmup_steps=0,
        workers=0,
        torch_threads=1,
        checkpoint_steps=2,
        log_steps=2,
        precision="32-true",
        dataset={"count": 50, "schema": ["dr5", "gz2"]},
        method={**SMALL, **ARMS[arm]},
    )
    names = {"encoder": "dinov2-vit-tiny8", "dataset": "galaxyzoo-synthetic", "method": "byol-hybrid"}

    def weights(folder, recipe=recipe, **options):
        return load_file(pretrain(output=folder, recipe=recipe, progress=False, **names, **options))

    whole = weights(tmp_path / "whole")
    weights(tmp_path / "broken", recipe.replace(max_hours=1e-9))
    assert [path.stem for path in (tmp_path / "broken/checkpoints").iterdir()] == ["step-00000001"]
    resumed = weights(tmp_path / "broken", resume=True)
    assert all(torch.equal(resumed[name], value) for name, value in whole.items())
    assert (tmp_path / "broken/log.csv").read_text().splitlines()[-1].startswith("4,")


def test_columns_that_are_no_votes_are_refused():
    assert question_numbers(NAMES) == [0, 0, 1, 1, 1]
    with pytest.raises(PretrainingError, match=r"labels are not votes \(log10 mass\)"):
        ByolHybrid().accept_labels(("log10 mass",))
    with pytest.raises(PretrainingError, match="are not adjacent"):
        question_numbers(("a_yes", "b_yes", "a_no"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"contrastive": False, "supervised": False}, "are both false; set at least one"),
        ({"head_on": "neck"}, "head_on is 'neck'; expected one of representation, projection"),
        ({"area": (0.9, 0.3)}, "area is"),
        ({"supervised_weight": -1.0}, "supervised_weight is -1.0"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(PretrainingError, match=message):
        ByolHybrid(**options)


def test_views_turn_a_galaxy_and_keep_its_brightness():
    images = torch.zeros(50, 3, 33, 33)
    images[:, :, 14:19, 6:27] = 1.0
    views = crop(images, Augmentation(33, (0.99, 1.0), (1.0, 1.0)), generator=torch.Generator().manual_seed(0))
    y, x = torch.meshgrid(*2 * [torch.arange(33.0) - 16], indexing="ij")
    light = views.mean(dim=1)
    angle = 0.5 * torch.atan2(2 * (light * x * y).sum((1, 2)), (light * (x * x - y * y)).sum((1, 2)))
    assert light.mean(dim=(1, 2)) == pytest.approx(images.mean(dim=(1, 2, 3)).numpy(), rel=0.06)
    assert angle.abs().mean() == pytest.approx(np.pi / 4, abs=0.25)  # even in +-pi/2


def test_colours_change_and_greys_do_not():
    images = torch.rand(20, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(1)
    assert torch.equal(color_jitter(images, 0.4, share=0.0, generator=generator), images)
    assert not torch.equal(color_jitter(images, 0.4, share=1.0, generator=generator), images)
    flat = grayscale(images, 1.0, generator=generator)
    assert torch.equal(flat[:, 0], flat[:, 2])
    assert flat.mean(dim=1) == pytest.approx(images.mean(dim=1).numpy())
