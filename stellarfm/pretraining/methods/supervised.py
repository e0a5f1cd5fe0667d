"""Pretraining method `supervised`: end-to-end training of an encoder and a linear head on labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from stellarfm.contracts import Encoder, PretrainingMethod
from stellarfm.exceptions import PretrainingError
from stellarfm.pretraining.distributed.collectives import all_gather, all_reduce_sum, rank_and_world_size
from stellarfm.pretraining.methods import augmentations as augment
from stellarfm.pretraining.optimization import parameter_groups

__all__ = ["Supervised", "SupervisedModule"]

LOSSES = ("gaussian", "mse")
#: Limits of the logarithm of a predicted variance, in units of the variance of the labels.
LOG_VARIANCE = (-9.0, 3.0)


class SupervisedModule(nn.Module):
    """Encoder and head; predictions are standardized by the mean and spread of the first batch's labels.

    The names of the attributes are those of the tensors in a checkpoint.
    """

    centre: torch.Tensor
    scale: torch.Tensor
    ready: torch.Tensor

    def __init__(self, encoder: nn.Module, features: int, *, labels: int, dropout: float) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(features, 2 * labels))
        self.register_buffer("centre", torch.zeros(labels))
        self.register_buffer("scale", torch.ones(labels))
        self.register_buffer("ready", torch.tensor(False))

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return mean and logarithm of the variance of the standardized labels, each (B, n_labels), float32."""
        features = self.encoder.encode(images).image  # type: ignore[operator]
        with torch.autocast(images.device.type, enabled=False):
            mean, log_variance = self.head(features.float()).chunk(2, dim=1)
        return mean, log_variance.clamp(*LOG_VARIANCE)

    @torch.no_grad()
    def standardize(self, labels: torch.Tensor) -> torch.Tensor:
        """Return labels (B, n_labels) in units of the first batch's mean and spread."""
        gathered = all_gather(labels)
        known = gathered.isfinite()
        count = known.sum(dim=0).clamp(min=1)
        mean = torch.where(known, gathered, 0.0).sum(dim=0) / count
        spread = (torch.where(known, gathered - mean, 0.0).square().sum(dim=0) / count).sqrt()
        self.centre.copy_(torch.where(self.ready, self.centre, mean))
        self.scale.copy_(torch.where(self.ready, self.scale, torch.where(spread > 0, spread, 1.0)))
        self.ready.fill_(True)
        return (labels - self.centre) / self.scale


@dataclass(kw_only=True, eq=False)
class Supervised(PretrainingMethod):
    """Prediction of labels, trained end to end: the baseline for frozen features.

    The encoder's image vector, dropout and one linear layer give each label's mean and variance. The loss is the
    negative log likelihood of a normal distribution, ``(log s^2 + (y - m)^2 / s^2) / 2`` (Nix & Weigend 1994), or the
    squared error alone; unknown labels (NaN) are ignored. Images are rotated by right angles and flipped, because a
    mass does not depend on the orientation on the sky; the scale of the maps is not changed. Predictions are means over
    all these symmetries.

    Parameters
    ----------
    loss : {"gaussian", "mse"}
        Loss that is minimized.
    dropout : float
        Fraction of features that are dropped before the head.
    symmetries : bool
        Rotate and flip images.
    mirrored_channel : int or None
        Channel whose sign (about 0.5) is flipped for half of the images: the velocity, as seen from behind.
    gain, offset : float
        Limits of the stretch jitter, see `stellarfm.pretraining.methods.augmentations.Stretch`.
    noise : float
        Largest standard deviation of the added noise.
    clip : float
        Largest norm of the gradient; 0 switches clipping off.
    layer_decay, stem_rate : float
        See `stellarfm.pretraining.methods.parameter_groups`; below 1 for an encoder that is already trained.

    Examples
    --------
    >>> import torch
    >>> from stellarfm.encoders import ShallowResNet
    >>> from stellarfm.pretraining.methods import Supervised
    >>> method = Supervised(loss="mse")
    >>> method.accept_labels(("log mass",))
    >>> module = method.build(ShallowResNet(), image_size=32, total_steps=100)
    >>> views = method.views(torch.rand(4, 3, 32, 32), generator=torch.Generator().manual_seed(0))
    >>> sorted(method.losses(module, views, step=0, labels=torch.rand(4, 1)))
    ['loss', 'mse']
    """

    labelled = True

    loss: str = "gaussian"
    dropout: float = 0.1
    symmetries: bool = True
    mirrored_channel: int | None = None
    gain: float = 0.0
    offset: float = 0.0
    noise: float = 0.05
    clip: float = 1.0
    layer_decay: float = 1.0
    stem_rate: float = 1.0

    def __post_init__(self) -> None:
        self.stretch = augment.Stretch(self.gain, self.offset, 0.0)
        self.n_labels = 1

    def accept_labels(self, names: tuple[str, ...]) -> None:
        """Receive the names of the labels, all of which are learned."""
        self.n_labels = len(names)

    def build(self, encoder: Encoder, *, image_size: int, total_steps: int) -> SupervisedModule:
        """Return encoder and head; raise `PretrainingError` for options that do not fit."""
        if self.loss not in LOSSES:
            raise PretrainingError(f"loss is {self.loss!r}; expected one of {', '.join(LOSSES)}")
        if image_size % encoder.patch_size:
            raise PretrainingError(
                f"images of {image_size} pixels do not fit {type(encoder).__name__}; "
                f"expected a multiple of {encoder.patch_size}"
            )
        if self.mirrored_channel is not None and not 0 <= self.mirrored_channel < encoder.in_channels:
            raise PretrainingError(
                f"mirrored_channel is {self.mirrored_channel}; expected one of 0 to {encoder.in_channels - 1}"
            )
        assert isinstance(encoder, nn.Module)
        return SupervisedModule(encoder, encoder.embed_dim, labels=self.n_labels, dropout=self.dropout)

    def views(self, images: torch.Tensor, *, generator: torch.Generator) -> torch.Tensor:
        """Return one standardized view of each image, shape (B, C, size, size)."""
        if self.symmetries:
            images = augment.random_symmetry(images, generator=generator)
        if self.mirrored_channel is not None:
            images = augment.random_sign(images, self.mirrored_channel, generator=generator)
        view = augment.stretch(images, self.stretch, generator=generator)
        return augment.noise(view, level=self.noise, generator=generator) if self.noise else view

    def losses(
        self, module: nn.Module, views: torch.Tensor, *, step: int, labels: torch.Tensor | None = None
    ) -> dict[str, torch.Tensor]:
        """Return ``loss``, and ``mse``, the mean squared error in units of the labels."""
        assert isinstance(module, SupervisedModule)
        assert labels is not None
        mean, log_variance = module(views)
        known = labels.isfinite()
        error = (mean - torch.where(known, module.standardize(labels), 0.0)).square()
        per_label = error if self.loss == "mse" else 0.5 * (log_variance + error * torch.exp(-log_variance))
        squared = _mean_of_known(error.detach() * module.scale.square(), known)
        return {"loss": _mean_of_known(per_label, known), "mse": squared}

    @torch.no_grad()
    def predict(self, module: nn.Module, images: torch.Tensor) -> torch.Tensor:
        """Return predicted labels (B, n_labels) in the units of the dataset, as means over the symmetries."""
        assert isinstance(module, SupervisedModule)
        copies = augment.symmetries(images) if self.symmetries else [images]
        if self.mirrored_channel is not None:
            copies = [*copies, *(augment.flip_sign(copy, self.mirrored_channel) for copy in copies)]
        means = [module(augment.standardize(copy))[0] for copy in copies]
        return torch.stack(means).mean(dim=0) * module.scale + module.centre

    def encoder(self, module: nn.Module) -> Encoder:
        """Return the encoder without its head."""
        assert isinstance(module, SupervisedModule)
        return module.encoder  # type: ignore[return-value]

    def parameter_groups(self, module: nn.Module) -> list[dict[str, Any]]:
        """Return the parameter groups; see `stellarfm.pretraining.methods.parameter_groups`."""
        return parameter_groups(module, self.encoder(module), layer_decay=self.layer_decay, stem_rate=self.stem_rate)

    def before_optimizer(self, module: nn.Module, *, step: int) -> None:
        """Clip the gradient."""
        if self.clip:
            nn.utils.clip_grad_norm_(module.parameters(), self.clip)


def _mean_of_known(values: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """Return the sum over this process's known labels, scaled so that its mean over processes is the global mean."""
    count = all_reduce_sum(known.sum().float()).clamp(min=1.0) / rank_and_world_size()[1]
    return torch.where(known, values, 0.0).sum() / count
