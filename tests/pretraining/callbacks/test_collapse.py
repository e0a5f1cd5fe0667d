"""Runs that go wrong: stopped with a reason, and what is left of them."""

import json
import re

import pytest
import torch
from safetensors.torch import load_file

from stellarfm.exceptions import PretrainingError
from stellarfm.pretraining.recipe import load_recipe
from stellarfm.pretraining.step_table import StepTable
from stellarfm.pretraining.training import pretrain

pytestmark = pytest.mark.usefixtures("plugins")

#: Views that do not differ where images do not.
FLAT = {"gain": 0.0, "offset": 0.0, "gamma": 0.0, "noise": 0.0, "koleo_weight": 0.0}


def run(output, recipe, *, dataset="waves", **options):
    return pretrain(encoder="micro", dataset=dataset, method="dinov2", output=output, recipe=recipe, **options)


def left(folder):
    """Steps of the checkpoints, and of the encoder, in the folder of a run."""
    record = folder / "encoder.json"
    steps = json.loads(record.read_text())["training"]["steps"] if record.exists() else None
    return sorted(int(path.stem[5:]) for path in folder.glob("checkpoints/step-*.ckpt")), steps


def test_a_dead_learning_rate(tmp_path, recipe):
    dead = recipe.replace(
        steps=12,
        learning_rate=0.0,
        final_learning_rate=0.0,
        batch_size=16,
        checkpoint_steps=1,
        monitors={"settled": 3, "patience": 4},
    )
    with pytest.raises(
        PretrainingError, match=r"step 8: nothing is learned: .* is stuck at ln K = 2.77 .*learning_rate"
    ):
        run(tmp_path / "run", dead)
    assert left(tmp_path / "run") == ([3], 3)
    assert StepTable(tmp_path / "run/log.csv").read()[-1]["step"] == 8


def test_constant_images(tmp_path, recipe):
    with pytest.raises(
        PretrainingError, match=r"step 1: all images of a batch are identical.*no checkpoint was written"
    ):
        run(tmp_path / "run", recipe, dataset="grey")
    assert left(tmp_path / "run") == ([], None)


def test_collapsed_features(tmp_path, recipe):
    faint = recipe.replace(method={**recipe.method, **FLAT})
    with pytest.raises(PretrainingError, match="step 3: collapse: .*koleo_weight.*encoder of step 2 are kept"):
        run(tmp_path / "run", faint, dataset="faint")
    assert left(tmp_path / "run") == ([2], 2)


def test_images_that_are_nan(tmp_path, recipe):
    with pytest.raises(PretrainingError, match="step 1: the images contain NaN .*loss is not finite"):
        run(tmp_path / "run", recipe, dataset="darkness")
    assert not (tmp_path / "run/encoder.safetensors").exists()


def break_a_weight(monkeypatch, at):
    """Put NaN into the student after step `at` (the first is 0), as a gradient that overflows does."""
    from stellarfm.pretraining.methods.dinov2 import DinoV2

    def after_step(self, module, *, step):
        if step == at:
            with torch.no_grad():
                next(module.student.parameters()).fill_(torch.nan)

    monkeypatch.setattr(DinoV2, "after_step", after_step)


@pytest.mark.parametrize(
    ("log_steps", "words"), [(1, "step 4: .*loss.* is not finite"), (6, "step 4: the loss was not")]
)
def test_a_loss_that_becomes_nan_leaves_the_last_good_checkpoint(tmp_path, recipe, monkeypatch, log_steps, words):
    break_a_weight(monkeypatch, 2)
    with pytest.raises(PretrainingError, match=words) as caught:
        run(tmp_path / "run", recipe.replace(log_steps=log_steps))
    assert "(the checkpoint and the encoder of step 2 are kept)" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert left(tmp_path / "run") == ([2], 2)
    assert all(tensor.isfinite().all() for tensor in load_file(tmp_path / "run/encoder.safetensors").values())


def test_broken_weights_are_not_saved_even_if_no_loss_has_shown_it(tmp_path, recipe, monkeypatch):
    break_a_weight(monkeypatch, 3)
    with pytest.raises(PretrainingError, match="step 4: weights are not finite"):
        run(tmp_path / "run", recipe)
    assert left(tmp_path / "run") == ([2], 2)


def test_a_run_that_is_given_up_twice_says_the_same(tmp_path, recipe):
    limits = {"settled": 1, "patience": 3}
    faint = recipe.replace(method={**recipe.method, **FLAT}, checkpoint_steps=1, monitors=limits)
    with pytest.raises(PretrainingError, match="step 5: collapse.* of step 1 are kept") as first:
        run(tmp_path / "run", faint, dataset="faint")
    with pytest.raises(PretrainingError, match=re.escape(str(first.value))):
        run(tmp_path / "run", faint, dataset="faint", resume=True)


def test_limits_may_change_when_a_run_continues(tmp_path, recipe):
    faint = recipe.replace(method={**recipe.method, **FLAT})
    with pytest.raises(PretrainingError, match="collapse"):
        run(tmp_path / "run", faint, dataset="faint")
    run(
        tmp_path / "run",
        faint.replace(monitors={"rank": 0, "spread": 0, "stuck_rank": 0}),
        dataset="faint",
        resume=True,
    )
    assert left(tmp_path / "run") == ([6], 6)


def test_the_log_holds_the_gradient_before_it_is_clipped(tmp_path, recipe):
    run(tmp_path / "clipped", recipe.replace(steps=1, method={**recipe.method, "clip": 1e-6}))
    run(tmp_path / "free", recipe.replace(steps=1, method={**recipe.method, "clip": 0.0}))
    clipped, free = (StepTable(tmp_path / name / "log.csv").read()[0]["gradient"] for name in ("clipped", "free"))
    assert clipped == free > 1e-3


def test_a_recipe_may_hold_limits(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text("[monitors]\nstuck_rank = 3\n")
    assert load_recipe(path).monitors == {"stuck_rank": 3}
    path.write_text("[monitors]\nstuck_rankle = 3\n")
    with pytest.raises(PretrainingError, match="unknown key monitors.stuck_rankle"):
        load_recipe(path)


def test_a_table_counts_millions_of_steps(tmp_path):
    table = StepTable(tmp_path / "log.csv")
    for step in (999_999, 1_000_000, 1_234_567):
        table.add({"step": step, "loss": 0.5})
    table.cut(1_000_000)
    assert [row["step"] for row in table.read()] == [999_999, 1_000_000]
