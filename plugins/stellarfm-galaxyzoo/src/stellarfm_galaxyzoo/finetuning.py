"""Models from an encoder and a few labelled galaxies: heads on a frozen encoder, partial and full fine-tuning."""

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

#: Fraction of the labelled galaxies that calibrate a fine-tuned model and are not used for training.
CALIBRATION_SHARE = 0.2


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """Options of the fine-tuning of an encoder.

    Attributes
    ----------
    layers : int or None
        Number of last layers to train: 0 leaves the encoder frozen, None trains all of it.
    steps : int
        Number of steps of AdamW.
    batch_size : int
        Number of galaxies per step.
    learning_rate : float
        Initial learning rate of the head and of the last layer; it follows half a cosine to zero.
    layer_decay : float
        Ratio of the learning rates of one layer and the next.
    weight_decay : float
        Weight decay of the matrices.
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
    """Images of a source with the given numbers."""

    source: ImageSource
    rows: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    def image(self, index: int) -> np.ndarray:
        """Return image number `index` of the subset."""
        return self.source.image(int(self.rows[index]))


def draw_labels(votes: np.ndarray, count: int | None, *, seed: int) -> np.ndarray:
    """Return the rows of `count` random galaxies with votes (all of them for None), in random order.

    With the same seed, a smaller draw is a part of a larger one.
    """
    rows = np.random.default_rng(seed).permutation(np.flatnonzero(votes.sum(axis=1) > 0))
    if len(rows) < max(count or 0, 4):
        raise CatalogueError(
            f"{len(rows)} galaxies have votes on these questions; expected {count or 'at least 4'}: check the names "
            "of the vote columns, or reduce labels"
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
    """Fit a model to galaxies with votes.

    With a frozen encoder, the penalty of a linear head is selected and its calibration fitted in four folds, and the
    head is fitted to all galaxies. With fine-tuning, a fifth of the galaxies are held out for the calibration. On the
    others the trainable batch norms are calibrated, a linear head is fitted to the frozen encoder, and fine-tuning
    starts from it.

    Parameters
    ----------
    images : dataset or other source of images
        Images of N galaxies.
    votes : array
        Numbers of votes, shape (N, answers); galaxies without votes are ignored.
    schema : Schema
        Questions of the answers.
    encoder : str, path or FrozenEncoder
        Folder of a pretraining run, weight file, or name in the registry (random weights).
    options : ImageOptions, optional
        Options with which the model reads image files; size and channels are those of `images`.
    head : {"linear", "knn"}
        Kind of head; ``"knn"`` requires a frozen encoder.
    tuning : Tuning, optional
        Options of the fine-tuning; the encoder is frozen by default.
    labels : int, optional
        Number of galaxies with votes to use, drawn with `seed`; all by default.
    seed : int
        Seed of that draw, of the folds, of random weights and of the fine-tuning.

    Returns
    -------
    GalaxyModel
        Fitted and calibrated model.

    Raises
    ------
    CatalogueError
        If too few galaxies have votes.
    ModelError
        If options contradict each other, or the encoder does not define layers.

    Examples
    --------
    >>> import numpy as np
    >>> from stellarfm_galaxyzoo import SyntheticSurvey, finetune
    >>> survey = SyntheticSurvey(size=16, count=12, labelled=1.0, schema=["rings"])
    >>> votes = np.stack([survey.label(index) for index in range(12)])
    >>> model = finetune(survey, votes, survey.schema, encoder="dinov2-vit-nano8", head="knn")
    >>> model.concentrations(survey).shape
    (12, 2)
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
    drawn, drawn_votes = Subset(images, rows), votes[rows]
    if tuning.layers == 0:
        fitted, held_out = cross_fit(head, features_of(encoder.module, drawn), drawn_votes, schema, seed=seed)
        calibration = Calibration.fit(held_out, drawn_votes, schema)
    else:
        fitted, calibration = _tune(encoder.module, drawn, drawn_votes, schema, tuning, seed)
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
    """Fine-tune `encoder` in place; return its head and the calibration."""
    kept = max(1, round(CALIBRATION_SHARE * len(votes)))
    calibrating, learning = np.arange(kept), np.arange(kept, len(votes))
    thaw(encoder, tuning.layers)
    calibrate_batch_norms(encoder, batches(Subset(images, learning), next(encoder.parameters()).device))
    start, _ = cross_fit("linear", features_of(encoder, Subset(images, learning)), votes[learning], schema, seed=seed)
    assert isinstance(start, LinearHead)
    head = _TrainableHead(start)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        _learn(encoder, head, Subset(images, learning), votes[learning], schema, tuning, seed)
    fitted = head.to_linear_head()
    held_out = fitted.predict(features_of(encoder, Subset(images, calibrating)))
    return fitted, Calibration.fit(held_out, votes[calibrating], schema)


class _TrainableHead(nn.Module):
    """`LinearHead` as a module with trainable parameters."""

    def __init__(self, start: LinearHead) -> None:
        super().__init__()
        self.linear = nn.Linear(start.weight.shape[1], start.weight.shape[0])
        self.linear.weight.data = torch.as_tensor(start.weight / start.scale, dtype=torch.float32)
        bias = start.bias - start.weight @ (start.center / start.scale)
        self.linear.bias.data = torch.as_tensor(bias, dtype=torch.float32)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return concentrations_of(self.linear(features))

    def to_linear_head(self) -> LinearHead:
        """Return the head with its present weights, for features that are not standardized."""
        weight, bias = (tensor.detach().cpu().numpy() for tensor in (self.linear.weight, self.linear.bias))
        size = weight.shape[1]
        return LinearHead(np.zeros(size, np.float32), np.ones(size, np.float32), weight, bias)


def _learn(
    encoder: Any,
    head: _TrainableHead,
    images: ImageSource,
    votes: np.ndarray,
    schema: Schema,
    tuning: Tuning,
    seed: int,
) -> None:
    """Train with AdamW on views that show the whole galaxy: rotated, mirrored, slightly cropped."""
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
    targets, index = torch.as_tensor(votes, dtype=torch.float32), torch.as_tensor(schema.question_of)
    augmentation = Augmentation(stack.shape[-1], (0.7, 1.0), (0.9, 1.1), 0.2, 0.5, 0.0)
    generator, rng = torch.Generator().manual_seed(seed), np.random.default_rng(seed)
    for _ in range(tuning.steps):
        rows = rng.choice(len(stack), size=min(tuning.batch_size, len(stack)), replace=False)
        concentrations = head(encoder.encode(view(stack[rows], augmentation, generator=generator)).image)
        optimizer.zero_grad()
        dirichlet_multinomial_loss(concentrations, targets[rows], index).mean().backward()
        nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    encoder.requires_grad_(True).eval()


def thaw(encoder: Any, layers: int | None) -> None:
    """Make the last `layers` layers trainable (all for None); frozen batch norms also keep their statistics.

    Raises
    ------
    ModelError
        If the encoder has fewer layers, or does not define any.
    """
    encoder.train()
    encoder.requires_grad_(layers is None)
    if layers is None:
        return
    known_layers: Sequence[list[nn.Parameter]] = encoder.layers()
    if len(known_layers) < layers:
        raise ModelError(
            f"{type(encoder).__name__} has {len(known_layers)} layers; expected at least {layers}: train all of it, "
            "or none"
        )
    for parameter in (p for layer in known_layers[len(known_layers) - layers :] for p in layer):
        parameter.requires_grad_(True)
    for module in encoder.modules():
        own = list(module.parameters(recurse=False))
        if own and not any(p.requires_grad for p in own):
            module.eval()
