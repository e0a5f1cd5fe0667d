"""The method `supervised`: an encoder and a linear head learn labels from end to end."""

from __future__ import annotations

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
#: Limits of the logarithm of a predicted variance, in units of the labels' own: far outside what data support.
LOG_VARIANCE = (-9.0, 3.0)


class SupervisedModule(nn.Module):
    """Encoder and head; predictions are in units of the first batch's labels, whose mean and spread are kept here."""

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
        """Mean and logarithm of the variance, each (B, labels) in float32, of standardised labels."""
        features = self.encoder.encode(images).image  # type: ignore[operator]
        with torch.autocast(images.device.type, enabled=False):
            mean, log_variance = self.head(features.float()).chunk(2, dim=1)
        return mean, log_variance.clamp(*LOG_VARIANCE)

    @torch.no_grad()
    def standardise(self, labels: torch.Tensor) -> torch.Tensor:
        """Labels (B, labels) in units of the first batch's."""
        everyone = all_gather(labels)
        known = everyone.isfinite()
        count = known.sum(dim=0).clamp(min=1)
        mean = torch.where(known, everyone, 0.0).sum(dim=0) / count
        spread = (torch.where(known, everyone - mean, 0.0).square().sum(dim=0) / count).sqrt()
        self.centre.copy_(torch.where(self.ready, self.centre, mean))
        self.scale.copy_(torch.where(self.ready, self.scale, torch.where(spread > 0, spread, 1.0)))
        self.ready.fill_(True)
        return (labels - self.centre) / self.scale


class Supervised(PretrainingMethod):
    """Labels from images, end to end: the baseline that frozen features are to be measured against.

    The encoder's image vector, dropout and one linear layer give each label's mean and variance. The loss is the
    negative log likelihood of a normal distribution, ``(log s^2 + (y - m)^2 / s^2) / 2`` (Nix & Weigend 1994), or the
    squared error alone; unknown labels (NaN) do not count. Images are turned by right angles and flipped: a mass does
    not depend on the orientation on the sky, but on the scale of the maps, which is never changed. Predictions are
    means over all these symmetries.

    Parameters
    ----------
    loss : {"gaussian", "mse"}
        What is minimised.
    dropout : float
        Share of features that are dropped before the head.
    symmetries : bool
        Turn and flip images.
    mirrored_channel : int or None
        Channel whose sign (about 0.5) is turned for half of the images: the velocity of a map, seen from behind.
    gain, offset : float
        Limits of the stretch jitter, see `stellarfm.pretraining.methods.augmentations.Stretch`.
    noise : float
        Largest standard deviation of the added noise.
    clip : float
        Largest norm of the gradient; 0 switches clipping off.
    layer_decay, stem_rate : float
        See `stellarfm.pretraining.optimization.parameter_groups`; below 1 for an encoder that is already trained.
    """

    labelled = True

    def __init__(
        self,
        *,
        loss: str = "gaussian",
        dropout: float = 0.1,
        symmetries: bool = True,
        mirrored_channel: int | None = None,
        gain: float = 0.0,
        offset: float = 0.0,
        noise: float = 0.05,
        clip: float = 1.0,
        layer_decay: float = 1.0,
        stem_rate: float = 1.0,
    ) -> None:
        self.loss = loss
        self.dropout = dropout
        self.symmetries = symmetries
        self.mirrored_channel = mirrored_channel
        self.stretch = augment.Stretch(gain, offset, 0.0)
        self.noise = noise
        self.clip = clip
        self.layer_decay = layer_decay
        self.stem_rate = stem_rate
        self.n_labels = 1

    def accept_labels(self, names: tuple[str, ...]) -> None:
        """All of them are learnt."""
        self.n_labels = len(names)

    def build(self, encoder: Encoder, *, image_size: int, total_steps: int) -> SupervisedModule:
        """Encoder and head; checks that the options fit."""
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
        """One view of each image, standardised, shape (B, C, size, size)."""
        if self.symmetries:
            images = augment.turn(images, generator=generator)
        if self.mirrored_channel is not None:
            images = augment.mirror(images, self.mirrored_channel, generator=generator)
        view = augment.stretch(images, self.stretch, generator=generator)
        return augment.noise(view, level=self.noise, generator=generator) if self.noise else view

    def losses(
        self, module: nn.Module, views: torch.Tensor, *, step: int, labels: torch.Tensor | None = None
    ) -> dict[str, torch.Tensor]:
        """``loss``, and ``mse``: the squared error in units of the labels."""
        assert isinstance(module, SupervisedModule)
        assert labels is not None
        mean, log_variance = module(views)
        known = labels.isfinite()
        error = (mean - torch.where(known, module.standardise(labels), 0.0)).square()
        per_label = error if self.loss == "mse" else 0.5 * (log_variance + error * torch.exp(-log_variance))
        squared = _mean_of_known(error.detach() * module.scale.square(), known)
        return {"loss": _mean_of_known(per_label, known), "mse": squared}

    @torch.no_grad()
    def predict(self, module: nn.Module, images: torch.Tensor) -> torch.Tensor:
        """Labels (B, labels) of images in the datasets' units, as means over the symmetries that were trained on."""
        assert isinstance(module, SupervisedModule)
        copies = augment.all_turns(images) if self.symmetries else [images]
        if self.mirrored_channel is not None:
            copies = [*copies, *(augment.mirrored(copy, self.mirrored_channel) for copy in copies)]
        means = [module(augment.standardise(copy))[0] for copy in copies]
        return torch.stack(means).mean(dim=0) * module.scale + module.centre

    def encoder(self, module: nn.Module) -> Encoder:
        """The encoder without its head."""
        assert isinstance(module, SupervisedModule)
        return module.encoder  # type: ignore[return-value]

    def parameter_groups(self, module: nn.Module) -> list[dict[str, Any]]:
        """Groups of one rate and one decay each; see `stellarfm.pretraining.optimization`."""
        return parameter_groups(module, self.encoder(module), layer_decay=self.layer_decay, stem_rate=self.stem_rate)

    def before_optimizer(self, module: nn.Module, *, step: int) -> None:
        """Clip the gradient."""
        if self.clip:
            nn.utils.clip_grad_norm_(module.parameters(), self.clip)


def _mean_of_known(values: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """Mean over the known labels of all processes, times the share that is this process's: means of it add up."""
    count = all_reduce_sum(known.sum().float()).clamp(min=1.0) / rank_and_world_size()[1]
    return torch.where(known, values, 0.0).sum() / count
