"""The command: options override the recipe, errors are one line."""

import pytest

from stellarfm.cli.main import main


@pytest.fixture
def asked(monkeypatch):
    """Catch what the command asks of `pretrain`."""
    calls = []

    def pretrain(**arguments):
        calls.append(arguments)
        return arguments["output"] / "encoder.safetensors"

    monkeypatch.setattr("stellarfm.pretraining.training.pretrain", pretrain)
    return calls


BASE = ["pretrain", "--encoder", "dinov2-vit-tiny8", "--dataset", "flames", "--method", "dinov2"]


def test_options_override_the_recipe(asked, tmp_path, capsys):
    options = ["--config", "tiny8-64", "--steps", "3", "--batch-size", "2", "--size", "32", "--seed", "5"]
    more = ["--checkpoint-steps", "1", "--max-hours", "0.5", "--workers", "0", "--torch-threads", "1"]
    assert main([*BASE, *options, *more, "--output", str(tmp_path / "run")]) == 0
    recipe = asked[0]["recipe"]
    assert (recipe.steps, recipe.batch_size, recipe.size, recipe.seed) == (3, 2, 32, 5)
    assert (recipe.checkpoint_steps, recipe.max_hours, recipe.workers, recipe.torch_threads) == (1, 0.5, 0, 1)
    assert recipe.method["global_size"] == 40
    assert "encoder.safetensors" in capsys.readouterr().err


def test_any_setting_can_be_overridden(asked, tmp_path):
    options = ["--config", "small8-64", "--set", "method.koleo_weight=0.3", "--set", "training.render=workers"]
    more = ["--checkpoint-minutes", "5", "--tensorboard", "--encoder", "resnet18"]
    assert main(["pretrain", *options, *more, "--output", str(tmp_path / "run")]) == 0
    call = asked[0]
    plugins = {"encoder": "resnet18", "dataset": "flames", "method": "dinov2"}
    assert (call["recipe"].plugins, call["tensorboard"]) == (plugins, True)
    assert (call["recipe"].method["koleo_weight"], call["recipe"].render) == (0.3, "workers")
    assert call["recipe"].checkpoint_minutes == 5


def test_the_cost_is_printed_and_nothing_trained(asked, capsys):
    assert main([*BASE, "--config", "tiny8-64", "--steps", "1000", "--cost", "a100", "--utilisation", "0.5"]) == 0
    assert not asked
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["image-steps", "32,000"]
    assert float(lines[2].split()[-1]) == pytest.approx(32_000 * float(lines[1].split()[-1]), rel=0.01)
    assert lines[3].startswith("a100")
    assert "50% of NVIDIA A100" in lines[3]


def test_without_an_output(capsys):
    with pytest.raises(SystemExit) as stop:
        main(BASE)
    assert stop.value.code == 2
    assert "required: --output/-o" in capsys.readouterr().err


def test_the_other_options_are_passed_on(asked, tmp_path):
    options = ["--resume", "--init", "w.safetensors", "--devices", "2", "--quiet"]
    assert main([*BASE, *options, "--output", str(tmp_path / "run")]) == 0
    call = asked[0]
    assert call["resume"]
    assert not call["overwrite"]
    assert (str(call["init"]), call["devices"], call["progress"]) == ("w.safetensors", 2, False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--config", "nothing"], "neither a file nor a recipe"),
        (["--steps", "0"], "steps is 0; expected at least 1"),
        (["--resume"], "contains no run to resume"),
        (["--resume", "--overwrite"], "mutually exclusive"),
        (["--init", "nothing.safetensors"], "nothing.safetensors: no such file"),
        (["--devices", "0"], "devices is 0; expected at least 1"),
        (["--set", "koleo=3"], "setting 'koleo=3'; expected TABLE.KEY=VALUE"),
        (["--cost", "abacus"], "unknown device 'abacus'"),
    ],
)
def test_errors_are_one_line(options, message, tmp_path, capsys):
    assert main([*BASE, *options, "--output", str(tmp_path / "run")]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_an_existing_output(tmp_path, capsys):
    assert main([*BASE, "--output", str(tmp_path)]) == 1
    assert "--overwrite" in capsys.readouterr().err


def test_a_probe_is_built_from_map_sets(asked, cloud, tmp_path):
    for name in ("one", "two"):
        cloud(name).write(tmp_path / f"{name}.h5")
    maps = [str(tmp_path / f"{name}.h5") for name in ("one", "two")]
    assert main([*BASE, "--probe", *maps, "--probe-steps", "7", "--output", str(tmp_path / "run")]) == 0
    probe = asked[0]["probe"]
    assert probe.every == 7
    assert "72 windows of 24 stars of one, two" in probe.about
    assert main([*BASE, "--probe", *maps, "--checkpoint-steps", "9", "--output", str(tmp_path / "run")]) == 0
    assert asked[1]["probe"].every == 9


def test_without_maps_there_is_no_probe(asked, tmp_path):
    assert main([*BASE, "--output", str(tmp_path / "run")]) == 0
    assert asked[0]["probe"] is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--probe", "nothing.h5"], "nothing.h5: no such file"),
        (["--probe", "MAPS", "--probe-steps", "0"], "every of a probe is 0; expected at least 1"),
        (["--probe", "MAPS"], "probe windows of 3 channels and 20 pixels do not fit"),
        (["--probe-steps", "5"], "--probe-steps needs --probe"),
    ],
)
def test_a_probe_that_cannot_work_leaves_nothing(options, message, cloud, tmp_path, capsys):
    cloud("one", side=20).write(tmp_path / "maps.h5")
    options = [str(tmp_path / "maps.h5") if word == "MAPS" else word for word in options]
    assert main([*BASE, *options, "--output", str(tmp_path / "run")]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()
