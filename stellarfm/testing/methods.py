"""Conformance checks of pretraining methods."""

from __future__ import annotations

import copy
from typing import Any, ClassVar

import torch

from stellarfm import registry
from stellarfm.contracts import Encoder, PretrainingMethod
from stellarfm.testing.base import Conformance
from stellarfm.testing.encoders import check_features

__all__ = ["MethodConformance"]


class MethodConformance(Conformance):
    """Checks of a `PretrainingMethod`, by training a small encoder for a few steps.

    Override `make_encoder` or `image_size` where the method needs something else.

    Examples
    --------
    >>> from stellarfm.pretraining.methods.dinov2 import DinoV2
    >>> from stellarfm.testing import MethodConformance
    >>> class TestDinoV2(MethodConformance):
    ...     plugin = DinoV2
    >>> TestDinoV2().test_options_can_be_listed()
    """

    contract = PretrainingMethod
    image_size: ClassVar[int] = 32
    total_steps: ClassVar[int] = 4

    def make_encoder(self) -> Any:
        """Return a small encoder."""
        return registry.create("encoders", "dinov2-vit-tiny8")

    def start(self) -> tuple[Any, torch.nn.Module, torch.Tensor]:
        """Return a method, the module that it trains and a batch of random images; the same at each call."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            encoder = self.make_encoder()
            method = self.make()
            if method.labelled:
                method.accept_labels(method.example_labels)
            module = method.build(encoder, image_size=self.image_size, total_steps=self.total_steps)
            return method, module, torch.rand(4, encoder.in_channels, self.image_size, self.image_size)

    def labels(self, method: Any, count: int) -> dict[str, torch.Tensor]:
        """Return labels of `count` images as keyword argument of `losses`; nothing for a method without labels.

        Override it where random numbers in [0, 1) are not valid labels; their names are the method's `example_labels`.
        """
        if not method.labelled:
            return {}
        return {"labels": torch.rand(count, len(method.example_labels), generator=torch.Generator().manual_seed(1))}

    def train(self, method: Any, module: torch.nn.Module, images: torch.Tensor, steps: int) -> None:
        """Optimize with AdamW as the training loop does, with the hooks of the method."""
        groups = [
            {"params": group["params"], "lr": 1e-3 * group["lr_scale"], "weight_decay": 0.0}
            for group in method.parameter_groups(module)
        ]
        optimizer = torch.optim.AdamW(groups)
        module.train()
        for step in range(steps):
            views = method.views(images, generator=torch.Generator().manual_seed(step))
            losses = method.losses(module, views, step=step, **self.labels(method, len(images)))
            optimizer.zero_grad()
            losses["loss"].backward()
            method.before_optimizer(module, step=step)
            optimizer.step()
            method.after_step(module, step=step)

    def losses(self, method: Any, module: torch.nn.Module, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the losses of step 0 on fixed views, with fixed random numbers."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            views = method.views(images, generator=torch.Generator().manual_seed(0))
            return method.losses(module, views, step=0, **self.labels(method, len(images)))

    def test_views_are_random_through_the_generator_only(self) -> None:
        """Check that equal generator states give equal views; images and the global generator must not change."""
        method, _, images = self.start()
        before, state = images.clone(), torch.random.get_rng_state()
        first, same, other = (method.views(images, generator=torch.Generator().manual_seed(s)) for s in (0, 0, 1))
        assert torch.equal(images, before), "views() changed the images in place"
        assert torch.equal(torch.random.get_rng_state(), state), "views() draws from torch's global generator"
        assert _equal(first, same), "views() differ under the same generator state"
        assert not _equal(first, other), "views() do not depend on the generator"

    def test_losses_are_named_finite_scalars(self) -> None:
        """Check that ``"loss"`` can be minimized, and that the others are scalars to be logged."""
        losses = self.losses(*self.start())
        assert "loss" in losses, f"losses() returned {', '.join(losses)}; expected also 'loss', the one to be minimized"
        assert losses["loss"].requires_grad, "losses()['loss'] has no gradient"
        for name, value in losses.items():
            assert value.ndim == 0, f"loss {name!r} has shape {tuple(value.shape)}, expected a scalar"
            assert torch.isfinite(value), f"loss {name!r} is {value.item()}"

    def test_parameter_groups_cover_what_is_trained(self) -> None:
        """Check that each parameter that needs a gradient is in exactly one group, with both factors."""
        method, module, _ = self.start()
        groups = method.parameter_groups(module)
        for group in groups:
            assert {"params", "lr_scale", "decay_scale"} <= group.keys(), f"a group has only {', '.join(group)}"
        grouped = [id(p) for group in groups for p in group["params"]]
        trained = {id(p) for p in module.parameters() if p.requires_grad}
        assert trained, "build() returned a module without trainable parameters"
        assert len(grouped) == len(set(grouped)), "a parameter is in two groups"
        assert set(grouped) == trained, "the groups are not the parameters that need a gradient"

    def test_training_moves_finite_weights(self) -> None:
        """Check that a few steps change the trained weights and the exported encoder, and that all stay finite."""
        method, module, images = self.start()
        before = {name: p.detach().clone() for name, p in module.named_parameters()}
        exported = [p.detach().clone() for p in method.encoder(module).parameters()]
        self.train(method, module, images, self.total_steps)
        moved = [name for name, p in module.named_parameters() if not torch.equal(p, before[name])]
        assert moved, "training changed no weight"
        assert all(torch.isfinite(p).all() for p in module.parameters()), "training made weights that are not finite"
        pairs = zip(exported, method.encoder(module).parameters())
        assert any(not torch.equal(old, new) for old, new in pairs), "training did not reach the exported encoder"
        assert torch.isfinite(self.losses(method, module, images)["loss"]), "the loss after training is not finite"

    def test_state_is_in_the_module(self) -> None:
        """Check that a new method and module with the state dictionary of a trained one give the same losses."""
        method, module, images = self.start()
        self.train(method, module, images, 2)
        fresh_method, fresh, _ = self.start()
        fresh.load_state_dict(copy.deepcopy(module.state_dict()), strict=True)
        fresh.train()
        expected, again = self.losses(method, module, images), self.losses(fresh_method, fresh, images)
        for name, value in expected.items():
            assert torch.allclose(value, again[name]), f"loss {name!r} depends on state outside the state dictionary"

    def test_method_holds_no_tensors(self) -> None:
        """Check that tensors and modules are in the result of `build`, not in the method."""
        method, module, images = self.start()
        self.train(method, module, images, 1)
        held = [name for name, value in vars(method).items() if isinstance(value, (torch.Tensor, torch.nn.Module))]
        assert not held, f"the method holds {', '.join(held)}; keep it in the module"

    def test_exports_an_encoder(self) -> None:
        """Check that the exported encoder is an `Encoder` with the dimensions of the given one."""
        method, module, images = self.start()
        encoder: Any = method.encoder(module)
        given = self.make_encoder()
        assert isinstance(encoder, Encoder), f"encoder() returned {type(encoder)}, expected an Encoder"
        with torch.no_grad():
            features = encoder.encode(images)
        check_features(features, given, count=len(images), side=self.image_size // given.patch_size)


def _equal(one: Any, two: Any) -> bool:
    """Return whether two nested structures of tensors are equal."""
    if isinstance(one, torch.Tensor):
        return one.shape == two.shape and torch.equal(one, two)
    if hasattr(one, "__dict__"):
        one, two = vars(one), vars(two)
    if isinstance(one, dict):
        return one.keys() == two.keys() and all(_equal(one[key], two[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(two) and all(map(_equal, one, two))
    return bool(one == two)
