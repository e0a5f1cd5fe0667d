"""The projection head against lightly's, and against the formulas of the DINOv2 code."""

import pytest
import torch
from lightly.models.modules.heads import DINOv2ProjectionHead

from stellarfm.pretraining.methods.heads import PrototypeHead


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
def test_agrees_with_lightly():
    ours = PrototypeHead(12, prototypes=20, hidden=16, bottleneck=8)
    theirs = DINOv2ProjectionHead(12, hidden_dim=16, bottleneck_dim=8, output_dim=20)
    linear = [layer for layer in theirs.layers if isinstance(layer, torch.nn.Linear)]
    with torch.no_grad():
        for source, target in zip(ours.perceptron[::2], linear, strict=True):
            target.load_state_dict(source.state_dict())
        ours.magnitudes.uniform_(0.5, 2.0)
        theirs.last_layer.weight_v.copy_(ours.prototypes)
        theirs.last_layer.weight_g.copy_(ours.magnitudes)
    features = torch.randn(5, 12)
    torch.testing.assert_close(ours(features), theirs(features), rtol=1e-5, atol=1e-5)


def test_similarities_are_float32_cosines_under_autocast():
    head = PrototypeHead(12, prototypes=20, hidden=16, bottleneck=8)
    with torch.autocast("cpu", torch.bfloat16):
        similarities = head(torch.randn(50, 12))
    assert similarities.dtype == torch.float32
    assert similarities.abs().max() <= 1.0 + 1e-6


def official_head(features: int, hidden: int, bottleneck: int, prototypes: int) -> torch.nn.Module:
    """Layers and initialization of ``dinov2/layers/dino_head.py``."""
    linear = [torch.nn.Linear(features, hidden), torch.nn.Linear(hidden, hidden), torch.nn.Linear(hidden, bottleneck)]
    for layer in linear:
        torch.nn.init.trunc_normal_(layer.weight, std=0.02)
        torch.nn.init.zeros_(layer.bias)
    last = torch.nn.utils.weight_norm(torch.nn.Linear(bottleneck, prototypes, bias=False))
    torch.nn.init.ones_(last.weight_g)
    return torch.nn.ModuleDict({"linear": torch.nn.ModuleList(linear), "last": last})


@torch.no_grad()
@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
def test_initialization_is_that_of_the_official_head():
    torch.manual_seed(0)
    official = official_head(64, 128, 256, 1000)
    ours = PrototypeHead(64, prototypes=1000, hidden=128, bottleneck=256)
    for mine, theirs in zip(ours.perceptron[::2], official["linear"], strict=True):
        assert float(mine.weight.std()) == pytest.approx(float(theirs.weight.std()), rel=0.03)
        assert not mine.bias.any()
    last = official["last"]
    for measure in (torch.std, torch.amax):
        assert float(measure(ours.prototypes)) == pytest.approx(float(measure(last.weight_v)), rel=0.01)
    assert float(ours.prototypes.norm(dim=1).mean()) == pytest.approx(3**-0.5, rel=0.01)
    assert torch.equal(ours.magnitudes, last.weight_g)
    assert ours.magnitudes.requires_grad == last.weight_g.requires_grad


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
def test_prototypes_turn_as_fast_as_those_of_the_official_head():
    torch.manual_seed(0)
    last = official_head(64, 128, 256, 50)["last"]
    ours = PrototypeHead(64, prototypes=50, hidden=128, bottleneck=256)
    gradients = torch.randn(10, 50, 256)
    angles = []
    for weights in (last.weight_v, ours.prototypes):
        before = torch.nn.functional.normalize(weights.detach().clone(), dim=1)
        optimizer = torch.optim.AdamW([weights], lr=1e-3, weight_decay=0.04)
        for gradient in gradients:
            weights.grad = gradient
            optimizer.step()
        cosines = (before * torch.nn.functional.normalize(weights.detach(), dim=1)).sum(dim=1)
        angles.append(float(torch.rad2deg(torch.arccos(cosines)).mean()))
    assert angles[1] == pytest.approx(angles[0], rel=0.05)
    assert angles[1] > 3.0


def test_frozen_norm():
    torch.manual_seed(0)
    head = PrototypeHead(12, prototypes=20, hidden=16, bottleneck=8, frozen_norm=True)
    assert not head.magnitudes.requires_grad
    head(torch.randn(5, 12)).square().sum().backward()
    assert head.magnitudes.grad is None
    assert head.prototypes.grad is not None
