"""The thin Lightning module around any pretraining method."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch.utils.data import DataLoader

from stellarfm.contracts import Encoder, PretrainingMethod
from stellarfm.pretraining.data import Batches, derived_seed
from stellarfm.pretraining.distributed.collectives import all_reduce_mean
from stellarfm.pretraining.distributed.process import set_threads
from stellarfm.pretraining.distributed.random import ShardedGenerator
from stellarfm.pretraining.distributed.sharding import initialize_moments, shard_parameters
from stellarfm.pretraining.optimization import cosine, warmup_cosine
from stellarfm.pretraining.recipe import Recipe

__all__ = ["PretrainingModule"]


class PretrainingModule(LightningModule):
    """Owns the optimiser and its schedules; what is learnt is the method's.

    Every random number of a step comes from a seed made of (run seed, step), so that the random state needs no place in
    a checkpoint. Views are drawn alike on all devices; chance within the network also depends on the device.

    Parameters
    ----------
    method : PretrainingMethod
        What is learnt.
    encoder : Encoder
        Who learns it.
    recipe : Recipe
        How.
    batches : Batches
        From what.
    """

    def __init__(self, *, method: PretrainingMethod, encoder: Encoder, recipe: Recipe, batches: Batches) -> None:
        super().__init__()
        self.method = method
        self.recipe = recipe
        self.batches = batches
        self.learner = method.build(encoder, image_size=recipe.size, total_steps=recipe.steps)
        self.values: dict[str, torch.Tensor] = {}
        self.sharded = False

    @property
    def exported(self) -> Encoder:
        """The encoder as the method gives it away."""
        return self.method.encoder(self.learner)

    @property
    def share(self) -> tuple[int, int]:
        """Number of this device and of all devices."""
        return self.global_rank, self.trainer.world_size

    def setup(self, stage: str) -> None:
        """Threads, which a spawned process does not inherit."""
        set_threads(self.recipe)

    def configure_model(self) -> None:
        """Spread the weights over devices, if that was asked for."""
        if self.recipe.strategy == "fsdp" and not self.sharded:
            shard_parameters(self.learner, mesh=self.device_mesh["data_parallel"])  # type: ignore[index]
            self.sharded = True

    def train_dataloader(self) -> DataLoader:
        """Batches from the current step on."""
        return self.batches.loader(self.global_step, share=self.share, device=self.device)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Make the images here, if that is where they are made."""
        return self.batches.complete(batch, self.device)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
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

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        """Loss of a batch of images (B, C, size, size), or of images and labels (B, numbers)."""
        step = self.global_step
        images, *labels = batch if self.method.labelled else (batch,)
        torch.manual_seed(derived_seed(self.recipe.seed, step, self.global_rank, 0))
        with torch.no_grad(), torch.autocast(images.device.type, enabled=False):
            views = self.method.views(images, generator=self._generator(images.device))
        given = {"labels": labels[0]} if labels else {}
        losses = self.method.losses(self.learner, views, step=step, **given)
        self.values = all_reduce_mean({name: value.detach() for name, value in losses.items()})
        return losses["loss"]

    def _generator(self, device: torch.device) -> ShardedGenerator:
        """Of this step's views; alike on all devices, each of which keeps its share."""
        generator = ShardedGenerator(device)
        generator.manual_seed(derived_seed(self.recipe.seed, self.global_step, 0, 1))
        generator.share = self.share
        return generator

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
        optimizer = torch.optim.AdamW(groups, lr=self.recipe.peak_learning_rate, betas=self.recipe.betas, fused=True)
        if self.sharded:
            initialize_moments(optimizer)
        return optimizer
