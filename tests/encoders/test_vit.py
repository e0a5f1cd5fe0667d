"""Vision transformers: what they give, and what a mask changes."""

import pytest
import torch

from stellarfm import registry
from stellarfm.encoders.vit import DinoV2Base16, DinoV2Large16, DinoV2Nano8, DinoV2Tiny8, VisionTransformerEncoder


class Micro(VisionTransformerEncoder):
    embed_dim = 24
    depth = 2
    heads = 3


@pytest.fixture
def encoder() -> Micro:
    torch.manual_seed(0)
    return Micro(image_size=32).eval()


@pytest.mark.parametrize("side", [8, 24, 32, 64])
def test_any_multiple_of_the_patch_size_works(encoder, side):
    image, patches = encoder.encode(torch.rand(3, 3, side, side))
    assert image.shape == (3, 24)
    assert patches.shape == (3, side // 8, side // 8, 24)


def test_a_side_that_is_no_multiple_is_refused(encoder):
    with pytest.raises(AssertionError, match="divisible by patch size"):
        encoder.encode(torch.rand(1, 3, 30, 30))


def test_image_size_must_hold_whole_patches():
    with pytest.raises(ValueError, match="multiple of the patch size 8"):
        Micro(image_size=30)


def test_patches_are_in_image_order(encoder):
    torch.nn.init.zeros_(encoder.backbone.pos_embed)
    for block in encoder.backbone.blocks:
        torch.nn.init.zeros_(block.attn.proj.weight)
        torch.nn.init.zeros_(block.attn.proj.bias)
    images = torch.zeros(1, 3, 32, 32)
    images[:, :, 8:16, 24:32] = 1.0
    patches = encoder.encode(images).patches[0]
    different = (patches - patches[0, 0]).abs().amax(dim=-1) > 1e-4
    assert different.nonzero().tolist() == [[1, 3]]


def test_a_mask_hides_exactly_the_patches_it_names(encoder):
    first, second = torch.rand(2, 1, 3, 32, 32)
    mask = torch.zeros(1, 4, 4, dtype=torch.bool)
    mask[0, 1, 2] = mask[0, 3, 0] = True
    hidden = mask.repeat_interleave(8, 1).repeat_interleave(8, 2)[:, None]
    second = torch.where(hidden, second, first)
    assert not torch.equal(encoder.encode(first).image, encoder.encode(second).image)
    for a, b in zip(encoder.encode(first, mask=mask), encoder.encode(second, mask=mask), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


def test_an_empty_mask_changes_nothing(encoder):
    images = torch.rand(2, 3, 32, 32)
    mask = torch.zeros(2, 4, 4, dtype=torch.bool)
    torch.testing.assert_close(encoder.encode(images, mask=mask).patches, encoder.encode(images).patches)


def test_the_mask_token_learns(encoder):
    mask = torch.ones(1, 4, 4, dtype=torch.bool)
    encoder.encode(torch.rand(1, 3, 32, 32), mask=mask).image.sum().backward()
    assert encoder.mask_token.grad.abs().max() > 0


def test_stochastic_depth_only_while_training():
    encoder = Micro(image_size=32, drop_path_rate=0.5)
    images = torch.rand(8, 3, 32, 32)
    encoder.train()
    assert not torch.equal(encoder(images), encoder(images))
    encoder.eval()
    assert torch.equal(encoder(images), encoder(images))


@pytest.mark.parametrize(("uniform", "rates"), [(True, [0.3, 0.3]), (False, [0.0, 0.3])])
def test_rates_of_stochastic_depth(uniform, rates):
    encoder = Micro(image_size=32, drop_path_rate=0.3, drop_path_uniform=uniform)
    for block, rate in zip(encoder.backbone.blocks, rates, strict=True):
        assert [getattr(drop, "drop_prob", 0.0) for drop in (block.drop_path1, block.drop_path2)] == pytest.approx(
            [rate, rate]
        )


def test_layer_scale():
    scaled = Micro(image_size=32, layer_scale=1e-5)
    assert torch.equal(scaled.backbone.blocks[1].ls2.gamma, torch.full((24,), 1e-5))
    assert not any("gamma" in name for name in Micro(image_size=32).state_dict())
    with torch.device("meta"):
        base, without = DinoV2Base16(), DinoV2Base16(layer_scale=0.0)
    assert any("gamma" in name for name in base.state_dict())
    assert not any("gamma" in name for name in without.state_dict())


def test_options_add_nothing_to_the_state_unless_given():
    """Weights exported before these options existed are loaded by name."""
    names = set(Micro(image_size=32).state_dict())
    uniform = Micro(image_size=32, drop_path_rate=0.3, drop_path_uniform=True)
    assert names == set(uniform.state_dict())
    assert set(Micro(image_size=32, register_tokens=2).state_dict()) - names == {"register_tokens"}


def test_register_tokens():
    torch.manual_seed(0)
    encoder = Micro(image_size=32, register_tokens=4).eval()
    lengths = []
    encoder.backbone.norm.register_forward_hook(lambda module, given, tokens: lengths.append(tokens.shape[1]))
    images = torch.rand(2, 3, 24, 24)
    image, patches = encoder.encode(images)
    assert lengths == [1 + 4 + 9]
    assert (image.shape, patches.shape) == ((2, 24), (2, 3, 3, 24))
    assert 0 < float(encoder.register_tokens.detach().abs().max()) < 1e-5  # as in the DINOv2 code
    mask = torch.ones(2, 3, 3, dtype=torch.bool)
    hidden = encoder.encode(images, mask=mask)
    torch.testing.assert_close(hidden.image[0], hidden.image[1])
    hidden.patches[:, 1, 1, 0].sum().backward()
    assert encoder.register_tokens.grad.abs().max() > 0
    assert any(p is encoder.register_tokens for p in encoder.layers()[0])
    with torch.no_grad():
        encoder.register_tokens.add_(1.0)
    assert not torch.allclose(encoder.encode(images).image, image)


def test_register_tokens_leave_the_patches_in_order():
    torch.manual_seed(0)
    encoder = Micro(image_size=32, register_tokens=3).eval()
    torch.nn.init.zeros_(encoder.backbone.pos_embed)
    for block in encoder.backbone.blocks:
        torch.nn.init.zeros_(block.attn.proj.weight)
        torch.nn.init.zeros_(block.attn.proj.bias)
    images = torch.zeros(1, 3, 32, 32)
    images[:, :, 8:16, 24:32] = 1.0
    patches = encoder.encode(images).patches[0]
    different = (patches - patches[0, 0]).abs().amax(dim=-1) > 1e-4
    assert different.nonzero().tolist() == [[1, 3]]


def test_negative_register_tokens():
    with pytest.raises(ValueError, match="register_tokens is -1; expected at least 0"):
        Micro(image_size=32, register_tokens=-1)


def test_any_number_of_channels():
    assert Micro(in_channels=5, image_size=32)(torch.rand(1, 5, 32, 32)).shape == (1, 24)


@pytest.mark.parametrize(
    ("name", "width", "patch", "depth", "heads"),
    [
        ("dinov2-vit-nano8", 128, 8, 6, 4),
        ("dinov2-vit-tiny8", 192, 8, 12, 3),
        ("dinov2-vit-small8", 384, 8, 12, 6),
        ("dinov2-vit-small16", 384, 16, 12, 6),
        ("dinov2-vit-base16", 768, 16, 12, 12),
        ("dinov2-vit-large16", 1024, 16, 24, 16),
    ],
)
def test_registered_dimensions(name, width, patch, depth, heads):
    plugin = registry.get("encoders", name)
    assert (plugin.embed_dim, plugin.patch_size, plugin.depth, plugin.heads) == (width, patch, depth, heads)


def test_parameters_of_nano_tiny_and_large():
    assert sum(p.numel() for p in DinoV2Nano8().parameters()) == pytest.approx(1.22e6, rel=0.01)
    assert sum(p.numel() for p in DinoV2Tiny8().parameters()) == pytest.approx(5.4e6, rel=0.01)
    with torch.device("meta"):
        large = DinoV2Large16(image_size=336)
    assert sum(p.numel() for p in large.parameters()) == pytest.approx(303.5e6, rel=0.005)
    assert large.backbone.blocks[0].ls1.gamma.shape == (1024,)
