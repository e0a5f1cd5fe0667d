"""The thin Lightning module around any pretraining method."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch.utils.data import DataLoader

from stellarfm.contracts import Encoder, PretrainingMethod
from stellarfm.pretraining.data import derived_seed
from stellarfm.pretraining.recipe import Recipe
from stellarfm.pretraining.schedules import cosine, warmup_cosine

__all__ = ["PretrainingModule"]

LoaderMaker = Callable[..., DataLoader]


class PretrainingModule(LightningModule):
    """Owns the optimiser and its schedules; what is learnt is the method's.

    Every random number of a step comes from a seed made of (run seed, step, device), so that the random state needs no
    place in a checkpoint.

    Parameters
    ----------
    method : PretrainingMethod
        What is learnt.
    encoder : Encoder
        Who learns it.
    recipe : Recipe
        How.
    make_loader : callable
        ``make_loader(first_step, share)`` gives the batches from a step on.
    """

    def __init__(
        self, *, method: PretrainingMethod, encoder: Encoder, recipe: Recipe, make_loader: LoaderMaker
    ) -> None:
        super().__init__()
        self.method = method
        self.recipe = recipe
        self.make_loader = make_loader
        self.learner = method.build(encoder, image_size=recipe.size, total_steps=recipe.steps)
        self.values: dict[str, torch.Tensor] = {}

    @property
    def exported(self) -> Encoder:
        """The encoder as the method gives it away."""
        return self.method.encoder(self.learner)

    def train_dataloader(self) -> DataLoader:
        """Batches from the current step on."""
        return self.make_loader(self.global_step, (self.global_rank, self.trainer.world_size))

    def on_train_batch_start(self, batch: torch.Tensor, batch_idx: int) -> None:
        """Set this step's rate and weight decay."""
        recipe, step = self.recipe, self.global_step
        rate = warmup_cosine(
            step,
            peak=recipe.peak_learning_rate,
            end=recipe.final_learning_rate,
            warmup_steps=recipe.warmup_steps,
            steps=recipe.steps,
        )
        start, end = recipe.weight_decay
        decay = cosine(step, start=start, end=end, steps=recipe.steps)
        for group in self.optimizers().param_groups:  # type: ignore[union-attr]
            group["lr"] = rate * group["lr_scale"]
            group["weight_decay"] = decay * group["decay_scale"]

    def training_step(self, batch: torch.Tensor, batch_idx: int) -> torch.Tensor:
        """Loss of a batch of images (B, C, size, size)."""
        step = self.global_step
        torch.manual_seed(derived_seed(self.recipe.seed, step, self.global_rank, 0))
        generator = torch.Generator(batch.device).manual_seed(derived_seed(self.recipe.seed, step, self.global_rank, 1))
        with torch.no_grad(), torch.autocast(batch.device.type, enabled=False):
            views = self.method.views(batch, generator=generator)
        losses = self.method.losses(self.learner, views, step=step)
        self.values = {name: value.detach() for name, value in losses.items()}
        return losses["loss"]

    def on_before_optimizer_step(self, optimizer: Any) -> None:
        """Let the method clip and freeze."""
        self.method.before_optimizer(self.learner, step=self.global_step)

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """One step, after which the method moves its averages: before any callback may save a checkpoint."""
        super().optimizer_step(*args, **kwargs)
        self.method.after_step(self.learner, step=self.global_step)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW over the method's groups."""
        groups = self.method.parameter_groups(self.learner)
        return torch.optim.AdamW(groups, lr=self.recipe.peak_learning_rate, betas=self.recipe.betas, fused=True)
