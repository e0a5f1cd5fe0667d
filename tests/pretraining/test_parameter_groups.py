"""Which parameter learns how fast, and which decays."""

import pytest
import torch

from stellarfm import registry
from stellarfm.contracts import Encoder, Features
from stellarfm.encoders.resnet import ResNet18
from stellarfm.encoders.vit import DinoV2Base16, DinoV2Tiny8
from stellarfm.exceptions import PretrainingError
from stellarfm.pretraining.methods.dinov2 import DinoV2
from stellarfm.pretraining.optimization import parameter_groups


def scales(module, encoder, **options):
    """Name -> (factor on the rate, factor on the decay)."""
    groups = parameter_groups(module, encoder, **options)
    found = {id(p): (g["lr_scale"], g["decay_scale"]) for g in groups for p in g["params"]}
    return {name: found[id(p)] for name, p in module.named_parameters()}


def test_without_factors_there_are_two_groups():
    encoder = DinoV2Tiny8()
    assert [(g["lr_scale"], g["decay_scale"]) for g in parameter_groups(encoder, encoder)] == [(1.0, 1.0), (1.0, 0.0)]


def test_rates_of_a_vision_transformer_are_those_of_the_official_code():
    encoder = DinoV2Tiny8()
    found = scales(encoder, encoder, layer_decay=0.9, stem_rate=0.2)
    for name, (rate, decay) in found.items():
        layer = 13  # norm and heads
        if name.startswith("backbone.blocks."):
            layer = int(name.split(".")[2]) + 1
        elif "norm" not in name:
            layer = 0
        expected = 0.9 ** (13 - layer) * (0.2 if "patch_embed" in name else 1.0)
        assert rate == pytest.approx(expected), name
        assert decay == float(not (name.endswith(".bias") or "norm" in name or "gamma" in name)), name


def test_tokens_positions_and_prototypes_have_weight_decay():
    """As in get_params_groups_with_decay: all but biases, norms and layer scales."""
    with torch.device("meta"):
        encoder = DinoV2Base16()
        module = DinoV2(prototypes=8, global_size=224, local_size=96).build(encoder, image_size=224, total_steps=2)
    found = scales(module.student, encoder)
    decaying = {name.removeprefix("encoder.") for name, (_, decay) in found.items() if decay == 1.0}
    assert {"mask_token", "backbone.cls_token", "backbone.pos_embed"} <= decaying
    assert {"class_head.prototypes", "class_head.magnitudes"} <= decaying
    assert found["encoder.backbone.blocks.0.ls1.gamma"] == (1.0, 0.0)
    assert found["encoder.backbone.norm.weight"] == (1.0, 0.0)


def test_batch_norms_have_no_weight_decay():
    encoder = ResNet18()
    found = scales(encoder, encoder)
    assert found["backbone.layer2.0.downsample.1.weight"] == (1.0, 0.0)
    assert found["backbone.layer2.0.downsample.0.weight"] == (1.0, 1.0)


@pytest.mark.parametrize("name", registry.names("encoders"))
def test_every_encoder_tells_its_layers_apart(name):
    with torch.device("meta"):
        encoder = registry.create("encoders", name)
    layers = encoder.layers()
    numbers = [id(p) for layer in layers for p in layer]
    assert len(numbers) == len(set(numbers))
    assert set(numbers) == {id(p) for p in encoder.parameters()}
    assert {id(p) for p in encoder.stem()} <= {id(p) for p in layers[0]}
    assert encoder.stem()


def test_deep_layers_of_a_residual_network_learn_fastest():
    encoder = ResNet18()
    found = scales(encoder, encoder, layer_decay=0.5)
    assert found["backbone.layer4.1.conv2.weight"][0] == 1.0
    assert found["backbone.layer1.0.conv1.weight"][0] == 0.5**7
    assert found["backbone.conv1.weight"][0] == 0.5**8


class Flat(torch.nn.Module, Encoder):
    """An encoder that says nothing of its layers."""

    embed_dim, patch_size, in_channels, maskable = 4, 8, 3, True

    def __init__(self):
        super().__init__()
        self.patch = torch.nn.Conv2d(3, 4, 8, stride=8)

    def encode(self, images, *, mask=None):
        patches = self.patch(images).permute(0, 2, 3, 1)
        return Features(patches.mean(dim=(1, 2)), patches)


def test_an_encoder_without_layers_learns_at_one_rate():
    encoder = Flat()
    assert {rate for rate, _ in scales(encoder, encoder, stem_rate=0.2).values()} == {1.0}
    with pytest.raises(PretrainingError, match="Flat does not list its layers; set layer_decay = 1"):
        DinoV2(layer_decay=0.9).build(encoder, image_size=64, total_steps=2)
