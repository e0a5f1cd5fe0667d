"""The method `dinov2`: self-distillation of class tokens and of hidden patches."""

from __future__ import annotations

import copy
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
    """Views of B images: G global and L local crops, view by view; masks of the global ones and where they hide.

    `hidden` holds the places of the hidden patches among all patches of `large`, so that nothing in a step waits for
    the number of them.
    """

    large: torch.Tensor
    small: torch.Tensor
    mask: torch.Tensor
    hidden: torch.Tensor


class Branch(nn.Module):
    """An encoder with its two heads; student and teacher are one each."""

    class_head: PrototypeHead
    patch_head: PrototypeHead

    def __init__(self, encoder: nn.Module, class_head: PrototypeHead, patch_head: PrototypeHead) -> None:
        super().__init__()
        self.encoder = encoder
        self.class_head = class_head
        self.patch_head = patch_head

    def encode(self, images: torch.Tensor, *, mask: torch.Tensor | None = None) -> Features:
        """See `stellarfm.contracts.Encoder.encode`."""
        return self.encoder.encode(images, mask=mask)  # type: ignore[operator]


class DinoV2Module(nn.Module):
    """Student, teacher and the state of the centring: everything that a checkpoint must hold."""

    def __init__(self, student: Branch, class_centring: nn.Module, patch_centring: nn.Module) -> None:
        super().__init__()
        self.student = student
        self.teacher = copy.deepcopy(student).requires_grad_(False).eval()
        self.class_centring = class_centring
        self.patch_centring = patch_centring

    def train(self, mode: bool = True) -> DinoV2Module:
        """Switch the student; the teacher drops no path, but its batch norms look at the batch, as the student's do.

        With running statistics, which begin at 0 and 1, it would for long teach what no student can see.
        """
        super().train(mode)
        self.teacher.eval()
        for part in self.teacher.modules():
            if isinstance(part, _BatchNorm):
                part.train(mode)
        return self

    @torch.no_grad()
    def move_teacher(self, momentum: float) -> None:
        """Moving average ``teacher <- m teacher + (1 - m) student`` of parameters, and then of buffers."""
        for kind in ("parameters", "buffers"):
            teacher, student = (list(getattr(branch, kind)()) for branch in (self.teacher, self.student))
            real = [(t, s) for t, s in zip(teacher, student, strict=True) if t.is_floating_point()]
            if real:
                torch._foreach_lerp_([t for t, _ in real], [s for _, s in real], 1.0 - momentum)


class DinoV2(PretrainingMethod):
    """DINOv2 (Oquab et al. 2023, arXiv:2304.07193): DINO, iBOT and KoLeo with a moving-average teacher.

    Parameters
    ----------
    prototypes : int
        Number K of prototypes of each head.
    hidden, bottleneck : int
        Widths of the heads.
    shared_head : bool
        One head for class tokens and patches (iBOT) instead of two (DINOv2).
    global_size, local_size : int
        Sides of global and local crops in pixels; multiples of the patch size.
    global_area, local_area : sequence of float
        Range of the fraction of the area of an image that a crop covers.
    aspect : sequence of float
        Range of the aspect ratio of what a crop covers.
    local_crops : int
        Number of local crops; there are always two global ones.
    rotation : {"any", "quarter", "none"}
        Rotation of every crop; see `stellarfm.pretraining.methods.augmentations.crop`.
    flips : bool
        Mirror half of the crops.
    gain, offset, gamma : float
        Limits of the stretch jitter, see `stellarfm.pretraining.methods.augmentations.Stretch`; 0 switches each off.
    blur : float
        Share of crops that are blurred, by 0.3 to 1.2 pixels; 0 switches it off.
    noise : float
        Largest standard deviation of the added noise; 0 switches it off.
    dino_weight, ibot_weight, koleo_weight : float
        Weights of the three losses. KoLeo is the sum over the two global crops, DINO and iBOT are means.
    masked_images : float
        Share of global crops with hidden patches.
    mask_ratio : sequence of float
        Least and largest share of hidden patches in such a crop.
    student_temperature : float
        Of the student's softmax.
    teacher_temperature : sequence of float
        First and last; linear over the share `temperature_warmup` of all steps.
    temperature_warmup : float
        See above.
    momentum : sequence of float
        First and last momentum of the teacher; cosine over all steps.
    centring : {"sinkhorn", "mean"}
        Of the teacher's logits.
    frozen_prototypes : float
        Fraction of all steps, at the start, during which the prototypes are not updated.
    frozen_norm : bool
        Keep the norms of the prototypes at 1 (DINO) instead of learning them from 1 on (DINOv2).
    clip : float
        Largest norm of the gradient of the encoder and of each head; 0 switches clipping off.
    layer_decay : float
        Factor on the learning rate from each layer of the encoder to the one before it; 1 switches it off.
    stem_rate : float
        Factor on the learning rate of the projection of pixels.
    """

    def __init__(
        self,
        *,
        prototypes: int = 65536,
        hidden: int = 2048,
        bottleneck: int = 256,
        shared_head: bool = False,
        global_size: int = 64,
        local_size: int = 32,
        global_area: tuple[float, float] = (0.32, 1.0),
        local_area: tuple[float, float] = (0.05, 0.32),
        aspect: tuple[float, float] = (3.0 / 4.0, 4.0 / 3.0),
        local_crops: int = 8,
        rotation: str = "any",
        flips: bool = True,
        gain: float = 0.2,
        offset: float = 0.2,
        gamma: float = 0.2,
        blur: float = 0.3,
        noise: float = 0.1,
        dino_weight: float = 1.0,
        ibot_weight: float = 1.0,
        koleo_weight: float = 0.1,
        masked_images: float = 0.5,
        mask_ratio: tuple[float, float] = (0.1, 0.5),
        student_temperature: float = 0.1,
        teacher_temperature: tuple[float, float] = (0.04, 0.07),
        temperature_warmup: float = 0.3,
        momentum: tuple[float, float] = (0.992, 1.0),
        centring: str = "sinkhorn",
        frozen_prototypes: float = 0.01,
        frozen_norm: bool = False,
        clip: float = 3.0,
        layer_decay: float = 1.0,
        stem_rate: float = 1.0,
    ) -> None:
        self.prototypes = prototypes
        self.hidden = hidden
        self.bottleneck = bottleneck
        self.shared_head = shared_head
        ratios = _pair("aspect", aspect)
        self.global_crop = augment.Crop(global_size, _pair("global_area", global_area), ratios)
        self.local_crop = augment.Crop(local_size, _pair("local_area", local_area), ratios)
        self.local_crops = local_crops
        self.rotation = rotation
        self.flips = flips
        self.stretch = augment.Stretch(gain, offset, gamma)
        self.blur = blur
        self.noise = noise
        self.weights = {"dino": dino_weight, "ibot": ibot_weight, "koleo": koleo_weight}
        self.masked_images = masked_images if ibot_weight else 0.0
        self.mask_ratio = _pair("mask_ratio", mask_ratio)
        self.student_temperature = student_temperature
        self.teacher_temperature = _pair("teacher_temperature", teacher_temperature)
        self.temperature_warmup = temperature_warmup
        self.momentum = _pair("momentum", momentum)
        self.centring = centring
        self.frozen_prototypes = frozen_prototypes
        self.frozen_norm = frozen_norm
        self.clip = clip
        self.layer_decay = layer_decay
        self.stem_rate = stem_rate

    def build(self, encoder: Encoder, *, image_size: int, total_steps: int) -> DinoV2Module:
        """Student and teacher around `encoder`; checks that the options fit it."""
        self._check(encoder, image_size)
        self.total_steps = total_steps
        self.patch_size = encoder.patch_size
        class_head = self._head(encoder)
        patch_head = class_head if self.shared_head else self._head(encoder)
        return DinoV2Module(Branch(encoder, class_head, patch_head), self._centring(), self._centring())  # type: ignore[arg-type]

    def _check(self, encoder: Encoder, image_size: int) -> None:
        """Raise `PretrainingError` for options that do not fit the encoder or the images."""
        if self.rotation not in augment.ROTATIONS:
            raise PretrainingError(f"rotation is {self.rotation!r}; expected one of {', '.join(augment.ROTATIONS)}")
        name, patch = type(encoder).__name__, encoder.patch_size
        if self.layer_decay != 1.0 and not encoder.layers():
            raise PretrainingError(
                f"{name} does not tell its layers apart; set layer_decay = 1 in the recipe's [method]"
            )
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

    def _centring(self) -> nn.Module:
        if self.centring == "sinkhorn":
            return SinkhornCentering()
        if self.centring == "mean":
            return MovingMeanCentering(self.prototypes)
        raise PretrainingError(f"centring is {self.centring!r}; expected 'sinkhorn' or 'mean'")

    def views(self, images: torch.Tensor, *, generator: torch.Generator) -> Views:
        """Two global and `local_crops` local views of images (B, C, size, size) in [0, 1], and masks."""
        large = [self._view(images, self.global_crop, generator) for _ in range(2)]
        small = [self._view(images, self.local_crop, generator) for _ in range(self.local_crops)]
        empty = images.new_empty(0, images.shape[1], self.local_crop.size, self.local_crop.size)
        mask = self._masks(len(images), generator)
        return Views(torch.cat(large), torch.cat(small) if small else empty, mask, mask.flatten().nonzero().squeeze(1))

    def _masks(self, count: int, generator: torch.Generator) -> torch.Tensor:
        """Masks of both global views of this device's images, shape (2 count, rows, columns)."""
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
        """``loss`` and its parts ``dino``, ``ibot``, ``koleo``; monitors ``entropy``, ``spread`` and ``rank``."""
        assert isinstance(module, DinoV2Module)
        class_targets, patch_targets, features = self._teach(module, views, step)
        class_logits, patch_logits, tokens = self._study(module.student, views)
        parts = {
            "dino": dino_loss(class_logits, class_targets, temperature=self.student_temperature),
            "koleo": torch.stack([koleo_loss(view) for view in tokens.chunk(2)]).sum(),
        }
        if self.masked_images:
            parts["ibot"] = ibot_loss(patch_logits, patch_targets, views.mask, temperature=self.student_temperature)
        total = torch.stack([self.weights[name] * part for name, part in parts.items()]).sum()
        half = all_gather(features[: len(features) // 2])
        watched = {"entropy": entropy(class_targets), "spread": feature_spread(half), "rank": effective_rank(half)}
        return {"loss": total, **parts, **watched}

    @torch.no_grad()
    def _teach(self, module: DinoV2Module, views: Views, step: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Teacher's assignments of class tokens (2, B, K) and of hidden patches (M, K), and its class tokens."""
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

    def _study(self, student: Branch, views: Views) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Student's logits of class tokens (2 + L, B, K) and of hidden patches (M, K), and its global class tokens."""
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
        """The teacher's encoder."""
        assert isinstance(module, DinoV2Module)
        return module.teacher.encoder  # type: ignore[return-value]

    def parameter_groups(self, module: nn.Module) -> list[dict[str, Any]]:
        """Groups of one rate and one decay each; see `stellarfm.pretraining.optimization`."""
        assert isinstance(module, DinoV2Module)
        encoder: Any = module.student.encoder
        return parameter_groups(module, encoder, layer_decay=self.layer_decay, stem_rate=self.stem_rate)

    def before_optimizer(self, module: nn.Module, *, step: int) -> None:
        """Clip the gradients of the encoder and of each head on its own; hold the prototypes at the start."""
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
        """Move the teacher towards the student."""
        assert isinstance(module, DinoV2Module)
        start, end = self.momentum
        module.move_teacher(cosine(step, start=start, end=end, steps=self.total_steps))


def _pair(name: str, values: tuple[float, float]) -> tuple[float, float]:
    """Two numbers (a recipe gives a list), or `PretrainingError`."""
    if len(values) != 2:
        raise PretrainingError(f"{name} is {values!r}; expected two numbers")
    return float(values[0]), float(values[1])
