"""The method `byol-hybrid`: BYOL on all galaxies and a Dirichlet-multinomial loss on galaxies with votes."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import torch
from torch import nn
from torch.nn import functional

from stellarfm.contracts import Encoder, PretrainingMethod
from stellarfm.exceptions import PretrainingError
from stellarfm.pretraining.diagnostics import effective_rank, feature_spread
from stellarfm.pretraining.distributed.collectives import all_gather, all_reduce_mean, rank_and_world_size
from stellarfm.pretraining.optimization import parameter_groups
from stellarfm_galaxyzoo.augmentations import Augmentation, view
from stellarfm_galaxyzoo.dirichlet import dirichlet_multinomial_loss
from stellarfm_galaxyzoo.heads import VoteHead, mlp
from stellarfm_galaxyzoo.vote_columns import question_numbers

__all__ = ["ByolHybrid", "HybridModule", "Views", "byol_loss", "hybrid_weight"]

POSITIONS = ("representation", "projection")


class Views(NamedTuple):
    """Two views of each image, (B, C, size, size) each."""

    first: torch.Tensor
    second: torch.Tensor


def byol_loss(predicted: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return the mean negative cosine similarity of predictions and targets, both (B, D), in [-1, 1].

    Targets receive no gradient. With the returned value x, ``2 + 2 x`` is equation 2 of Grill et al. 2020
    (arXiv:2006.07733).
    """
    return -functional.cosine_similarity(predicted.float(), target.detach().float(), dim=1).mean()


def hybrid_weight(
    contrastive: torch.Tensor, supervised: torch.Tensor, *, weight: float, ratio: bool, floor: float
) -> torch.Tensor:
    """Return the weight of the supervised loss, ``lambda stopgrad(|L_contrastive| / L_supervised)``.

    ``|L_contrastive|`` is replaced by `floor` where it is smaller: it passes zero early in a run, which would disable
    the supervised part. A batch without votes has ``L_supervised = 0`` and the weight zero instead of 0 / 0.
    """
    if not ratio:
        return torch.full_like(supervised, weight)
    supervised = supervised.detach()
    size = contrastive.detach().abs().clamp(min=floor)
    return torch.where(supervised > 0, weight * size / supervised.clamp(min=1e-12), torch.zeros_like(supervised))


class Branch(nn.Module):
    """Encoder and projector of one of the two networks."""

    def __init__(self, encoder: nn.Module, projector: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.projector = projector

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return representations (B, F) and projections (B, D)."""
        features = self.encoder.encode(images).image  # type: ignore[operator]
        return features, self.projector(features)


class HybridModule(nn.Module):
    """Online and target network, predictor and head of the votes: the whole state of a checkpoint.

    The batch norms of the target network use the statistics of the batch, like those of the online network.
    """

    def __init__(self, online: Branch, predictor: nn.Module, votes: nn.Module | None) -> None:
        super().__init__()
        self.online = online
        self.target = copy.deepcopy(online).requires_grad_(False)
        self.predictor = predictor
        self.votes = votes

    @torch.no_grad()
    def move_target(self, momentum: float) -> None:
        """Update the parameters, ``target <- m target + (1 - m) online``."""
        torch._foreach_lerp_(list(self.target.parameters()), list(self.online.parameters()), 1.0 - momentum)


@dataclass(kw_only=True, eq=False)
class ByolHybrid(PretrainingMethod):
    """Hybrid contrastive learning (Walmsley et al. 2022, arXiv:2206.11927).

    ``L = L_contrastive + lambda stopgrad(|L_contrastive| / L_supervised) L_supervised``, where L_contrastive is the
    loss of BYOL for two views of every galaxy, and L_supervised the negative log probability of the votes, predicted by
    a head from the first view and averaged over the galaxies with votes. The four arms of the paper are configurations:

    - hybrid: the defaults;
    - contrastive: ``supervised = false``;
    - pretrained: ``contrastive = false`` on the votes of all campaigns;
    - direct: ``contrastive = false`` on the labels of the task itself, from scratch.

    The paper does not state its learning rate and lambda.

    Parameters
    ----------
    contrastive : bool
        Use of the contrastive loss.
    supervised : bool
        Use of the supervised loss.
    supervised_weight : float
        Weight lambda of the supervised loss.
    ratio : bool
        Scaling of the supervised loss to the size of the contrastive one. If it is false, or without a contrastive
        loss, the weight is lambda alone.
    ratio_floor : float
        Lower limit of the contrastive loss in the ratio, see `hybrid_weight`.
    head_on : {"representation", "projection"}
        Input of the head of the votes.
    dropout : float
        Dropout rate of the head of the votes.
    hidden : int
        Width of the hidden layer of projector and predictor.
    projection : int
        Length of a projection.
    momentum : float
        Momentum of the moving average of the target network.
    view_size : int, optional
        Side of a view in pixels; that of the images by default.
    area : sequence of float
        Range of the fraction of the image area, see `stellarfm_galaxyzoo.augmentations.Augmentation`.
    aspect : sequence of float
        Range of the aspect ratio of a view.
    jitter : float
        Strength of the change of colors.
    jitter_share : float
        Fraction of the views with changed colors.
    grey_share : float
        Fraction of the views in grayscale.
    layer_decay : float
        Ratio of the learning rates of one layer of the encoder and the next; 1 disables it.

    Raises
    ------
    PretrainingError
        If the options are invalid or contradict each other.

    Examples
    --------
    >>> from stellarfm_galaxyzoo import ByolHybrid
    >>> ByolHybrid(contrastive=False).labelled
    True
    """

    contrastive: bool = True
    supervised: bool = True
    supervised_weight: float = 1.0
    ratio: bool = True
    ratio_floor: float = 0.1
    head_on: str = "representation"
    dropout: float = 0.2
    hidden: int = 1024
    projection: int = 256
    momentum: float = 0.99
    view_size: int | None = None
    area: Sequence[float] = (0.3, 0.85)
    aspect: Sequence[float] = (0.8, 1.2)
    jitter: float = 0.4
    jitter_share: float = 0.8
    grey_share: float = 0.3
    layer_decay: float = 1.0
    question_of: list[int] = field(init=False, default_factory=list)
    example_labels: ClassVar[tuple[str, ...]] = ("ring_yes", "ring_no")

    def __post_init__(self) -> None:
        if not (self.contrastive or self.supervised):
            raise PretrainingError("contrastive and supervised are both false; set at least one of them to true")
        if self.head_on not in POSITIONS:
            raise PretrainingError(f"head_on is {self.head_on!r}; expected one of {', '.join(POSITIONS)}")
        if not self.supervised_weight >= 0 or not self.ratio_floor > 0 or not 0 <= self.momentum <= 1:
            raise PretrainingError(
                f"supervised_weight is {self.supervised_weight}, ratio_floor {self.ratio_floor}, momentum "
                f"{self.momentum}; expected at least 0, more than 0, and a value between 0 and 1"
            )
        self.labelled = self.supervised
        self.ratio = self.ratio and self.contrastive
        self.area = _validate_range("area", self.area, 1.0)
        self.aspect = _validate_range("aspect", self.aspect, 100.0)

    def accept_labels(self, names: tuple[str, ...]) -> None:
        """Derive the question of each vote from the label names."""
        self.question_of = question_numbers(names)

    def build(self, encoder: Encoder, *, image_size: int, total_steps: int) -> HybridModule:
        """Return online and target network around `encoder`, with a head of the votes if there are votes.

        The head is made last, so that the initial weights of the other parts do not depend on its presence.
        """
        size = self.view_size or image_size
        if size % encoder.patch_size:
            raise PretrainingError(
                f"views of {size} pixels do not fit {type(encoder).__name__}; set view_size to a multiple of "
                f"{encoder.patch_size}"
            )
        if self.layer_decay != 1.0 and not encoder.layers():
            raise PretrainingError(f"{type(encoder).__name__} does not define layers; set layer_decay = 1")
        self.augmentation = Augmentation(size, self.area, self.aspect, self.jitter, self.jitter_share, self.grey_share)
        online = Branch(encoder, mlp(encoder.embed_dim, self.hidden, self.projection))  # type: ignore[arg-type]
        predictor = mlp(self.projection, self.hidden, self.projection)
        module = HybridModule(online, predictor, None)
        if self.labelled and self.question_of:
            features = encoder.embed_dim if self.head_on == "representation" else self.projection
            module.votes = VoteHead(features, len(self.question_of), dropout=self.dropout)
        if not self.contrastive:
            idle = [module.predictor] if self.head_on == "projection" else [module.predictor, online.projector]
            for part in idle:
                part.requires_grad_(False)
        return module

    def views(self, images: torch.Tensor, *, generator: torch.Generator) -> Views:
        """Return two views of images (B, C, size, size) in [0, 1]."""
        first, second = (view(images, self.augmentation, generator=generator) for _ in range(2))
        return Views(first, second)

    def losses(
        self, module: nn.Module, views: Views, *, step: int, labels: torch.Tensor | None = None
    ) -> dict[str, torch.Tensor]:
        """Return ``loss``, its parts ``contrastive`` and ``supervised``, the ``weight`` of the latter, and diagnostics.

        `labels` (B, answers) are votes; NaN counts as no vote.
        """
        assert isinstance(module, HybridModule)
        features, projected = module.online(views.first)
        parts: dict[str, torch.Tensor] = {}
        if self.contrastive:
            parts["contrastive"] = self._contrastive(module, projected, views)
        if module.votes is not None and labels is not None:
            inputs = features if self.head_on == "representation" else projected
            parts["supervised"] = self._supervised(module.votes(inputs), labels)
        return {"loss": self._total(parts, features, step), **parts, **self._diagnostics(features)}

    def _contrastive(self, module: HybridModule, projected: torch.Tensor, views: Views) -> torch.Tensor:
        """Return the symmetrized loss of BYOL."""
        _, other = module.online(views.second)
        with torch.no_grad():
            targets = [module.target(images)[1] for images in views]
        first = byol_loss(module.predictor(projected), targets[1])
        second = byol_loss(module.predictor(other), targets[0])
        return 0.5 * (first + second)

    def _supervised(self, concentrations: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Return the mean over the galaxies with votes on all devices; zero if there are none."""
        votes = torch.nan_to_num(labels, nan=0.0)
        index = torch.tensor(self.question_of, device=votes.device)
        losses = dirichlet_multinomial_loss(concentrations, votes, index)
        voted = all_reduce_mean({"n": (votes.sum(dim=1) > 0).sum().float()})["n"]
        return losses.sum() / voted.clamp(min=1.0 / rank_and_world_size()[1])

    def _total(self, parts: dict[str, torch.Tensor], features: torch.Tensor, step: int) -> torch.Tensor:
        """Return the sum that is minimized, and add the weight of the supervised part to `parts`."""
        if "supervised" not in parts:
            return parts["contrastive"] if self.contrastive else features.sum() * 0.0
        if not self.contrastive:
            return self.supervised_weight * parts["supervised"]
        means = all_reduce_mean({name: value.detach() for name, value in parts.items()})
        parts["weight"] = hybrid_weight(
            means["contrastive"],
            means["supervised"],
            weight=self.supervised_weight,
            ratio=self.ratio,
            floor=self.ratio_floor,
        )
        return parts["contrastive"] + parts["weight"] * parts["supervised"]

    def _diagnostics(self, features: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return diagnostics of collapse; none for a supervised run, which may use few dimensions without collapse."""
        if not self.contrastive:
            return {}
        features = all_gather(features.detach())
        return {"spread": feature_spread(features), "rank": effective_rank(features)}

    def encoder(self, module: nn.Module) -> Encoder:
        """Return the encoder of the online network."""
        assert isinstance(module, HybridModule)
        return module.online.encoder  # type: ignore[return-value]

    def parameter_groups(self, module: nn.Module) -> list[dict[str, Any]]:
        """Return groups of parameters with one learning rate and one weight decay each."""
        return parameter_groups(module, self.encoder(module), layer_decay=self.layer_decay)

    def after_step(self, module: nn.Module, *, step: int) -> None:
        """Update the target network."""
        assert isinstance(module, HybridModule)
        if self.contrastive:
            module.move_target(self.momentum)


def _validate_range(name: str, values: Sequence[float], most: float) -> tuple[float, float]:
    """Return two increasing positive numbers, or raise `PretrainingError`."""
    if len(values) != 2 or not 0 < values[0] <= values[1] <= most:
        raise PretrainingError(f"{name} is {values!r}; expected two increasing numbers between 0 and {most:g}")
    return float(values[0]), float(values[1])
