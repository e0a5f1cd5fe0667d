"""Several processes learn what one learns, and end together."""

import csv
import json
import runpy
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from stellarfm.exceptions import PretrainingError
from stellarfm.pretraining.distributed.devices import Devices
from stellarfm.pretraining.methods.centering import sinkhorn_knopp
from stellarfm.pretraining.training import pretrain

MODULE = """
import sys
import torch
from torch import distributed
from stellarfm.contracts import Encoder, Features
from stellarfm.pretraining.methods.centering import MovingMeanCentering, sinkhorn_knopp
from stellarfm.pretraining.distributed.collectives import all_gather, all_reduce_mean
from stellarfm.pretraining.methods.losses import koleo_loss
from stellarfm.pretraining.methods.supervised import Supervised


class Mean(torch.nn.Module, Encoder):
    embed_dim, patch_size, in_channels = 3, 8, 3

    def encode(self, images, *, mask=None):
        return Features(images.mean(dim=(2, 3)), images.permute(0, 2, 3, 1))


def supervised(samples):
    # Labels, of which the second process knows fewer than the first.
    torch.manual_seed(0)
    method = Supervised(dropout=0.0, noise=0.0)
    module = method.build(Mean(), image_size=8, total_steps=1)
    labels = torch.where(samples[:, :1] > -1.0, samples[:, :1], torch.nan)
    views = samples[:, 1:4, None, None].expand(-1, -1, 8, 8)
    found = method.losses(module, views, step=0, labels=labels)
    return all_reduce_mean({name: value.detach() for name, value in found.items()}) | {"scale": module.scale}


def whole():
    return torch.randn(12, 6, generator=torch.Generator().manual_seed(0))


def measured(samples):
    # What must not depend on how samples are spread: assignments, their centre, KoLeo and its gradient.
    samples = samples.clone().requires_grad_()
    centring = MovingMeanCentering(6)
    found = {"sinkhorn": sinkhorn_knopp(samples.detach(), temperature=0.1)}
    found["mean"] = centring(samples.detach(), temperature=0.1)
    loss = koleo_loss(samples)
    loss.backward()
    found |= {"gradient": samples.grad, "koleo": all_reduce_mean({"koleo": loss.detach()})["koleo"]}
    found |= supervised(samples.detach())
    return {**found, "centre": centring.centre, "gathered": all_gather(samples.detach())}


if __name__ == "__main__":
    number, folder = int(sys.argv[1]), sys.argv[2]
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=number, world_size=2)
    torch.save(measured(whole().chunk(2)[number]), f"{folder}/{number}.pt")
    none_here = whole()[: 4 * number]  # the first process has no hidden patch at all
    torch.save(sinkhorn_knopp(none_here, temperature=0.1), f"{folder}/empty{number}.pt")
    distributed.destroy_process_group()
"""


def test_what_compares_samples_spans_all_processes(tmp_path):
    script = tmp_path / "spread.py"
    script.write_text(MODULE)
    started = [subprocess.Popen([sys.executable, script, str(number), tmp_path]) for number in range(2)]
    assert [process.wait(timeout=600) for process in started] == [0, 0]
    first, second = (torch.load(tmp_path / f"{number}.pt", weights_only=True) for number in range(2))
    here = runpy.run_path(str(script), run_name="here")
    expected = here["measured"](here["whole"]())
    for name in ("sinkhorn", "mean"):
        torch.testing.assert_close(torch.cat([first[name], second[name]]), expected[name])
    # Each process's loss is the mean over its own half; the mean of gradients over processes is what DDP applies.
    torch.testing.assert_close(torch.cat([first["gradient"], second["gradient"]]) / 2, expected["gradient"])
    assert expected["loss"].isfinite()
    for name in ("koleo", "centre", "gathered", "loss", "mse", "scale"):
        torch.testing.assert_close(first[name], expected[name])
        torch.testing.assert_close(second[name], expected[name])
    assert torch.load(tmp_path / "empty0.pt", weights_only=True).shape == (0, 6)
    alone = sinkhorn_knopp(here["whole"]()[:4], temperature=0.1)
    torch.testing.assert_close(torch.load(tmp_path / "empty1.pt", weights_only=True), alone)


def curve(folder):
    with (folder / "log.csv").open() as file:
        return [{k: float(v) for k, v in row.items() if k != "images_per_second"} for row in csv.DictReader(file)]


def assert_same_run(folder, other):
    rows = list(zip(curve(folder), curve(other), strict=True))
    for one, two in rows:
        assert one == pytest.approx(two, rel=2e-4, abs=2e-4), f"step {one['step']}"
    states = [load_file(f / "encoder.safetensors") for f in (folder, other)]
    for name, tensor in states[0].items():
        torch.testing.assert_close(tensor, states[1][name], rtol=1e-3, atol=1e-5)


@pytest.fixture
def steady(recipe):
    """Stochastic depth is drawn by each process on its own: switched off."""
    return recipe.replace(steps=4, encoder={"drop_path_rate": 0.0})


NAMES = {"encoder": "micro", "dataset": "waves", "method": "dinov2"}


def test_two_processes_have_the_loss_curve_of_one_and_continue_what_it_began(tmp_path, steady, plugins):
    method = {**steady.method, "centring": "mean", "layer_decay": 0.9}
    steady = steady.replace(method=method)
    for devices in (1, 2):
        pretrain(**NAMES, output=tmp_path / str(devices), recipe=steady, devices=devices)
    assert_same_run(tmp_path / "2", tmp_path / "1")
    pretrain(**NAMES, output=tmp_path / "more", recipe=steady.replace(max_hours=1e-9))
    pretrain(**NAMES, output=tmp_path / "more", recipe=steady, resume=True, devices=2)
    assert_same_run(tmp_path / "more", tmp_path / "1")


SCRIPT = """
import json, sys
sys.path.insert(0, sys.argv[1])
from stellarfm.pretraining.recipe import Recipe
from stellarfm.pretraining.training import pretrain
names = {"encoder": "micro", "dataset": "waves", "method": "dinov2"}
pretrain(**names, output=sys.argv[2], recipe=Recipe(**json.loads(sys.argv[3])), resume=len(sys.argv) > 4)
"""


def torchrun(tmp_path, *arguments):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", script]
    return subprocess.run([*map(str, command), *map(str, arguments)], capture_output=True, text=True, timeout=600)


def test_weights_spread_over_processes_learn_the_same_and_resume(tmp_path, steady, plugins):
    spread = steady.replace(strategy="fsdp", max_hours=1e-9)
    stopped = torchrun(tmp_path, plugins, tmp_path / "spread", json.dumps(spread.as_dict()))
    assert stopped.returncode == 0, stopped.stderr
    assert "stopped by max_hours at step 1 of 4" in stopped.stderr
    spread = steady.replace(strategy="fsdp")
    resumed = torchrun(tmp_path, plugins, tmp_path / "spread", json.dumps(spread.as_dict()), "resume")
    assert resumed.returncode == 0, resumed.stderr
    pretrain(**NAMES, output=tmp_path / "one", recipe=steady)
    assert_same_run(tmp_path / "spread", tmp_path / "one")


def test_the_error_of_a_spawned_process_is_ours(tmp_path, steady, plugins):
    with pytest.raises(PretrainingError, match=r"^step 1: .*not finite"):
        pretrain(encoder="micro", dataset="darkness", output=tmp_path / "run", recipe=steady, devices=2)


def test_torchrun_is_found_in_the_environment(monkeypatch):
    assert Devices.from_environment(None) == Devices()
    for name, value in {"RANK": 5, "WORLD_SIZE": 8, "LOCAL_WORLD_SIZE": 4, "TORCHELASTIC_RUN_ID": "x"}.items():
        monkeypatch.setenv(name, str(value))
    assert (
        Devices.from_environment(None)
        == Devices.from_environment(4)
        == Devices(local=4, nodes=2, rank=5, launched=True)
    )
    with pytest.raises(PretrainingError, match="devices is 2, torchrun started 4 processes here; leave devices out"):
        Devices.from_environment(2)


def test_fewer_gpus_than_wanted(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert Devices.from_environment(2).world_size == 2
    with pytest.raises(PretrainingError, match="devices is 3, this machine has 2 GPUs; expected at most 2"):
        Devices.from_environment(3)


@pytest.mark.parametrize(
    ("changes", "devices", "message"),
    [
        ({}, 3, "batch_size is 8 for 3 devices; expected a multiple of 3"),
        ({}, 0, "devices is 0; expected at least 1"),
        (
            {"strategy": "fsdp"},
            1,
            "over several devices that torchrun starts, but there is only one device; run `torchrun",
        ),
        ({"strategy": "fsdp"}, 2, "but there is no torchrun; run `torchrun"),
    ],
)
def test_what_cannot_work_leaves_nothing(tmp_path, steady, plugins, changes, devices, message):
    with pytest.raises(PretrainingError, match=message):
        pretrain(**NAMES, output=tmp_path / "run", recipe=steady.replace(**changes), devices=devices)
    assert not (tmp_path / "run").exists()
