"""Weights on disk: a round trip, and every way in which a file can be wrong."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from stellarfm.encoders.vit import VisionTransformerEncoder
from stellarfm.encoders.weights import load_weights, read_metadata, save_weights
from stellarfm.exceptions import InputNotFoundError, ModelError, OutputExistsError


class Micro(VisionTransformerEncoder):
    embed_dim = 24
    depth = 1
    heads = 3


def micro(seed: int = 0, **options) -> Micro:
    torch.manual_seed(seed)
    return Micro(image_size=16, **options)


@pytest.fixture
def file(tmp_path):
    return save_weights(micro(), tmp_path / "weights.safetensors", metadata={"steps": "7"})


def test_round_trip_is_exact(file):
    other = micro(1)
    load_weights(other, file)
    for name, tensor in micro().state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name]), name
    assert read_metadata(file) == {"steps": "7"}


def test_half_precision_halves_the_file(file, tmp_path):
    half = save_weights(micro(), tmp_path / "half.safetensors", storage="fp16")
    assert half.stat().st_size < 0.65 * file.stat().st_size
    other = micro(1)
    load_weights(other, half)
    images = torch.rand(2, 3, 16, 16)
    torch.testing.assert_close(other.eval()(images), micro().eval()(images), rtol=1e-2, atol=1e-2)
    assert other.mask_token.dtype == torch.float32


def test_an_existing_file_is_kept(file):
    with pytest.raises(OutputExistsError):
        save_weights(micro(), file)
    save_weights(micro(1), file, overwrite=True)


def test_unknown_storage(tmp_path):
    with pytest.raises(ValueError, match="fp32, fp16"):
        save_weights(micro(), tmp_path / "a.safetensors", storage="int8")


def test_missing_file(tmp_path):
    with pytest.raises(InputNotFoundError, match="expected encoder weights"):
        load_weights(micro(), tmp_path / "none.safetensors")


def changed(file, change):
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file)
    return file


def test_missing_tensor(file):
    changed(file, lambda t: t.pop("mask_token"))
    with pytest.raises(ModelError, match=r"lacks 1 tensors \(mask_token\)"):
        load_weights(micro(), file)


def test_unexpected_tensor(file):
    changed(file, lambda t: t.update(extra=torch.ones(1)))
    with pytest.raises(ModelError, match=r"unexpected 1 tensors \(extra\)"):
        load_weights(micro(), file)


def test_other_shape(file):
    with pytest.raises(ModelError, match=r"backbone.patch_embed.proj.weight has shape .*encoder.json"):
        load_weights(micro(in_channels=2), file)


def test_not_finite(file):
    changed(file, lambda t: t["mask_token"].fill_(float("nan")))
    with pytest.raises(ModelError, match="mask_token contains NaN"):
        load_weights(micro(), file)


def test_truncated_file(file):
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(ModelError, match="not a complete safetensors file"):
        load_weights(micro(), file)


def test_pickles_are_never_opened(tmp_path):
    path = tmp_path / "evil.safetensors"
    torch.save(micro().state_dict(), path)
    with pytest.raises(ModelError, match="not a complete safetensors file"):
        load_weights(micro(), path)


def test_a_refused_file_leaves_the_encoder_as_it_was(file):
    changed(file, lambda t: t["mask_token"].fill_(float("inf")))
    encoder = micro(1)
    with pytest.raises(ModelError):
        load_weights(encoder, file)
    assert all(torch.equal(a, b) for a, b in zip(encoder.parameters(), micro(1).parameters(), strict=True))
