"""The method `byol-hybrid`: BYOL on all galaxies, and a Dirichlet-multinomial loss on those with votes."""

from __future__ import annotations

import copy
from collections.abc import Sequence
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
    """Mean negative cosine similarity of predictions (B, D) and targets (B, D), in [-1, 1]; no gradient to targets.

    Grill et al. 2020 (arXiv:2006.07733), equation 2, up to ``2 + 2 x``.
    """
    return -functional.cosine_similarity(predicted.float(), target.detach().float(), dim=1).mean()


def hybrid_weight(
    contrastive: torch.Tensor, supervised: torch.Tensor, *, weight: float, ratio: bool, floor: float
) -> torch.Tensor:
    """Weight of the supervised loss in the sum, ``lambda stopgrad(|L_contrastive| / L_supervised)``.

    ``|L_contrastive|`` counts as at least `floor`: it passes zero early in a run, which would switch the supervised
    part off there. A batch without votes has ``L_supervised = 0`` and gets the weight zero, in place of 0 / 0.
    """
    if not ratio:
        return torch.full_like(supervised, weight)
    supervised = supervised.detach()
    size = contrastive.detach().abs().clamp(min=floor)
    return torch.where(supervised > 0, weight * size / supervised.clamp(min=1e-12), torch.zeros_like(supervised))


class Branch(nn.Module):
    """An encoder and a projector."""

    def __init__(self, encoder: nn.Module, projector: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.projector = projector

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Representations (B, F) and projections (B, D)."""
        features = self.encoder.encode(images).image  # type: ignore[operator]
        return features, self.projector(features)


class HybridModule(nn.Module):
    """Online and target network, predictor and head: everything that a checkpoint must hold.

    The target's batch norms use the statistics of the batch, as those of the online network do.
    """

    def __init__(self, online: Branch, predictor: nn.Module, votes: nn.Module | None) -> None:
        super().__init__()
        self.online = online
        self.target = copy.deepcopy(online).requires_grad_(False)
        self.predictor = predictor
        self.votes = votes

    @torch.no_grad()
    def move_target(self, momentum: float) -> None:
        """Moving average ``target <- m target + (1 - m) online`` of the parameters."""
        torch._foreach_lerp_(list(self.target.parameters()), list(self.online.parameters()), 1.0 - momentum)


class ByolHybrid(PretrainingMethod):
    """Hybrid contrastive learning (Walmsley et al. 2022, arXiv:2206.11927).

    ``L = L_contrastive + lambda stopgrad(|L_contrastive| / L_supervised) L_supervised``, where L_contrastive is BYOL's
    loss of two views of every galaxy, and L_supervised the negative log probability of the votes, from a head on the
    representation of the first view, averaged over the galaxies with votes. The four arms are configurations:

    - hybrid: the defaults;
    - contrastive: ``supervised = false``;
    - pretrained: ``contrastive = false`` on the votes of all campaigns;
    - direct: ``contrastive = false`` on the labels of the task itself, from scratch.

    The authors left their learning rate and lambda unsaid.

    Parameters
    ----------
    contrastive, supervised : bool
        Which of the two losses there are.
    supervised_weight : float
        lambda.
    ratio : bool
        Scale the supervised loss to the size of the contrastive one; without it, lambda alone weighs it. Without a
        contrastive loss there is nothing to scale to, and lambda alone weighs it too.
    ratio_floor : float
        Least size that the contrastive loss counts as in the ratio, see `hybrid_weight`.
    head_on : {"representation", "projection"}
        What the head of the votes sees.
    dropout : float
        Of that head.
    hidden, projection : int
        Widths of projector and predictor.
    momentum : float
        Of the target network.
    view_size : int, optional
        Side of a view in pixels; by default that of the images.
    area, aspect, jitter, jitter_share, grey_share
        See `stellarfm_galaxyzoo.augmentations.Augmentation`.
    layer_decay : float
        Factor on the learning rate from each layer of the encoder to the one before it; 1 switches it off.
    """

    example_labels: ClassVar[tuple[str, ...]] = ("ring_yes", "ring_no")

    def __init__(
        self,
        *,
        contrastive: bool = True,
        supervised: bool = True,
        supervised_weight: float = 1.0,
        ratio: bool = True,
        ratio_floor: float = 0.1,
        head_on: str = "representation",
        dropout: float = 0.2,
        hidden: int = 1024,
        projection: int = 256,
        momentum: float = 0.99,
        view_size: int | None = None,
        area: Sequence[float] = (0.3, 0.85),
        aspect: Sequence[float] = (0.8, 1.2),
        jitter: float = 0.4,
        jitter_share: float = 0.8,
        grey_share: float = 0.3,
        layer_decay: float = 1.0,
    ) -> None:
        if not (contrastive or supervised):
            raise PretrainingError("neither contrastive nor supervised: nothing is to be learnt; set one of them true")
        if head_on not in POSITIONS:
            raise PretrainingError(f"head_on is {head_on!r}; expected one of {', '.join(POSITIONS)}")
        if not supervised_weight >= 0 or not ratio_floor > 0 or not 0 <= momentum <= 1:
            raise PretrainingError(
                f"supervised_weight is {supervised_weight}, ratio_floor {ratio_floor}, momentum {momentum}; expected "
                "at least 0, more than 0, and a share between 0 and 1"
            )
        self.contrastive = contrastive
        self.labelled = supervised
        self.supervised_weight = supervised_weight
        self.ratio = ratio and contrastive
        self.ratio_floor = ratio_floor
        self.head_on = head_on
        self.dropout = dropout
        self.hidden = hidden
        self.projection = projection
        self.momentum = momentum
        self.view_size = view_size
        self.colours = (jitter, jitter_share, grey_share)
        self.area, self.aspect = _range("area", area, 1.0), _range("aspect", aspect, 100.0)
        self.layer_decay = layer_decay
        self.question_of: list[int] = []

    def accept_labels(self, names: tuple[str, ...]) -> None:
        """Learn from the names of the votes which of them answer one question."""
        self.question_of = question_numbers(names)

    def build(self, encoder: Encoder, *, image_size: int, total_steps: int) -> HybridModule:
        """Online and target network around `encoder`, and the head of the votes where there are any.

        The head comes last, so that the weights of the others do not depend on whether there is one.
        """
        size = self.view_size or image_size
        if size % encoder.patch_size:
            raise PretrainingError(
                f"views of {size} pixels do not fit {type(encoder).__name__}; set view_size to a multiple of "
                f"{encoder.patch_size}"
            )
        if self.layer_decay != 1.0 and not encoder.layers():
            raise PretrainingError(f"{type(encoder).__name__} does not tell its layers apart; set layer_decay = 1")
        self.augmentation = Augmentation(size, self.area, self.aspect, *self.colours)
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
        """Two views of images (B, C, size, size) in [0, 1]."""
        first, second = (view(images, self.augmentation, generator=generator) for _ in range(2))
        return Views(first, second)

    def losses(
        self, module: nn.Module, views: Views, *, step: int, labels: torch.Tensor | None = None
    ) -> dict[str, torch.Tensor]:
        """``loss``, its parts ``contrastive`` and ``supervised``, the ``weight`` of the latter, and monitors.

        `labels` (B, answers) are votes; NaN is none.
        """
        assert isinstance(module, HybridModule)
        features, projected = module.online(views.first)
        parts: dict[str, torch.Tensor] = {}
        if self.contrastive:
            parts["contrastive"] = self._contrastive(module, projected, views)
        if module.votes is not None and labels is not None:
            seen = features if self.head_on == "representation" else projected
            parts["supervised"] = self._supervised(module.votes(seen), labels)
        return {"loss": self._total(parts, features, step), **parts, **self._watched(features)}

    def _contrastive(self, module: HybridModule, projected: torch.Tensor, views: Views) -> torch.Tensor:
        """BYOL's loss, symmetrised."""
        _, other = module.online(views.second)
        with torch.no_grad():
            targets = [module.target(images)[1] for images in views]
        forth = byol_loss(module.predictor(projected), targets[1])
        back = byol_loss(module.predictor(other), targets[0])
        return 0.5 * (forth + back)

    def _supervised(self, concentrations: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Mean over the galaxies with votes, of all devices together; zero if there are none."""
        votes = torch.nan_to_num(labels, nan=0.0)
        index = torch.tensor(self.question_of, device=votes.device)
        each = dirichlet_multinomial_loss(concentrations, votes, index)
        voted = all_reduce_mean({"n": (votes.sum(dim=1) > 0).sum().float()})["n"]
        return each.sum() / voted.clamp(min=1.0 / rank_and_world_size()[1])

    def _total(self, parts: dict[str, torch.Tensor], features: torch.Tensor, step: int) -> torch.Tensor:
        """The sum that is minimised; adds the weight of the supervised part to `parts`."""
        if "supervised" not in parts:
            return parts["contrastive"] if self.contrastive else features.sum() * 0.0
        if not self.contrastive:
            return self.supervised_weight * parts["supervised"]
        known = all_reduce_mean({name: value.detach() for name, value in parts.items()})
        parts["weight"] = hybrid_weight(
            known["contrastive"],
            known["supervised"],
            weight=self.supervised_weight,
            ratio=self.ratio,
            floor=self.ratio_floor,
        )
        return parts["contrastive"] + parts["weight"] * parts["supervised"]

    def _watched(self, features: torch.Tensor) -> dict[str, torch.Tensor]:
        """Monitors of collapse; a purely supervised run may rightly use few dimensions, and is not judged."""
        if not self.contrastive:
            return {}
        everywhere = all_gather(features.detach())
        return {"spread": feature_spread(everywhere), "rank": effective_rank(everywhere)}

    def encoder(self, module: nn.Module) -> Encoder:
        """The online network's encoder."""
        assert isinstance(module, HybridModule)
        return module.online.encoder  # type: ignore[return-value]

    def parameter_groups(self, module: nn.Module) -> list[dict[str, Any]]:
        """Groups of one rate and one decay each; see `stellarfm.pretraining.optimization`."""
        return parameter_groups(module, self.encoder(module), layer_decay=self.layer_decay)

    def after_step(self, module: nn.Module, *, step: int) -> None:
        """Move the target network."""
        assert isinstance(module, HybridModule)
        if self.contrastive:
            module.move_target(self.momentum)


def _range(name: str, values: Sequence[float], most: float) -> tuple[float, float]:
    """Two rising positive numbers, or `PretrainingError`."""
    if len(values) != 2 or not 0 < values[0] <= values[1] <= most:
        raise PretrainingError(f"{name} is {values!r}; expected two rising numbers between 0 and {most:g}")
    return float(values[0]), float(values[1])
