"""The loops that `pretraining.py` compares; ``seconds(steps)`` returns the seconds per step after a warm-up."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, Trainer
from torch.utils.data import DataLoader, Dataset

from stellarfm.contracts import PretrainingDataset
from stellarfm.pretraining.callbacks.collapse import CollapseCallback
from stellarfm.pretraining.collapse import CollapseDetector, CollapseLimits
from stellarfm.pretraining.data import Batches
from stellarfm.pretraining.distributed.devices import silenced_loggers
from stellarfm.pretraining.lightning_module import PretrainingModule
from stellarfm.pretraining.recipe import Recipe, make_dataset, make_encoder, make_method

WARM_UP = 2
#: Number of images that are rendered; the cost of a step does not depend on them.
RENDERED = 64


class InMemoryDataset(PretrainingDataset):
    """Dataset of images in memory."""

    def __init__(self, images: np.ndarray) -> None:
        self.stored = images

    def __len__(self) -> int:
        return len(self.stored)

    def image(self, index: int) -> np.ndarray:
        return self.stored[index]


@dataclass
class Setting:
    """Setting common to all loops."""

    recipe: Recipe
    images: np.ndarray
    device: torch.device

    @classmethod
    def make(cls, recipe: Recipe, device: torch.device) -> Setting:
        """Render a few images and repeat them until there are enough for a batch."""
        dataset = make_dataset(recipe)
        images = np.stack([dataset.image(index) for index in range(min(RENDERED, recipe.batch_size))])
        return cls(recipe, np.tile(images, (-(-recipe.batch_size // len(images)), 1, 1, 1)), device)

    def module(self) -> PretrainingModule:
        """Return the module of a run, with the same initial weights for all loops."""
        torch.manual_seed(0)
        encoder, method = make_encoder(self.recipe), make_method(self.recipe)
        batches = Batches(InMemoryDataset(self.images), self.recipe)
        return PretrainingModule(method=method, encoder=encoder, recipe=self.recipe, batches=batches)

    def autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.recipe.precision == "bf16-mixed")

    @property
    def uses_processor_time(self) -> bool:
        """Whether processor time is measured instead of wall time."""
        return self.device.type == "cpu" and torch.get_num_threads() == 1

    def now(self) -> float:
        """Return the time in seconds, after all pending work is done."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return time.process_time() if self.uses_processor_time else time.perf_counter()


class Clock(Callback):
    """Callback that measures the time from the end of the warm-up to the last step."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.start = self.end = 0.0

    def on_train_batch_end(self, trainer: Trainer, module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.end = self.setting.now()
        if trainer.global_step == WARM_UP:
            self.start = self.end


class StellarfmLoop:
    """A run of stellarfm."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.module = setting.module()

    def seconds(self, steps: int) -> float:
        """Return the seconds per step."""
        recipe, clock = self.setting.recipe, Clock(self.setting)
        detector = CollapseDetector(
            CollapseLimits(),
            steps=recipe.steps,
            warmup_steps=recipe.warmup_steps,
            images=recipe.batch_size,
            prototypes=None,
        )
        with silenced_loggers():
            trainer = Trainer(
                max_steps=steps + WARM_UP,
                accelerator="gpu" if self.setting.device.type == "cuda" else "cpu",
                devices=1,
                precision=recipe.precision,  # type: ignore[arg-type]
                callbacks=[CollapseCallback(detector, Path("no-checkpoints"), every=recipe.log_steps), clock],
                logger=False,
                use_distributed_sampler=False,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
            )
            trainer.fit(self.module)
        return (clock.end - clock.start) / steps


class TimedLoop:
    """Timed loop around `step`."""

    setting: Setting

    def seconds(self, steps: int) -> float:
        """Return the seconds per step."""
        for _ in range(WARM_UP):
            self.step()
        start = self.setting.now()
        for _ in range(steps):
            self.step()
        return (self.setting.now() - start) / steps

    def step(self) -> None:
        raise AssertionError("each loop defines its own step")


class BareLoop(TimedLoop):
    """Forward and backward pass of the network and its heads on precomputed tensors."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        module = setting.module().to(setting.device)
        self.learner = module.learner.train()
        generator = torch.Generator(setting.device).manual_seed(0)
        batch = torch.from_numpy(setting.images[: setting.recipe.batch_size]).to(setting.device)
        self.views = module.method.views(batch, generator=generator)

    def step(self) -> None:
        student, teacher, views = self.learner.student, self.learner.teacher, self.views
        with self.setting.autocast():
            with torch.no_grad():
                self._heads(teacher, *self._tokens(teacher, views.large), [])
            tokens, patches = self._tokens(student, views.large)
            small = [self._tokens(student, views.small)[0]] if len(views.small) else []
            total = self._heads(student, tokens, patches, small)
        total.backward()
        self.learner.zero_grad(set_to_none=True)

    def _tokens(self, branch: Any, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return class and patch tokens of the forward pass of timm."""
        tokens = branch.encoder.backbone.forward_features(images)
        return tokens[:, 0], tokens[:, 1:].flatten(0, 1)

    def _heads(
        self, branch: Any, tokens: torch.Tensor, patches: torch.Tensor, more: list[torch.Tensor]
    ) -> torch.Tensor:
        """Return a scalar that depends on every logit."""
        class_logits = branch.class_head(torch.cat([tokens, *more]))
        return class_logits.float().mean() + branch.patch_head(patches[self.views.hidden]).float().mean()


class LightlyLoop(TimedLoop):
    """The example of the documentation of lightly, with the sizes of the recipe."""

    def __init__(self, setting: Setting, *, ready: bool = False) -> None:
        from lightly.loss import DINOLoss, IBOTPatchLoss, KoLeoLoss

        self.setting = setting
        self.options: Any = make_method(setting.recipe)
        torch.manual_seed(0)
        self.student = self._branch()
        self.teacher = self._branch().requires_grad_(False).eval()
        self.teacher.load_state_dict(self.student.state_dict())
        prototypes = self.options.prototypes
        self.dino = DINOLoss(prototypes, center_mode="mean").to(setting.device)
        self.ibot = IBOTPatchLoss(prototypes).to(setting.device)
        self.koleo = KoLeoLoss()
        self.optimizer = torch.optim.AdamW(self.student.parameters(), lr=1e-4, weight_decay=0.04)
        self.batches = self._views(ready)

    def _branch(self) -> torch.nn.ModuleDict:
        """Return a timm transformer in the wrapper of lightly, with two heads of lightly."""
        from lightly.models.modules import DINOProjectionHead, MaskedVisionTransformerTIMM

        encoder: Any = make_encoder(self.setting.recipe)
        self.side = self.options.global_crop.size // encoder.patch_size
        for block in encoder.backbone.blocks:
            block.attn.fused_attn = True  # timm's default
        width, options = encoder.embed_dim, self.options
        warnings.filterwarnings("ignore", message=".*weight_norm.* is deprecated")  # in the head of lightly
        heads = [
            DINOProjectionHead(width, options.hidden, options.bottleneck, options.prototypes, norm_last_layer=False)
            for _ in range(1 if options.shared_head else 2)
        ]
        backbone = MaskedVisionTransformerTIMM(encoder.backbone, antialias=False, pos_embed_initialization="skip")
        parts = {"backbone": backbone, "class_head": heads[0], "patch_head": heads[-1]}
        return torch.nn.ModuleDict(parts).to(self.setting.device)

    def _views(self, ready: bool) -> Iterator[list[torch.Tensor]]:
        """Yield lists of views endlessly; on a CPU they are made in the training process, as in stellarfm."""
        loader = self._loader(0 if ready or self.setting.device.type == "cpu" else self.setting.recipe.workers)
        if ready:
            fixed = [view.to(self.setting.device) for view in next(iter(loader))]
            while True:
                yield fixed
        while True:
            yield from loader

    def _loader(self, workers: int) -> DataLoader:
        from lightly.transforms.multi_crop_transform import MultiCropTranform
        from torchvision.transforms import v2

        options, recipe = self.options, self.setting.recipe
        crops = (options.global_crop, options.local_crop)
        each = v2.Compose(
            [
                v2.RandomHorizontalFlip(),
                v2.RandomVerticalFlip(),
                v2.RandomRotation(180, interpolation=v2.InterpolationMode.BILINEAR),
                v2.RandomApply([v2.GaussianBlur(7, (0.3, 1.2))], p=options.blur),
                v2.ColorJitter(brightness=0.1, contrast=0.1),
                v2.Normalize([0.5] * 3, [0.2] * 3),
            ]
        )
        transform = MultiCropTranform(
            tuple(crop.size for crop in crops),
            (2, options.local_crops),
            tuple(crop.area[0] for crop in crops),
            tuple(crop.area[1] for crop in crops),
            each,
        )
        images = Transformed(self.setting.images, transform)
        return DataLoader(
            images, recipe.batch_size, shuffle=True, drop_last=True, num_workers=workers, persistent_workers=workers > 0
        )

    def step(self) -> None:
        from lightly.models.utils import random_block_mask, update_momentum

        setting, student, teacher = self.setting, self.student, self.teacher
        views = [view.to(setting.device, non_blocking=True) for view in next(self.batches)]
        large, small = torch.cat(views[:2]), torch.cat(views[2:])
        block = random_block_mask((len(large), self.side, self.side), min_num_masks_per_block=1, device=setting.device)
        mask = torch.cat([block.new_zeros(len(large), 1), block.flatten(1)], dim=1)
        with setting.autocast():
            with torch.no_grad():
                seen = teacher["backbone"].encode(large)
                class_targets, patch_targets = teacher["class_head"](seen[:, 0]), teacher["patch_head"](seen[mask])
            tokens = student["backbone"].encode(large, mask=mask)
            local = student["backbone"].encode(small)[:, 0]
            class_logits = torch.cat([student["class_head"](tokens[:, 0]), student["class_head"](local)])
            patch_logits = student["patch_head"](tokens[mask])
            loss = (
                self.dino(class_targets.float().chunk(2), class_logits.float().chunk(len(views)), teacher_temp=0.05)
                + self.ibot(patch_targets.float(), patch_logits.float(), mask=block, teacher_temp=0.05)
                + 0.1 * sum(self.koleo(view.float()) for view in tokens[:, 0].chunk(2))
            )
        loss.backward()
        torch.nn.utils.clip_grad_norm_(student.parameters(), 3.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        update_momentum(student, teacher, m=0.99)


class Transformed(Dataset):
    """Dataset of the views of images in memory, made by lightly."""

    def __init__(self, images: np.ndarray, transform: Callable[[torch.Tensor], list[torch.Tensor]]) -> None:
        self.images = images
        self.transform = transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> list[torch.Tensor]:
        return self.transform(torch.from_numpy(self.images[index]))
