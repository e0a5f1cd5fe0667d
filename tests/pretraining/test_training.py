"""Runs: whole, stopped, killed, continued - and refused."""

import csv
import json
import os
import random
import signal
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from stellarfm import registry
from stellarfm.cli.main import main
from stellarfm.encoders.weights import bundled_weights, load_weights
from stellarfm.exceptions import ModelError, OutputExistsError, PluginTypeError, PretrainingError, UnknownPluginError
from stellarfm.pretraining.training import pretrain

pytestmark = pytest.mark.usefixtures("plugins")


def run(output, recipe, **options):
    names = {"encoder": "micro", "dataset": "waves", "method": "dinov2"}
    return pretrain(**{**names, **options}, output=output, recipe=recipe)


def same(first, second):
    a, b = load_file(first), load_file(second)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def lines(folder):
    with (folder / "log.csv").open() as file:
        return [{k: float(v) for k, v in row.items() if k != "images_per_second"} for row in csv.DictReader(file)]


@pytest.fixture
def undisturbed(tmp_path, recipe):
    return run(tmp_path / "undisturbed", recipe)


def test_a_run_leaves_what_it_promises(undisturbed, recipe):
    folder = undisturbed.parent
    made = {".stellarfm.json", "encoder.safetensors", "encoder.json", "README.md", "log.csv", "run.json", "checkpoints"}
    assert {path.name for path in folder.iterdir()} == made
    assert [path.name for path in (folder / "checkpoints").iterdir()] == ["step-00000006.ckpt"]
    record = json.loads((folder / "encoder.json").read_text())
    assert record["training"]["steps"] == 6
    assert record["training"]["images"] == 48
    encoder = registry.create("encoders", record["encoder"], **record["options"])
    load_weights(encoder, undisturbed)
    assert "micro" in (folder / "README.md").read_text()
    assert [row["step"] for row in lines(folder)] == [1, 2, 3, 4, 5, 6]


def test_the_exported_encoder_is_the_teacher(undisturbed):
    state = torch.load(undisturbed.parent / "checkpoints/step-00000006.ckpt", weights_only=True)["state_dict"]
    for name, tensor in load_file(undisturbed).items():
        assert torch.equal(tensor, state[f"learner.teacher.encoder.{name}"])


def test_the_seed_decides(tmp_path, recipe, undisturbed):
    assert same(undisturbed, run(tmp_path / "again", recipe))
    assert not same(undisturbed, run(tmp_path / "other", recipe.replace(seed=1)))


def test_global_random_state_and_threads_are_left_alone(tmp_path, recipe):
    torch.manual_seed(5)
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    run(tmp_path / "run", recipe.replace(steps=1))
    assert torch.equal(state, torch.get_rng_state())
    assert torch.get_num_threads() == threads


def trapped(recipe, tmp_path, after, kind):
    trap = tmp_path / "trap"
    trap.write_text(str(after))
    return recipe.replace(dataset={"trap": str(trap), "kind": int(kind)})


@pytest.mark.parametrize("kind", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_after_the_step_at_hand_and_resume_is_exact(tmp_path, recipe, undisturbed, kind, caplog):
    recipe = trapped(recipe, tmp_path, 26, kind)
    before = signal.getsignal(kind)
    with pytest.raises((KeyboardInterrupt, SystemExit)) as stopped:
        run(tmp_path / "run", recipe)
    path = tmp_path / "run/encoder.safetensors"
    assert stopped.type is KeyboardInterrupt if kind == signal.SIGINT else stopped.value.code == 143
    assert signal.getsignal(kind) == before
    assert 3 <= json.loads((path.parent / "encoder.json").read_text())["training"]["steps"] < 6
    assert f"stopped by {kind.name}" in caplog.text
    assert same(run(tmp_path / "run", recipe, resume=True), undisturbed)
    assert lines(path.parent) == lines(undisturbed.parent)


SCRIPT = """
import json, os, pathlib, sys
from stellarfm.pretraining.recipe import Recipe
from stellarfm.pretraining.training import pretrain
sys.path.insert(0, sys.argv[1])
output, recipe = pathlib.Path(sys.argv[2]), Recipe(**json.loads(sys.argv[3]))
for images in sys.argv[4:]:
    pathlib.Path(recipe.dataset["trap"]).write_text(images)
    child = os.fork()
    if child == 0:
        pretrain(encoder="micro", dataset="waves", output=output, recipe=recipe, resume=output.exists())
        os._exit(0)
    killed_by = os.waitpid(child, 0)[1]
    print(killed_by, *[path.name for path in (output / "checkpoints").glob("step*")])
"""


def test_a_run_that_is_killed_three_times_resumes_exactly(tmp_path, recipe, undisturbed, plugins):
    """SIGKILL while a random image of the run is made: within a step, or as the checkpoint after it is due."""
    first, second, third = (random.randrange(16 + 1, 32), *(random.randrange(1, 16) for _ in range(2)))
    recipe = trapped(recipe.replace(checkpoint_steps=1), tmp_path, 0, signal.SIGKILL)
    arguments = [plugins, tmp_path / "run", json.dumps(recipe.as_dict()), first, second, third]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *map(str, arguments)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    kills = [line.split() for line in done.stdout.splitlines()]
    assert [int(status) for status, *_ in kills] == 3 * [signal.SIGKILL], (first, second, third, done.stderr)
    steps = [int(name[5:13]) for _, name in kills]
    assert 1 <= steps[0] <= steps[1] <= steps[2] < 6, (first, second, third)
    assert same(run(tmp_path / "run", recipe, resume=True), undisturbed)
    assert lines(tmp_path / "run") == lines(undisturbed.parent)


def exit_code(arguments):
    try:
        return main(arguments)
    except SystemExit as stopped:
        return stopped.code


@pytest.mark.parametrize(("kind", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_sets_the_exit_code_of_the_command(tmp_path, recipe, kind, code, monkeypatch):
    recipe = trapped(recipe, tmp_path, 26, kind).with_plugins(encoder="micro", dataset="waves")
    monkeypatch.setattr("stellarfm.pretraining.recipe.load_recipe", lambda name: recipe)
    arguments = ["pretrain", "--config", "waves", "--quiet", "--output", str(tmp_path / "run")]
    assert exit_code(arguments) == code
    assert main([*arguments, "--resume"]) == 0


def test_a_run_that_was_killed_before_its_first_checkpoint_begins_again(tmp_path, recipe, undisturbed, plugins):
    recipe = trapped(recipe.replace(checkpoint_steps=100), tmp_path, 0, signal.SIGKILL)
    arguments = [plugins, tmp_path / "run", json.dumps(recipe.as_dict()), "26"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", SCRIPT, *map(str, arguments)], env=environment, check=True)
    assert not list((tmp_path / "run").glob("checkpoints/step*"))
    assert len(lines(tmp_path / "run")) > 1
    assert same(run(tmp_path / "run", recipe, resume=True), undisturbed)
    assert lines(tmp_path / "run") == lines(undisturbed.parent)


def test_a_run_without_a_checkpoint_begins_again_from_its_weights(tmp_path, recipe, undisturbed):
    expected = run(tmp_path / "expected", recipe, init=undisturbed)
    path = run(tmp_path / "run", recipe, init=undisturbed)
    for entry in [*(path.parent / "checkpoints").iterdir(), path, path.with_suffix(".json")]:
        entry.unlink()
    assert same(run(tmp_path / "run", recipe, resume=True), expected)
    assert json.loads((path.parent / "encoder.json").read_text())["training"]["init"] == str(undisturbed)


def test_an_encoder_that_was_not_exported_is_written_by_resume(tmp_path, recipe, undisturbed):
    first = run(tmp_path / "run", recipe.replace(max_hours=1e-9))
    earlier = {path.name: path.read_bytes() for path in first.parent.glob("*.*")}
    run(tmp_path / "run", recipe, resume=True)
    for name in ("encoder.safetensors", "encoder.json", "README.md"):  # killed after the checkpoint of step 6
        (first.parent / name).write_bytes(earlier[name])
    assert not same(first, undisturbed)
    assert same(run(tmp_path / "run", recipe, resume=True), undisturbed)
    assert json.loads((first.parent / "encoder.json").read_text())["training"]["steps"] == 6


def test_the_weights_of_the_bundled_model_are_a_start(tmp_path, recipe):
    still = recipe.replace(steps=1, learning_rate=0.0, final_learning_rate=0.0)
    still = replace(still, encoder={}, method={**recipe.method, "ibot_weight": 0.0})
    path = run(tmp_path / "run", still, encoder="resnet10-shallow", init="bundled")
    name = "backbone.conv1.0.weight"
    torch.testing.assert_close(load_file(path)[name], load_file(bundled_weights())[name].float())


def test_an_encoder_needs_no_option_for_the_size_of_images(tmp_path, recipe):
    plain = replace(recipe, steps=1, encoder={}, method={**recipe.method, "ibot_weight": 0.0})
    path = run(tmp_path / "run", plain, encoder="plain")
    assert json.loads((path.parent / "encoder.json").read_text())["options"] == {}


def test_checkpoints_by_time(tmp_path, recipe, undisturbed):
    frequent = recipe.replace(checkpoint_steps=100, checkpoint_minutes=1e-9)
    trap = trapped(frequent, tmp_path, 26, signal.SIGTERM)
    with pytest.raises(SystemExit):
        run(tmp_path / "run", trap)
    path = tmp_path / "run/encoder.safetensors"
    made = json.loads((path.parent / "encoder.json").read_text())["training"]["steps"]
    assert [p.name for p in (path.parent / "checkpoints").iterdir()] == [f"step-{made:08d}.ckpt"]
    assert same(run(tmp_path / "run", trap, resume=True), undisturbed)


def test_tensorboard_tells_the_same_story(tmp_path, recipe):
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator", reason="an option")
    run(tmp_path / "run", recipe.replace(max_hours=1e-9), tensorboard=True)
    run(tmp_path / "run", recipe, resume=True, tensorboard=True)
    told = events.EventAccumulator(str(tmp_path / "run/tensorboard"))
    told.Reload()
    assert [(e.step, pytest.approx(e.value, rel=1e-4)) for e in told.Scalars("loss")] == [
        (row["step"], row["loss"]) for row in lines(tmp_path / "run")
    ]


def test_without_tensorboard(tmp_path, recipe, monkeypatch):
    monkeypatch.setattr("stellarfm.pretraining.callbacks.logging.find_spec", lambda name: None)
    with pytest.raises(PretrainingError, match="tensorboard is not installed; install it with `pip install"):
        run(tmp_path / "run", recipe, tensorboard=True)
    assert not (tmp_path / "run").exists()


def test_images_made_on_the_device_are_learnt_alike(tmp_path, recipe, undisturbed):
    """Here the device is the CPU, and `images` is what the contract gives; with labels too."""
    assert same(run(tmp_path / "run", recipe.replace(render="device")), undisturbed)


def test_weights_of_another_encoder_are_refused(tmp_path, recipe, undisturbed):
    with pytest.raises(ModelError, match="encoder.safetensors"):
        run(tmp_path / "run", recipe, encoder="dinov2-vit-tiny8", init=undisturbed)
    assert not (tmp_path / "run").exists()


def test_a_recipe_may_name_its_plugins(tmp_path, recipe, undisturbed):
    named = recipe.replace(plugins={"encoder": "micro", "dataset": "waves"})
    assert same(pretrain(output=tmp_path / "run", recipe=named), undisturbed)
    assert same(run(tmp_path / "run", recipe, resume=True), undisturbed)


def test_the_card_says_what_the_run_cost(undisturbed):
    training = json.loads((undisturbed.parent / "encoder.json").read_text())["training"]
    assert training["flops_per_image"] > 1e6
    assert f"{training['flops_per_image']:.3g} an image-step" in (undisturbed.parent / "README.md").read_text()


def test_resuming_a_finished_run_changes_nothing(undisturbed, recipe):
    before = undisturbed.read_bytes()
    run(undisturbed.parent, recipe, resume=True)
    assert undisturbed.read_bytes() == before


def test_workers_and_checkpoints_do_not_change_what_is_learnt(tmp_path, recipe, undisturbed):
    assert same(run(tmp_path / "run", recipe.replace(workers=1, checkpoint_steps=100)), undisturbed)


def test_max_hours(tmp_path, recipe, undisturbed, caplog):
    path = run(tmp_path / "run", recipe.replace(max_hours=1e-9))
    assert "stopped by max_hours at step 1 of 6" in caplog.text
    assert path.is_file()
    assert same(run(tmp_path / "run", recipe, resume=True), undisturbed)


def test_init_starts_from_the_weights_of_a_file(tmp_path, recipe, undisturbed):
    still = recipe.replace(steps=1, learning_rate=0.0, final_learning_rate=0.0, method={**recipe.method, "clip": 0.0})
    path = run(tmp_path / "run", still, init=undisturbed)
    for name, tensor in load_file(path).items():
        torch.testing.assert_close(tensor, load_file(undisturbed)[name])
    assert json.loads((path.parent / "encoder.json").read_text())["training"]["init"] == str(undisturbed)


def test_bfloat16_learns_float32_weights(tmp_path, recipe):
    path = run(tmp_path / "run", recipe.replace(steps=2, precision="bf16-mixed"))
    assert all(tensor.dtype == torch.float32 for tensor in load_file(path).values())


def test_an_existing_output_is_kept(undisturbed, recipe):
    with pytest.raises(OutputExistsError, match="overwrite=True"):
        run(undisturbed.parent, recipe)
    run(undisturbed.parent, recipe.replace(steps=1), overwrite=True)
    assert len(lines(undisturbed.parent)) == 1


def test_nothing_to_resume(tmp_path, recipe):
    with pytest.raises(PretrainingError, match="contains no run to resume; start one without resume"):
        run(tmp_path / "run", recipe, resume=True)
    assert not (tmp_path / "run").exists()


def test_another_recipe_cannot_resume(undisturbed, recipe):
    with pytest.raises(PretrainingError, match="was started with other values of batch_size, method"):
        run(undisturbed.parent, recipe.replace(batch_size=4, method={}), resume=True)


@pytest.mark.parametrize("damage", ["truncated", "altered"])
def test_a_damaged_checkpoint(undisturbed, recipe, damage):
    checkpoint = undisturbed.parent / "checkpoints/step-00000006.ckpt"
    content = bytearray(checkpoint.read_bytes())
    content[len(content) // 2] ^= 0xFF
    checkpoint.write_bytes(content[:1000] if damage == "truncated" else content)
    with pytest.raises(PretrainingError, match="step-00000006.ckpt is damaged"):
        run(undisturbed.parent, recipe, resume=True)


@pytest.mark.parametrize("group", ["encoder", "dataset", "method"])
def test_unknown_plugins(tmp_path, recipe, group):
    with pytest.raises(UnknownPluginError, match=f"unknown {group} 'nothing'"):
        run(tmp_path / "run", recipe, **{group: "nothing"})
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("group", ["encoder", "dataset", "method"])
def test_unknown_options(tmp_path, recipe, group):
    with pytest.raises(PluginTypeError, match="has no option 'colour'"):
        run(tmp_path / "run", recipe.replace(**{group: {"colour": 3}}))
    assert not (tmp_path / "run").exists()


def test_options_that_do_not_fit_leave_nothing(tmp_path, recipe):
    with pytest.raises(PretrainingError, match="crops of 20 pixels"):
        run(tmp_path / "run", recipe.replace(method={"global_size": 20}))
    assert not (tmp_path / "run").exists()


def test_a_new_run_that_fails_at_once_leaves_the_old_one(undisturbed, recipe, monkeypatch):
    before = undisturbed.read_bytes()

    def fail(*args, **options):
        raise PretrainingError("at once")

    monkeypatch.setattr("stellarfm.pretraining.training.Trainer.fit", fail)
    with pytest.raises(PretrainingError, match="at once"):
        run(undisturbed.parent, recipe, overwrite=True)
    assert undisturbed.read_bytes() == before
    assert not list(undisturbed.parent.parent.glob(".*"))


def test_a_run_with_files_of_the_user_is_not_replaced(undisturbed, recipe):
    (undisturbed.parent / "notes.txt").write_text("mine")
    with pytest.raises(OutputExistsError, match=r"stellarfm did not write .notes.txt"):
        run(undisturbed.parent, recipe, overwrite=True)
    assert (undisturbed.parent / "notes.txt").read_text() == "mine"
