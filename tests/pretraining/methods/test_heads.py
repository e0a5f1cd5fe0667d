"""The projection head against lightly's."""

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
        theirs.last_layer.weight_v.copy_(ours.prototypes)
    features = torch.randn(5, 12)
    torch.testing.assert_close(ours(features), theirs(features), rtol=1e-5, atol=1e-5)


def test_similarities_are_float32_cosines_under_autocast():
    head = PrototypeHead(12, prototypes=20, hidden=16, bottleneck=8)
    with torch.autocast("cpu", torch.bfloat16):
        similarities = head(torch.randn(50, 12))
    assert similarities.dtype == torch.float32
    assert similarities.abs().max() <= 1.0 + 1e-6
