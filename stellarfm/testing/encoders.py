"""Conformance checks of encoders."""

from __future__ import annotations

from typing import Any, ClassVar
from unittest import SkipTest

import torch

from stellarfm.contracts import Encoder, Features
from stellarfm.testing.base import Conformance

__all__ = ["EncoderConformance", "check_features"]


class EncoderConformance(Conformance):
    """Checks of an `Encoder`: shapes, values, determinism, gradients, masks and state.

    Encoders of more than `max_parameters` parameters are built without memory (on torch's meta device), where only
    shapes can be checked.

    Examples
    --------
    >>> from stellarfm.encoders.vit import DinoV2Tiny8
    >>> from stellarfm.testing import EncoderConformance
    >>> class TestTiny(EncoderConformance):
    ...     plugin = DinoV2Tiny8
    >>> TestTiny().test_shapes()
    """

    contract = Encoder
    required_options = ("in_channels",)
    max_parameters: ClassVar[int] = 12_000_000

    def build(self, **changes: Any) -> Any:
        """Return the encoder in evaluation mode, its weights drawn with seed 0."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return self.make(**changes).eval()

    def build_real(self, **changes: Any) -> Any:
        """Return the encoder with weights; skip the check if it is too large."""
        with torch.device("meta"):
            size = sum(p.numel() for p in self.build(**changes).parameters())
        if size > self.max_parameters:
            raise SkipTest(f"{size / 1e6:.0f} million parameters: only shapes are checked, on the meta device")
        return self.build(**changes)

    def images(self, encoder: Any, *, side: int = 4, count: int = 2) -> torch.Tensor:
        """Return random images of `side` x `side` patches."""
        pixels = side * encoder.patch_size
        generator = torch.Generator().manual_seed(1)
        return torch.rand(count, encoder.in_channels, pixels, pixels, generator=generator)

    def test_is_a_module(self) -> None:
        """Check that the encoder is a `torch.nn.Module`, so that it can be trained, moved and saved."""
        assert issubclass(self.plugin, torch.nn.Module), f"{self.plugin!r} is not a torch.nn.Module: inherit both"

    def test_dimensions_are_stated(self) -> None:
        """Check that `embed_dim`, `patch_size` and `in_channels` are positive integers."""
        with torch.device("meta"):
            encoder = self.build()
        for name in ("embed_dim", "patch_size", "in_channels"):
            value = getattr(encoder, name, None)
            assert isinstance(value, int), f"{name} is {value!r}, expected an int"
            assert value > 0, f"{name} is {value}, expected a positive number"

    def test_shapes(self) -> None:
        """Check for one vector per image and per patch, for several sides and numbers of channels."""
        for channels in (3, 1):
            with torch.device("meta"):
                encoder = self.build(in_channels=channels)
            assert encoder.in_channels == channels, f"in_channels={channels} gave in_channels {encoder.in_channels}"
            for side in (2, 4):
                features = encoder.encode(self.images(encoder, side=side).to("meta"))
                check_features(features, encoder, count=2, side=side)

    def test_values_are_finite_and_keep_the_dtype(self) -> None:
        """Check that features are finite and of the dtype of weights and images."""
        encoder = self.build_real()
        for dtype in (torch.float32, torch.float64):
            with torch.no_grad():
                features = encoder.to(dtype).encode(self.images(encoder).to(dtype))
            for name, values in features._asdict().items():
                assert values.dtype == dtype, f"{name} features of {dtype} images are {values.dtype}"
                assert torch.isfinite(values).all(), f"{name} features are not finite"

    def test_eval_mode_is_deterministic(self) -> None:
        """Check that features in evaluation mode depend on the image alone: not on chance, nor on the batch."""
        encoder = self.build_real()
        images = self.images(encoder)
        before = images.clone()
        with torch.no_grad():
            first, again, alone = encoder.encode(images), encoder.encode(images), encoder.encode(images[:1])
        assert torch.equal(images, before), "encode changed its input in place"
        for name in Features._fields:
            one, two, three = (getattr(features, name) for features in (first, again, alone))
            assert torch.equal(one, two), f"{name} features differ between two calls in evaluation mode"
            assert torch.allclose(one[:1], three, atol=1e-4), f"{name} features depend on the rest of the batch"

    def test_same_seed_same_weights(self) -> None:
        """Check that weights are drawn from torch's generator only, so that a seed fixes them."""
        first, second = self.build_real().state_dict(), self.build().state_dict()
        differ = [name for name in first if not torch.equal(first[name], second[name])]
        assert not differ, f"weights differ under the same torch.manual_seed: {', '.join(differ[:5])}"

    def test_patches_are_in_image_order(self) -> None:
        """Check that a change in the top right corner affects the top right patch more than the bottom left one."""
        encoder = self.build_real()
        images = self.images(encoder, count=1)
        changed = images.clone()
        changed[..., : encoder.patch_size, -encoder.patch_size :] += 1.0
        with torch.no_grad():
            difference = (encoder.encode(changed).patches - encoder.encode(images).patches)[0].norm(dim=-1)
        assert difference[0, -1] > difference[-1, 0], "patch features are not in (row, column) order"

    def test_gradients_reach_every_weight(self) -> None:
        """Check that image and patch features together depend on every trainable weight."""
        encoder = self.build_real()
        images = self.images(encoder)
        mask = _corner_mask(4) if encoder.maskable else None
        features = encoder.encode(images, mask=mask)
        generator = torch.Generator().manual_seed(2)
        sum((torch.randn(f.shape, generator=generator) * f).sum() for f in features).backward()
        for name, parameter in encoder.named_parameters():
            if parameter.requires_grad:
                assert parameter.grad is not None, f"no gradient reaches {name}: freeze it, or drop it"
                assert torch.isfinite(parameter.grad).all(), f"the gradient of {name} is not finite"

    def test_masked_patches_are_hidden(self) -> None:
        """Check that masked pixels have no influence but the mask has; unless `maskable`, it must be refused."""
        encoder = self.build_real()
        images, mask = self.images(encoder), _corner_mask(4)
        if not encoder.maskable:
            assert _raises(ValueError, encoder.encode, images, mask=mask), "a mask must raise ValueError: not maskable"
            return
        changed = images.clone()
        changed[..., : encoder.patch_size, -encoder.patch_size :] += 1.0
        with torch.no_grad():
            bare, hidden, other = (
                encoder.encode(images).patches,
                encoder.encode(images, mask=mask).patches,
                encoder.encode(changed, mask=mask).patches,
            )
        assert torch.allclose(hidden, other, atol=1e-5), "pixels under the mask change the features"
        assert not torch.allclose(bare, hidden, atol=1e-5), "the mask changes nothing"

    def test_state_is_complete(self) -> None:
        """Check that another instance with the same options and state dictionary gives the same features."""
        encoder = self.build_real()
        other = self.make().eval()
        other.load_state_dict(encoder.state_dict(), strict=True)
        images = self.images(encoder)
        with torch.no_grad():
            same = torch.equal(encoder.encode(images).image, other.encode(images).image)
        assert same, "the state dictionary does not hold everything that features depend on"


def check_features(features: Any, encoder: Any, *, count: int, side: int) -> None:
    """Assert that features have the type and the shapes of the contract.

    Parameters
    ----------
    features : Features
        Result of `Encoder.encode`.
    encoder : Encoder
        Encoder with the expected `embed_dim`.
    count : int
        Number of images.
    side : int
        Number of patches along a side.
    """
    assert isinstance(features, Features), f"encode() returned {type(features)}, expected stellarfm.contracts.Features"
    image, patches = (count, encoder.embed_dim), (count, side, side, encoder.embed_dim)
    assert tuple(features.image.shape) == image, f"image features are {tuple(features.image.shape)}, expected {image}"
    shape = tuple(features.patches.shape)
    assert shape == patches, f"patch features are {shape}, expected {patches} (images, rows, columns, embed_dim)"


def _corner_mask(side: int) -> torch.Tensor:
    """Return a mask of two images that hides the patch in the top right corner."""
    mask = torch.zeros(2, side, side, dtype=torch.bool)
    mask[:, 0, -1] = True
    return mask


def _raises(expected: type[Exception], call: Any, *args: Any, **options: Any) -> bool:
    """Return whether a call raises the exception."""
    try:
        call(*args, **options)
    except expected:
        return True
    return False
