"""From an encoder and a few labelled galaxies to a model: frozen heads, partial and full fine-tuning."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from stellarfm.encoders.batch_norm import calibrate_batch_norms
from stellarfm.exceptions import ModelError
from stellarfm.inference.encoding.frozen_encoder import FrozenEncoder
from stellarfm.pretraining.optimization import parameter_groups
from stellarfm_galaxyzoo.augmentations import Augmentation, view
from stellarfm_galaxyzoo.dirichlet import dirichlet_multinomial_loss
from stellarfm_galaxyzoo.dirichlet_calibration import Calibration
from stellarfm_galaxyzoo.exceptions import CatalogueError
from stellarfm_galaxyzoo.heads import concentrations_of
from stellarfm_galaxyzoo.model import GalaxyModel, ImageOptions, ImageSource, batches, features_of
from stellarfm_galaxyzoo.readout_heads import HEADS, LinearHead, cross_fit
from stellarfm_galaxyzoo.schema import Schema

__all__ = ["Subset", "Tuning", "draw_labels", "finetune"]

#: Share of the labelled galaxies that calibrate a fine-tuned model, and are not learnt from.
CALIBRATION_SHARE = 0.2


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """How an encoder is fine-tuned.

    Attributes
    ----------
    layers : int or None
        How many of its last layers learn; 0 leaves it frozen, None lets all of it learn.
    steps, batch_size : int
        Of AdamW.
    learning_rate : float
        Of the head and of the last layer; it falls as half a cosine.
    layer_decay : float
        Factor from each layer to the one before it.
    weight_decay : float
        Of the matrices.
    """

    layers: int | None = 0
    steps: int = 300
    batch_size: int = 32
    learning_rate: float = 3e-4
    layer_decay: float = 1.0
    weight_decay: float = 0.05

    def __post_init__(self) -> None:
        if (self.layers is not None and self.layers < 0) or self.steps < 1 or self.batch_size < 2:
            raise ModelError(
                f"layers is {self.layers}, steps {self.steps}, batch_size {self.batch_size}; "
                "expected at least 0, 1 and 2"
            )


@dataclass(frozen=True)
class Subset:
    """Some images of a source."""

    source: ImageSource
    rows: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    def image(self, index: int) -> np.ndarray:
        """Image number `index` of the subset."""
        return self.source.image(int(self.rows[index]))


def draw_labels(votes: np.ndarray, count: int | None, *, seed: int) -> np.ndarray:
    """Rows of `count` random galaxies among those with votes (all of them for None), in random order.

    Smaller budgets of the same seed are parts of larger ones.
    """
    rows = np.random.default_rng(seed).permutation(np.flatnonzero(votes.sum(axis=1) > 0))
    if len(rows) < max(count or 0, 4):
        raise CatalogueError(
            f"{len(rows)} galaxies have votes on these questions; {count or 'at least 4'} are asked for: check the "
            "names of the vote columns, or ask for fewer"
        )
    return rows[:count]


def finetune(
    images: ImageSource,
    votes: np.ndarray,
    schema: Schema,
    *,
    encoder: str | os.PathLike | FrozenEncoder,
    options: ImageOptions | None = None,
    head: str = "linear",
    tuning: Tuning | None = None,
    labels: int | None = None,
    seed: int = 0,
) -> GalaxyModel:
    """A model from galaxies with votes.

    With a frozen encoder, four folds of galaxies choose the penalty of a linear head and calibrate it, and the head
    learns from all. With fine-tuning, a fifth of the galaxies are kept to calibrate. On the others the batch norms
    that learn take their statistics, a linear head learns from the frozen encoder, and from there the tuning starts.

    Parameters
    ----------
    images : dataset or other source of images
        Of N galaxies.
    votes : array
        Shape (N, answers); galaxies without votes are passed over.
    schema : Schema
        The questions.
    encoder : str, path or FrozenEncoder
        The folder of a pretraining run, its weights, or a name of the registry: random weights.
    options : ImageOptions, optional
        How the model will read image files; the size and channels are those of `images`.
    head : {"linear", "knn"}
        Neighbours need a frozen encoder.
    tuning : Tuning, optional
        Frozen by default.
    labels : int, optional
        A budget: so many galaxies with votes, drawn by `seed`.
    seed : int
        Of that draw, of folds, of random weights and of the tuning.

    Raises
    ------
    CatalogueError
        If there are too few galaxies with votes.
    ModelError
        If options do not fit together or the encoder has no layers to tell apart.
    """
    tuning = tuning or Tuning()
    if head not in HEADS or (head == "knn" and tuning.layers != 0):
        raise ModelError(f"head is {head!r} with layers {tuning.layers}; expected 'linear', or 'knn' with 0 layers")
    rows = draw_labels(votes, labels, seed=seed)
    channels, size = images.image(int(rows[0])).shape[:2]
    options = options or ImageOptions(size=size, channels=channels)
    if not isinstance(encoder, FrozenEncoder):
        encoder = FrozenEncoder.resolve(encoder, image_size=size, seed=seed)
    _check_fit(encoder, size, channels)
    chosen, known = Subset(images, rows), votes[rows]
    if tuning.layers == 0:
        fitted, outside = cross_fit(head, features_of(encoder.module, chosen), known, schema, seed=seed)
        calibration = Calibration.fit(outside, known, schema)
    else:
        fitted, calibration = _tune(encoder.module, chosen, known, schema, tuning, seed)
    training = {"labels": len(rows), "head": head, "seed": seed, **_record(encoder, tuning)}
    return GalaxyModel(encoder, fitted, calibration, schema, options, training)


def _check_fit(encoder: FrozenEncoder, size: int, channels: int) -> None:
    module = encoder.module
    if module.in_channels != channels or size % module.patch_size:
        raise ModelError(
            f"images of {channels} channels and {size} pixels do not fit the encoder {encoder.name}; expected "
            f"{module.in_channels} channels and a multiple of {module.patch_size} pixels"
        )


def _record(encoder: FrozenEncoder, tuning: Tuning) -> dict[str, Any]:
    method = encoder.training.get("method", "none")
    frozen = {"tuned_layers": "all" if tuning.layers is None else tuning.layers, "pretraining": method}
    return frozen if tuning.layers == 0 else {**frozen, "steps": tuning.steps, "learning_rate": tuning.learning_rate}


def _tune(
    encoder: Any, images: ImageSource, votes: np.ndarray, schema: Schema, tuning: Tuning, seed: int
) -> tuple[LinearHead, Calibration]:
    """Fine-tune `encoder` in place; the head that goes with it, and its calibration."""
    kept = max(1, round(CALIBRATION_SHARE * len(votes)))
    calibrating, learning = np.arange(kept), np.arange(kept, len(votes))
    thaw(encoder, tuning.layers)
    calibrate_batch_norms(encoder, batches(Subset(images, learning), next(encoder.parameters()).device))
    start, _ = cross_fit("linear", features_of(encoder, Subset(images, learning)), votes[learning], schema, seed=seed)
    assert isinstance(start, LinearHead)
    head = _Head(start)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        _learn(encoder, head, Subset(images, learning), votes[learning], schema, tuning, seed)
    fitted = head.frozen()
    outside = fitted.predict(features_of(encoder, Subset(images, calibrating)))
    return fitted, Calibration.fit(outside, votes[calibrating], schema)


class _Head(nn.Module):
    """A `LinearHead` that learns."""

    def __init__(self, start: LinearHead) -> None:
        super().__init__()
        self.centre, self.scale = start.centre, start.scale
        self.linear = nn.Linear(start.weight.shape[1], start.weight.shape[0])
        self.linear.weight.data = torch.as_tensor(start.weight / start.scale, dtype=torch.float32)
        bias = start.bias - start.weight @ (start.centre / start.scale)
        self.linear.bias.data = torch.as_tensor(bias, dtype=torch.float32)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return concentrations_of(self.linear(features))

    def frozen(self) -> LinearHead:
        """The head as it is now, on features that are not standardised."""
        weight, bias = (tensor.detach().cpu().numpy() for tensor in (self.linear.weight, self.linear.bias))
        size = weight.shape[1]
        return LinearHead(np.zeros(size, np.float32), np.ones(size, np.float32), weight, bias)


def _learn(
    encoder: Any, head: _Head, images: ImageSource, votes: np.ndarray, schema: Schema, tuning: Tuning, seed: int
) -> None:
    """AdamW on views that keep the whole galaxy: turned, mirrored, slightly cropped."""
    thaw(encoder, tuning.layers)
    module = nn.ModuleDict({"encoder": encoder, "head": head})
    groups = parameter_groups(module, encoder, layer_decay=tuning.layer_decay)
    for group in groups:
        group |= {
            "lr": tuning.learning_rate * group["lr_scale"],
            "weight_decay": tuning.weight_decay * group["decay_scale"],
        }
    optimizer = torch.optim.AdamW(groups)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, tuning.steps)
    stack = torch.from_numpy(np.stack([images.image(index) for index in range(len(images))]))
    known, index = torch.as_tensor(votes, dtype=torch.float32), torch.as_tensor(schema.question_of)
    how = Augmentation(stack.shape[-1], (0.7, 1.0), (0.9, 1.1), 0.2, 0.5, 0.0)
    generator, rng = torch.Generator().manual_seed(seed), np.random.default_rng(seed)
    for _ in range(tuning.steps):
        rows = rng.choice(len(stack), size=min(tuning.batch_size, len(stack)), replace=False)
        concentrations = head(encoder.encode(view(stack[rows], how, generator=generator)).image)
        optimizer.zero_grad()
        dirichlet_multinomial_loss(concentrations, known[rows], index).mean().backward()
        nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    encoder.requires_grad_(True).eval()


def thaw(encoder: Any, layers: int | None) -> None:
    """Let the last `layers` layers learn (all for None); what is frozen keeps the statistics of its norms too.

    Raises
    ------
    ModelError
        If the encoder does not tell its layers apart, or has fewer.
    """
    encoder.train()
    encoder.requires_grad_(layers is None)
    if layers is None:
        return
    known: Sequence[list[nn.Parameter]] = encoder.layers()
    if len(known) < layers:
        raise ModelError(
            f"{type(encoder).__name__} has {len(known)} layers; expected at least {layers}: tune all of it, or none"
        )
    for parameter in (p for layer in known[len(known) - layers :] for p in layer):
        parameter.requires_grad_(True)
    for module in encoder.modules():
        own = list(module.parameters(recurse=False))
        if own and not any(p.requires_grad for p in own):
            module.eval()
