"""Frozen encoder of a model: found by registered name, by directory of a run or a model, or by weight file."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stellarfm import registry
from stellarfm.exceptions import InputNotFoundError, ModelError
from stellarfm.inference.model_directory import CONFIG, WEIGHTS, bundled_directory, read_config

if TYPE_CHECKING:
    import torch

    from stellarfm.contracts import Encoder

__all__ = ["FrozenEncoder"]

#: File of a pretraining run that names its encoder, options and training record.
RECORD = "encoder.json"


@dataclass(frozen=True)
class FrozenEncoder:
    """Encoder with the name and options that construct it.

    Attributes
    ----------
    name : str
        Registered name.
    options : dict
        Constructor options.
    loader : callable
        Function that returns the encoder; called once, when `module` is first used.
    training : dict
        Training record; empty if the weights are random.

    Examples
    --------
    >>> FrozenEncoder.resolve("bundled", image_size=64).name
    'resnet10-shallow'
    """

    name: str
    options: dict[str, Any]
    loader: Callable[[], Encoder]
    training: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def module(self) -> Encoder:
        """The encoder itself; masses from statistics alone do not load it, nor torch."""
        return self.loader()

    @classmethod
    def resolve(cls, choice: str | os.PathLike, *, image_size: int, seed: int = 0) -> FrozenEncoder:
        """Return the encoder that `choice` names.

        Parameters
        ----------
        choice : str or path
            ``"bundled"`` or ``"hirashima2025"``, the encoder of a model in the package; the output directory of a
            pretraining run, a model directory, or a safetensors file with an ``encoder.json`` in the same directory;
            or a registered name, for random weights.
        image_size : int
            Side of the windows in pixels; native size of an encoder constructed by name.
        seed : int
            Seed of random weights.

        Raises
        ------
        InputNotFoundError, ModelError, UnknownPluginError
            If a file is missing or invalid, or the name is not registered.
        """
        path = bundled_directory(choice) or Path(choice)
        if (path / CONFIG).is_file():
            return cls.from_model(read_config(path), path)
        if path.is_dir():
            return cls._trained(path / RECORD, path / WEIGHTS)
        if path.is_file() or path.suffix == ".safetensors":
            return cls._trained(path.with_name(RECORD), path)
        return cls.random(os.fspath(choice), image_size=image_size, seed=seed)

    @classmethod
    def random(cls, name: str, *, image_size: int, seed: int = 0) -> FrozenEncoder:
        """Return the registered encoder `name` with random weights, the same for the same `seed`.

        Batch norms take the statistics of fractal flames, as in a pretrained encoder: random weights are the control
        experiment for learned weights, not for a mean and a variance.
        """
        import torch

        from stellarfm.encoders.batch_norm import calibrate_batch_norms

        known = registry.options(registry.get("encoders", name))
        options = {"image_size": image_size} if "image_size" in known else {}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            encoder = registry.create("encoders", name, **options)
        calibrate_batch_norms(encoder, _flames(encoder.in_channels, encoder.patch_size))
        return cls(name, options, lambda: encoder)

    @classmethod
    def load(cls, name: str, options: dict[str, Any], weights: Path, training: dict[str, Any]) -> FrozenEncoder:
        """Return the registered encoder `name` with the weights of a safetensors file, which is read when needed.

        Raises
        ------
        UnknownPluginError
            If the name is not registered.
        """
        if name not in registry.names("encoders"):
            registry.get("encoders", name)  # raises, and names similar encoders

        def load_encoder() -> Encoder:
            from stellarfm.encoders.weights import load_weights

            encoder = registry.create("encoders", name, **options)
            load_weights(encoder, weights)
            return encoder

        return cls(name, options, load_encoder, training)

    @classmethod
    def from_model(cls, config: dict[str, Any], directory: Path) -> FrozenEncoder:
        """Return the encoder of a model directory with this configuration."""
        try:
            known = config["encoder"]
            if known is None:
                raise ModelError(f"{directory} holds a model without an encoder; give another one")
            name, options, training = known["name"], known["options"], known["training"]
        except (KeyError, TypeError) as error:
            raise ModelError(
                f"{directory / CONFIG} is incomplete or wrong ({error!r}); fit or copy the model again"
            ) from error
        return cls.load(name, options, directory / WEIGHTS, training)

    @classmethod
    def _trained(cls, record: Path, weights: Path) -> FrozenEncoder:
        """Return the encoder that a pretraining run wrote."""
        for path in (record, weights):
            if not path.is_file():
                raise InputNotFoundError(f"{path}: no such file; expected the output of `stellarfm pretrain`")
        try:
            facts = json.loads(record.read_text())
            name, options = facts["encoder"], facts.get("options", {})
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ModelError(
                f"{record} names no encoder ({error!r}); expected the output of `stellarfm pretrain`"
            ) from error
        return cls.load(name, options, weights, facts.get("training", {}))

    def half_precision(self) -> FrozenEncoder:
        """Round the weights to half precision in place, as a model directory stores them, and return the encoder."""
        module: Any = self.module
        module.load_state_dict(
            {
                name: tensor.half().to(tensor.dtype) if tensor.is_floating_point() else tensor
                for name, tensor in module.state_dict().items()
            }
        )
        return self

    def save(self, path: Path) -> None:
        """Write the weights, in half precision."""
        from stellarfm.encoders.weights import save_weights

        module: Any = self.module
        save_weights(module, path, storage="fp16")


def _flames(channels: int, patch_size: int) -> Iterator[torch.Tensor]:
    """Yield two batches of flames as encoders receive them; channels beyond three repeat."""
    import torch

    side = -(-64 // patch_size) * patch_size
    dataset = registry.create("datasets", "flames", channels=min(channels, 3), size=side)
    repeated = torch.arange(channels) % 3
    for start in (0, 64):
        images = torch.as_tensor(dataset.images(range(start, start + 64), device="cpu"))
        yield (images[:, repeated] - 0.5) / 0.2  # as `stellarfm.contracts.PretrainingDataset` says
