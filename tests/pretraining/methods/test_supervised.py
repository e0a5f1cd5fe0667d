"""The supervised baseline: its loss, its symmetries, its judgement on stars that it never saw."""

import csv
import json

import numpy as np
import pytest
import torch

from stellarfm import registry
from stellarfm.encoders.resnet import ResNet18
from stellarfm.exceptions import PretrainingError
from stellarfm.pretraining.callbacks.validation import scores
from stellarfm.pretraining.methods import augmentations as views
from stellarfm.pretraining.methods.supervised import Supervised
from stellarfm.pretraining.recipe import Recipe
from stellarfm.pretraining.training import pretrain
from stellarfm.testing import MethodConformance


class TestConformance(MethodConformance):
    plugin = Supervised


def built(method, **encoder):
    torch.manual_seed(0)
    return method.build(registry.create("encoders", "dinov2-vit-tiny8", **encoder), image_size=32, total_steps=4)


def batch(count=6, labels=1):
    generator = torch.Generator().manual_seed(3)
    return torch.rand(count, 3, 32, 32, generator=generator), 5.0 + 3.0 * torch.rand(count, labels, generator=generator)


def test_the_gaussian_loss_is_the_likelihood_of_standardised_labels():
    method, (images, labels) = Supervised(dropout=0.0), batch()
    module = built(method).eval()
    found = method.losses(module, images, step=0, labels=labels)
    with torch.no_grad():
        mean, log_variance = module(images)
    target = (labels - labels.mean()) / labels.std(correction=0)
    likelihood = torch.distributions.Normal(mean, (0.5 * log_variance).exp()).log_prob(target)
    torch.testing.assert_close(found["loss"], -likelihood.mean() - 0.5 * np.log(2 * np.pi))
    torch.testing.assert_close(found["mse"], (mean * labels.std(correction=0) + labels.mean() - labels).square().mean())


def test_labels_are_measured_by_the_first_batch():
    method, (images, labels) = Supervised(loss="mse", dropout=0.0), batch()
    module = built(method).eval()
    method.losses(module, images, step=0, labels=labels)
    method.losses(module, images, step=1, labels=100.0 * labels)
    torch.testing.assert_close(module.centre, labels.mean(dim=0))
    torch.testing.assert_close(module.scale, labels.std(dim=0, correction=0))


def test_unknown_labels_do_not_count():
    method, (images, labels) = Supervised(dropout=0.0), batch(labels=2)
    method.accept_labels(("one", "two"))
    labels[1:, 1] = torch.nan
    module = built(method).eval()
    loss = method.losses(module, images, step=0, labels=labels)["loss"]
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(p.grad).all() for p in module.head.parameters())
    other = labels.clone()
    assert torch.equal(module.standardize(other).isfinite(), other.isfinite())


def test_predictions_do_not_depend_on_the_orientation():
    method, (images, labels) = Supervised(mirrored_channel=1), batch()
    module = built(method).eval()
    method.losses(module, images, step=0, labels=labels)
    expected = method.predict(module, images)
    for copy in (torch.rot90(images, 1, (2, 3)), images.flip(2), views.flip_sign(images, 1)):
        torch.testing.assert_close(method.predict(module, copy), expected, rtol=1e-4, atol=1e-4)
    assert expected.std() > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss": "mae"}, "loss is 'mae'; expected one of gaussian, mse"),
        ({"mirrored_channel": 3}, "mirrored_channel is 3; expected one of 0 to 2"),
    ],
)
def test_options_that_do_not_fit(options, message):
    with pytest.raises(PretrainingError, match=message):
        built(Supervised(**options))
    with pytest.raises(PretrainingError, match="images of 36 pixels do not fit ResNet18"):
        Supervised().build(ResNet18(), image_size=36, total_steps=1)


def test_scores():
    labels = np.array([[0.0, 1.0], [2.0, np.nan]])
    found = scores(labels, labels + np.array([[1.0, -1.0], [0.0, 9.0]]))
    assert found["rmse"] == pytest.approx((2 / 3) ** 0.5)
    assert found["r2"] == pytest.approx(1 - (2 / 3) / np.var([0.0, 1.0, 2.0]))


@pytest.fixture
def run_settings(cloud, tmp_path):
    path = tmp_path / "maps.h5"
    cloud("one", seed=1).write(path)
    return Recipe(
        steps=6,
        batch_size=8,
        size=32,
        learning_rate=1e-3,
        warmup_steps=1,
        precision="32-true",
        workers=0,
        checkpoint_steps=3,
        log_steps=1,
        dataset={"path": str(path), "folds": 4},
        method={"mirrored_channel": 1},
        plugins={"encoder": "dinov2-vit-tiny8", "dataset": "mapset", "method": "supervised"},
    )


def rows(path):
    with path.open() as file:
        return list(csv.DictReader(file))


def test_a_run_is_judged_on_stars_that_it_never_saw(run_settings, tmp_path):
    pretrain(output=tmp_path / "run", recipe=run_settings)
    record = json.loads((tmp_path / "run/encoder.json").read_text())["training"]
    assert record["labels"] == ["log10 mass / solMass"]
    assert [row["step"] for row in rows(tmp_path / "run/held_out.csv")] == ["3", "6"]
    predicted = rows(tmp_path / "run/predictions.csv")
    assert len(predicted) == 9
    true, guess = (
        np.array([float(row[f"{what} log10 mass / solMass"]) for row in predicted]) for what in ("true", "predicted")
    )
    last = rows(tmp_path / "run/held_out.csv")[-1]
    assert float(last["rmse"]) == pytest.approx(np.sqrt(np.mean((guess - true) ** 2)), rel=1e-4)
    assert "to predict log10 mass / solMass" in (tmp_path / "run/README.md").read_text()


def test_it_resumes_exactly(run_settings, tmp_path):
    pretrain(output=tmp_path / "whole", recipe=run_settings)
    pretrain(output=tmp_path / "run", recipe=run_settings.replace(max_hours=1e-9))
    pretrain(output=tmp_path / "run", recipe=run_settings, resume=True)
    for name in ("encoder.safetensors", "predictions.csv", "held_out.csv"):
        first, second = ((tmp_path / folder / name).read_bytes() for folder in ("whole", "run"))
        if name == "held_out.csv":
            assert first.splitlines()[-1] == second.splitlines()[-1]
        elif name == "predictions.csv":
            assert first == second


def test_a_dataset_without_labels(run_settings, tmp_path):
    with pytest.raises(PretrainingError, match="FlameDataset has none; use a dataset with labels, e.g. mapset"):
        pretrain(output=tmp_path / "run", recipe=run_settings.replace(dataset={}), dataset="flames")
    assert not (tmp_path / "run").exists()
