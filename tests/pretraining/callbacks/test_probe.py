"""Questions to the encoder along a run: asked in time, written down, and without a trace in what is learnt."""

import json
import os
import random
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from stellarfm.exceptions import ModelError, PretrainingError
from stellarfm.pretraining.callbacks.probe import Probe
from stellarfm.pretraining.probe_curve import curve_record, curve_table, draw_curve
from stellarfm.pretraining.step_table import StepTable
from stellarfm.pretraining.training import pretrain

pytestmark = pytest.mark.usefixtures("plugins")


def weight(encoder):
    """A score that depends on the weights, by way of every random state there is."""
    torch.manual_seed(3), np.random.seed(3), random.seed(3)  # noqa: NPY002
    torch.rand(5), np.random.rand(5), random.random()  # noqa: NPY002
    return {"first": float(next(iter(encoder.parameters())).abs().sum()), "zero": 0.0}


def run(output, recipe, **options):
    return pretrain(encoder="micro", dataset="waves", method="dinov2", output=output, recipe=recipe, **options)


def same(first, second):
    a, b = load_file(first), load_file(second)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture
def probe():
    return Probe(ask=weight, every=4, about="size of the first weights")


def test_a_probe_changes_nothing_that_is_learnt(tmp_path, recipe, probe):
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # noqa: NPY002
    without = run(tmp_path / "without", recipe)
    with_one = run(tmp_path / "with", recipe, probe=Probe(ask=weight, every=1))
    assert same(without, with_one)
    one, other = (
        torch.load(path.parent / "checkpoints/step-00000006.ckpt", weights_only=True) for path in (without, with_one)
    )
    for name, tensor in one["state_dict"].items():
        assert torch.equal(tensor, other["state_dict"][name])
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (np.random.get_state()[1] == states[1]).all()  # noqa: NPY002
    assert random.getstate() == states[2]


def test_the_curve_begins_before_the_first_step_and_ends_after_the_last(tmp_path, recipe, probe):
    folder = run(tmp_path / "run", recipe, probe=probe).parent
    rows = StepTable(folder / "probe.csv").read()
    assert [(row["step"], row["images"]) for row in rows] == [(0, 0), (4, 32), (6, 48)]
    assert len({row["first"] for row in rows}) == 3
    assert (folder / "probe.png").read_bytes().startswith(b"\x89PNG")


def test_the_card_and_the_record_hold_the_curve(tmp_path, recipe, probe):
    folder = run(tmp_path / "run", recipe, probe=probe).parent
    record = json.loads((folder / "encoder.json").read_text())["training"]["probe"]
    rows = StepTable(folder / "probe.csv").read()
    assert record["about"] == "size of the first weights"
    assert record["scores"] == rows
    card = (folder / "README.md").read_text()
    assert "size of the first weights" in card
    assert "| 6 | 48 | " + f"{rows[-1]['first']:.3f} | 0.000 |" in card


def test_a_run_without_a_probe_has_none_in_its_card(tmp_path, recipe):
    folder = run(tmp_path / "run", recipe).parent
    assert "probe" not in json.loads((folder / "encoder.json").read_text())["training"]
    assert "probe" not in (folder / "README.md").read_text().lower()


SCRIPT = """
import sys, json
sys.path.insert(0, sys.argv[1])
from stellarfm.pretraining.callbacks.probe import Probe
from stellarfm.pretraining.recipe import Recipe
from stellarfm.pretraining.training import pretrain
ask = lambda encoder: {"first": float(next(iter(encoder.parameters())).abs().sum()), "zero": 0.0}
pretrain(encoder="micro", dataset="waves", method="dinov2", output=sys.argv[2],
         recipe=Recipe(**json.loads(sys.argv[3])), probe=Probe(ask=ask, every=1))
"""


def test_a_killed_run_continues_its_curve(tmp_path, recipe, plugins):
    probe = Probe(ask=weight, every=1)
    undisturbed = run(tmp_path / "undisturbed", recipe, probe=probe).parent
    trap = tmp_path / "trap"
    trap.write_text("36")
    trapped = recipe.replace(dataset={"trap": str(trap)})
    arguments = [sys.executable, "-c", SCRIPT, str(plugins), str(tmp_path / "run"), json.dumps(trapped.as_dict())]
    killed = subprocess.run(arguments, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True)
    assert killed.returncode == -9, killed.stderr.decode()
    assert [path.name for path in (tmp_path / "run/checkpoints").iterdir()] == ["step-00000002.ckpt"]
    assert (
        len(StepTable(tmp_path / "run/probe.csv").read()) == 4
    )  # the last line is of step 3, which will be done again
    resumed = run(tmp_path / "run", trapped, probe=probe, resume=True).parent
    assert (resumed / "probe.csv").read_text() == (undisturbed / "probe.csv").read_text()
    assert same(resumed / "encoder.safetensors", undisturbed / "encoder.safetensors")


def test_a_probe_may_begin_late(tmp_path, recipe, probe):
    run(tmp_path / "run", recipe.replace(max_hours=1e-9))
    run(tmp_path / "run", recipe, probe=probe, resume=True)
    assert [row["step"] for row in StepTable(tmp_path / "run/probe.csv").read()] == [4, 6]


def test_what_cannot_be_asked_leaves_nothing(tmp_path, recipe):
    def refuse(encoder):
        raise ModelError("windows of 20 pixels do not fit; give other maps")

    with pytest.raises(ModelError, match="give other maps"):
        run(tmp_path / "run", recipe, probe=Probe(ask=weight, every=1, check=refuse))
    assert not (tmp_path / "run").exists()


def test_a_score_that_is_nan_stops_nothing(tmp_path, recipe):
    folder = run(tmp_path / "run", recipe, probe=Probe(ask=lambda encoder: {"r2": float("nan")}, every=3)).parent
    assert "nan" in (folder / "probe.csv").read_text()
    assert json.loads((folder / "encoder.json").read_text())["training"]["probe"]["scores"][0]["r2"] is None


def test_the_encoder_that_is_asked_is_the_teacher(tmp_path, recipe):
    seen = []

    def ask(encoder):
        seen.append({name: tensor.clone() for name, tensor in encoder.state_dict().items()})
        assert not encoder.training
        return {"one": 1.0}

    path = run(tmp_path / "run", recipe, probe=Probe(ask=ask, every=6))
    assert all(torch.equal(tensor, seen[-1][name]) for name, tensor in load_file(path).items())


def test_steps_between_probes():
    with pytest.raises(PretrainingError, match="every of a probe is 0; expected at least 1 step"):
        Probe(ask=weight, every=0)


def test_no_curve_without_scores(tmp_path):
    assert draw_curve(tmp_path) is None
    assert not (tmp_path / "probe.png").exists()


def test_a_long_curve_is_told_in_a_dozen_lines(tmp_path):
    table = StepTable(tmp_path / "probe.csv")
    for step in range(0, 5001, 10):
        table.add({"step": step, "images": 32 * step, "r2": 1 - 1 / (1 + step / 1000)})
    lines = curve_table(curve_record(tmp_path)).splitlines()
    assert lines[0] == "| step | images | r2 |"
    assert len(lines) == 14
    assert lines[2] == "| 0 | 0 | 0.000 |"
    assert lines[-1] == "| 5000 | 160000 | 0.833 |"
