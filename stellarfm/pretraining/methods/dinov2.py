"""Pretraining method `dinov2`: self-distillation of class tokens and of hidden patches."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from stellarfm.contracts import Encoder, Features, PretrainingMethod
from stellarfm.exceptions import PretrainingError
from stellarfm.pretraining.diagnostics import effective_rank, entropy, feature_spread
from stellarfm.pretraining.distributed.collectives import all_gather
from stellarfm.pretraining.distributed.random import n_devices, own_share
from stellarfm.pretraining.methods import augmentations as augment
from stellarfm.pretraining.methods.centering import MovingMeanCentering, SinkhornCentering
from stellarfm.pretraining.methods.heads import PrototypeHead
from stellarfm.pretraining.methods.losses import dino_loss, ibot_loss, koleo_loss
from stellarfm.pretraining.methods.masks import block_masks
from stellarfm.pretraining.optimization import cosine, linear, parameter_groups

__all__ = ["DinoV2", "DinoV2Module", "Views"]


class Views(NamedTuple):
    """Views of B images: two global and L local crops of each.

    Attributes
    ----------
    large, small : torch.Tensor
        Global crops, shape (2 B, C, global_size, global_size), and local crops, (L B, C, local_size, local_size), view
        by view.
    mask : torch.Tensor
        Hidden patches of the global crops, boolean, shape (2 B, rows, columns).
    hidden : torch.Tensor
        Flat indices of the M hidden patches among all patches of `large`, shape (M,); computed with the views, so that
        a GPU need not synchronize within a step.
    """

    large: torch.Tensor
    small: torch.Tensor
    mask: torch.Tensor
    hidden: torch.Tensor


class Branch(nn.Module):
    """Encoder with its two heads: the student or the teacher."""

    class_head: PrototypeHead
    patch_head: PrototypeHead

    def __init__(self, encoder: nn.Module, class_head: PrototypeHead, patch_head: PrototypeHead) -> None:
        super().__init__()
        self.encoder = encoder
        self.class_head = class_head
        self.patch_head = patch_head

    def encode(self, images: torch.Tensor, *, mask: torch.Tensor | None = None) -> Features:
        """Encode images; see `stellarfm.contracts.Encoder.encode`."""
        return self.encoder.encode(images, mask=mask)  # type: ignore[operator]


class DinoV2Module(nn.Module):
    """Student, teacher and the state of the centering.

    The names of the attributes are those of the tensors in a checkpoint.
    """

    def __init__(self, student: Branch, class_centring: nn.Module, patch_centring: nn.Module) -> None:
        super().__init__()
        self.student = student
        self.teacher = copy.deepcopy(student).requires_grad_(False).eval()
        self.class_centring = class_centring
        self.patch_centring = patch_centring

    def train(self, mode: bool = True) -> DinoV2Module:
        """Set the mode of the student and of the teacher's batch norms; the teacher has no stochastic depth.

        The running statistics of its batch norms start at 0 and 1, which would give targets that the student, which
        normalizes with the statistics of the batch, cannot reproduce.
        """
        super().train(mode)
        self.teacher.eval()
        for part in self.teacher.modules():
            if isinstance(part, _BatchNorm):
                part.train(mode)
        return self

    @torch.no_grad()
    def update_teacher(self, momentum: float) -> None:
        """Update the moving average ``teacher <- m teacher + (1 - m) student`` of parameters and buffers."""
        for kind in ("parameters", "buffers"):
            teacher, student = (list(getattr(branch, kind)()) for branch in (self.teacher, self.student))
            real = [(t, s) for t, s in zip(teacher, student, strict=True) if t.is_floating_point()]
            if real:
                torch._foreach_lerp_([t for t, _ in real], [s for _, s in real], 1.0 - momentum)


@dataclass(kw_only=True, eq=False)
class DinoV2(PretrainingMethod):
    """DINOv2 (Oquab et al. 2023, arXiv:2304.07193): DINO, iBOT and KoLeo with a moving-average teacher.

    Parameters
    ----------
    prototypes : int
        Number K of prototypes of each head.
    hidden, bottleneck : int
        Widths of the heads' hidden layers and of their output before the prototypes.
    shared_head : bool
        Use one head for class tokens and patches (iBOT) instead of two (DINOv2).
    global_size, local_size : int
        Sides of global and local crops in pixels; multiples of the patch size.
    global_area, local_area : sequence of float
        Range of the fraction of the image area that a crop covers.
    aspect : sequence of float
        Range of the aspect ratio of the region that a crop covers.
    local_crops : int
        Number of local crops; there are always two global ones.
    rotation : {"any", "quarter", "none"}
        Rotation of every crop; see `stellarfm.pretraining.methods.augmentations.crop`.
    flips : bool
        Mirror half of the crops.
    gain, offset, gamma : float
        Limits of the stretch jitter, see `stellarfm.pretraining.methods.augmentations.Stretch`; 0 switches each off.
    blur : float
        Fraction of crops that are blurred, by 0.3 to 1.2 pixels; 0 switches it off.
    noise : float
        Largest standard deviation of the added noise; 0 switches it off.
    dino_weight, ibot_weight, koleo_weight : float
        Weights of the three losses. KoLeo is the sum over the two global crops, DINO and iBOT are means.
    masked_images : float
        Fraction of global crops with hidden patches.
    mask_ratio : sequence of float
        Smallest and largest fraction of hidden patches in such a crop.
    student_temperature : float
        Temperature of the student's softmax.
    teacher_temperature : sequence of float
        Initial and final temperature of the teacher's assignments.
    temperature_warmup : float
        Fraction of all steps in which the teacher's temperature changes linearly.
    momentum : sequence of float
        Initial and final momentum of the teacher, connected by half a cosine over all steps.
    centring : {"sinkhorn", "mean"}
        Centering of the teacher's logits: Sinkhorn-Knopp (SwAV) or a moving mean (DINO).
    frozen_prototypes : float
        Fraction of all steps, at the start, during which the prototypes are not updated.
    frozen_norm : bool
        Fix the norms of the prototypes at 1 (DINO) instead of learning them, starting at 1 (DINOv2).
    clip : float
        Largest norm of the gradient of the encoder and of each head; 0 switches clipping off.
    layer_decay : float
        Factor on the learning rate from each layer of the encoder to the one before it; 1 switches it off.
    stem_rate : float
        Factor on the learning rate of the patch projection.

    Examples
    --------
    >>> import torch
    >>> from stellarfm.encoders import DinoV2Nano8
    >>> from stellarfm.pretraining.methods import DinoV2
    >>> method = DinoV2(prototypes=16, hidden=16, bottleneck=8, global_size=32, local_size=16, local_crops=2)
    >>> module = method.build(DinoV2Nano8(image_size=32), image_size=32, total_steps=100)
    >>> views = method.views(torch.rand(4, 3, 32, 32), generator=torch.Generator().manual_seed(0))
    >>> sorted(method.losses(module, views, step=0))
    ['dino', 'entropy', 'ibot', 'koleo', 'loss', 'rank', 'spread']
    """

    prototypes: int = 65536
    hidden: int = 2048
    bottleneck: int = 256
    shared_head: bool = False
    global_size: int = 64
    local_size: int = 32
    global_area: tuple[float, float] = (0.32, 1.0)
    local_area: tuple[float, float] = (0.05, 0.32)
    aspect: tuple[float, float] = (3.0 / 4.0, 4.0 / 3.0)
    local_crops: int = 8
    rotation: str = "any"
    flips: bool = True
    gain: float = 0.2
    offset: float = 0.2
    gamma: float = 0.2
    blur: float = 0.3
    noise: float = 0.1
    dino_weight: float = 1.0
    ibot_weight: float = 1.0
    koleo_weight: float = 0.1
    masked_images: float = 0.5
    mask_ratio: tuple[float, float] = (0.1, 0.5)
    student_temperature: float = 0.1
    teacher_temperature: tuple[float, float] = (0.04, 0.07)
    temperature_warmup: float = 0.3
    momentum: tuple[float, float] = (0.992, 1.0)
    centring: str = "sinkhorn"
    frozen_prototypes: float = 0.01
    frozen_norm: bool = False
    clip: float = 3.0
    layer_decay: float = 1.0
    stem_rate: float = 1.0

    def __post_init__(self) -> None:
        for name in ("global_area", "local_area", "aspect", "mask_ratio", "teacher_temperature", "momentum"):
            setattr(self, name, _pair(name, getattr(self, name)))
        self.global_crop = augment.Crop(self.global_size, self.global_area, self.aspect)
        self.local_crop = augment.Crop(self.local_size, self.local_area, self.aspect)
        self.stretch = augment.Stretch(self.gain, self.offset, self.gamma)
        self.weights = {"dino": self.dino_weight, "ibot": self.ibot_weight, "koleo": self.koleo_weight}
        if not self.ibot_weight:
            self.masked_images = 0.0

    def build(self, encoder: Encoder, *, image_size: int, total_steps: int) -> DinoV2Module:
        """Return student and teacher built from `encoder`; raise `PretrainingError` for options that do not fit."""
        self._check(encoder, image_size)
        self.total_steps = total_steps
        self.patch_size = encoder.patch_size
        class_head = self._head(encoder)
        patch_head = class_head if self.shared_head else self._head(encoder)
        return DinoV2Module(Branch(encoder, class_head, patch_head), self._centering(), self._centering())  # type: ignore[arg-type]

    def _check(self, encoder: Encoder, image_size: int) -> None:
        """Raise `PretrainingError` for options that do not fit the encoder or the images."""
        if self.rotation not in augment.ROTATIONS:
            raise PretrainingError(f"rotation is {self.rotation!r}; expected one of {', '.join(augment.ROTATIONS)}")
        name, patch = type(encoder).__name__, encoder.patch_size
        if self.layer_decay != 1.0 and not encoder.layers():
            raise PretrainingError(f"{name} does not list its layers; set layer_decay = 1 in the recipe's [method]")
        for crop in (self.global_crop, self.local_crop):
            if crop.size % patch:
                raise PretrainingError(f"crops of {crop.size} pixels do not fit {name}; expected a multiple of {patch}")
        if self.weights["ibot"] and not encoder.maskable:
            raise PretrainingError(f"{name} cannot hide patches; set ibot_weight = 0 in the recipe's [method]")
        if self.global_crop.size > 2 * image_size:
            raise PretrainingError(
                f"global_size is {self.global_crop.size} for images of {image_size} pixels; "
                f"expected at most {2 * image_size}"
            )

    def _head(self, encoder: Encoder) -> PrototypeHead:
        return PrototypeHead(
            encoder.embed_dim,
            prototypes=self.prototypes,
            hidden=self.hidden,
            bottleneck=self.bottleneck,
            frozen_norm=self.frozen_norm,
        )

    def _centering(self) -> nn.Module:
        if self.centring == "sinkhorn":
            return SinkhornCentering()
        if self.centring == "mean":
            return MovingMeanCentering(self.prototypes)
        raise PretrainingError(f"centring is {self.centring!r}; expected 'sinkhorn' or 'mean'")

    def views(self, images: torch.Tensor, *, generator: torch.Generator) -> Views:
        """Return two global and `local_crops` local views of images (B, C, size, size) in [0, 1], and masks."""
        large = [self._view(images, self.global_crop, generator) for _ in range(2)]
        small = [self._view(images, self.local_crop, generator) for _ in range(self.local_crops)]
        empty = images.new_empty(0, images.shape[1], self.local_crop.size, self.local_crop.size)
        mask = self._masks(len(images), generator)
        return Views(torch.cat(large), torch.cat(small) if small else empty, mask, mask.flatten().nonzero().squeeze(1))

    def _masks(self, count: int, generator: torch.Generator) -> torch.Tensor:
        """Return masks of both global views of this device's images, shape (2 count, rows, columns)."""
        masks = block_masks(
            2 * count * n_devices(generator),
            self.global_crop.size // self.patch_size,
            generator=generator,
            masked_images=self.masked_images,
            ratio=self.mask_ratio,
        )
        return own_share(masks.unflatten(0, (2, -1)), generator=generator, axis=1).flatten(0, 1)

    def _view(self, images: torch.Tensor, crop: augment.Crop, generator: torch.Generator) -> torch.Tensor:
        view = augment.crop(images, crop, generator=generator, rotation=self.rotation, flips=self.flips)
        if self.blur:
            view = augment.blur(view, probability=self.blur, sigma=(0.3, 1.2), generator=generator)
        view = augment.stretch(view, self.stretch, generator=generator)
        return augment.noise(view, level=self.noise, generator=generator) if self.noise else view

    def losses(
        self, module: nn.Module, views: Views, *, step: int, labels: torch.Tensor | None = None
    ) -> dict[str, torch.Tensor]:
        """Return ``loss``, its parts ``dino``, ``ibot``, ``koleo``, and monitors ``entropy``, ``spread``, ``rank``."""
        assert isinstance(module, DinoV2Module)
        class_targets, patch_targets, features = self._targets(module, views, step)
        class_logits, patch_logits, tokens = self._logits(module.student, views)
        parts = {
            "dino": dino_loss(class_logits, class_targets, temperature=self.student_temperature),
            "koleo": torch.stack([koleo_loss(view) for view in tokens.chunk(2)]).sum(),
        }
        if self.masked_images:
            parts["ibot"] = ibot_loss(patch_logits, patch_targets, views.mask, temperature=self.student_temperature)
        total = torch.stack([self.weights[name] * part for name, part in parts.items()]).sum()
        half = all_gather(features[: len(features) // 2])
        monitors = {"entropy": entropy(class_targets), "spread": feature_spread(half), "rank": effective_rank(half)}
        return {"loss": total, **parts, **monitors}

    @torch.no_grad()
    def _targets(
        self, module: DinoV2Module, views: Views, step: int
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the teacher's assignments of class tokens (2, B, K) and hidden patches (M, K), and class tokens."""
        warmup = round(self.temperature_warmup * self.total_steps)
        start, end = self.teacher_temperature
        temperature = linear(step, start=start, end=end, steps=warmup)
        image, patches = module.teacher.encode(views.large)
        class_targets = module.class_centring(module.teacher.class_head(image), temperature=temperature)
        patch_targets = class_targets[:0]
        if self.masked_images:
            logits = module.teacher.patch_head(patches.flatten(0, 2)[views.hidden])
            patch_targets = module.patch_centring(logits, temperature=temperature)
        return class_targets.unflatten(0, (2, -1)), patch_targets, image

    def _logits(self, student: Branch, views: Views) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the student's logits of class tokens (2 + L, B, K) and hidden patches (M, K), and its class tokens."""
        image, patches = student.encode(views.large, mask=views.mask if self.masked_images else None)
        tokens = [image]
        if len(views.small):
            tokens.append(student.encode(views.small).image)
        class_logits = student.class_head(torch.cat(tokens)).unflatten(0, (2 + self.local_crops, -1))
        patch_logits = class_logits[0, :0]
        if self.masked_images:
            patch_logits = student.patch_head(patches.flatten(0, 2)[views.hidden])
        return class_logits, patch_logits, image

    def encoder(self, module: nn.Module) -> Encoder:
        """Return the teacher's encoder."""
        assert isinstance(module, DinoV2Module)
        return module.teacher.encoder  # type: ignore[return-value]

    def parameter_groups(self, module: nn.Module) -> list[dict[str, Any]]:
        """Return the parameter groups of the student; see `stellarfm.pretraining.methods.parameter_groups`."""
        assert isinstance(module, DinoV2Module)
        encoder: Any = module.student.encoder
        return parameter_groups(module, encoder, layer_decay=self.layer_decay, stem_rate=self.stem_rate)

    def before_optimizer(self, module: nn.Module, *, step: int) -> None:
        """Clip the gradients of the encoder and of each head separately; freeze the prototypes at the start."""
        assert isinstance(module, DinoV2Module)
        student = module.student
        heads = {id(head): head for head in (student.class_head, student.patch_head)}.values()
        if self.clip:
            for part in (student.encoder, *heads):
                nn.utils.clip_grad_norm_(part.parameters(), self.clip)
        if step < self.frozen_prototypes * self.total_steps:
            for parameter in (parameter for head in heads for parameter in head.last_layer()):
                parameter.grad = None

    def after_step(self, module: nn.Module, *, step: int) -> None:
        """Update the teacher."""
        assert isinstance(module, DinoV2Module)
        start, end = self.momentum
        module.update_teacher(cosine(step, start=start, end=end, steps=self.total_steps))


def _pair(name: str, values: tuple[float, float]) -> tuple[float, float]:
    """Return two numbers, which are a list in a recipe; raise `PretrainingError` for another length."""
    if len(values) != 2:
        raise PretrainingError(f"{name} is {values!r}; expected two numbers")
    return float(values[0]), float(values[1])
