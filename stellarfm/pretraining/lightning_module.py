"""Lightning module that trains any pretraining method."""

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
    """Optimizer, schedules and data of a run; the losses are those of the method.

    All random numbers of a step are drawn with seeds derived from (run seed, step), so that checkpoints need no random
    state. Views are drawn with the same seed on all devices; the seed of random operations within the network
    (dropout, stochastic depth) also depends on the device.

    Parameters
    ----------
    method : PretrainingMethod
        Pretraining method.
    encoder : Encoder
        Encoder to train.
    recipe : Recipe
        Settings of the run.
    batches : Batches
        Batches of images.
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
        """Encoder that the method exports."""
        return self.method.encoder(self.learner)

    @property
    def share(self) -> tuple[int, int]:
        """Rank of this device and number of devices."""
        return self.global_rank, self.trainer.world_size

    def setup(self, stage: str) -> None:
        """Set the number of threads, which a spawned process does not inherit."""
        set_threads(self.recipe)

    def configure_model(self) -> None:
        """Shard the weights over devices if the strategy is ``fsdp``."""
        if self.recipe.strategy == "fsdp" and not self.sharded:
            shard_parameters(self.learner, mesh=self.device_mesh["data_parallel"])  # type: ignore[index]
            self.sharded = True

    def train_dataloader(self) -> DataLoader:
        """Return the batches from the current step on."""
        return self.batches.loader(self.global_step, share=self.share, device=self.device)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Make the images of the batch if they are made on the training device."""
        return self.batches.complete(batch, self.device)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Set the learning rate and the weight decay of this step."""
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
        """Return the loss of a batch: images (B, C, size, size), or images and labels (B, n_labels)."""
        step = self.global_step
        images, *labels = batch if self.method.labelled else (batch,)
        torch.manual_seed(derived_seed(self.recipe.seed, step, self.global_rank, 0))
        with torch.no_grad(), torch.autocast(images.device.type, enabled=False):
            generator = ShardedGenerator(images.device)
            generator.manual_seed(derived_seed(self.recipe.seed, step, 0, 1))  # the same on all devices
            generator.share = self.share
            views = self.method.views(images, generator=generator)
        losses = self.method.losses(self.learner, views, step=step, **({"labels": labels[0]} if labels else {}))
        self.values = all_reduce_mean({name: value.detach() for name, value in losses.items()})
        return losses["loss"]

    def on_before_optimizer_step(self, optimizer: Any) -> None:
        """Let the method clip or freeze gradients."""
        self.method.before_optimizer(self.learner, step=self.global_step)

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Update the weights, then the method's moving averages, before any callback can save a checkpoint."""
        super().optimizer_step(*args, **kwargs)
        self.method.after_step(self.learner, step=self.global_step)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return AdamW over the method's parameter groups."""
        groups = self.method.parameter_groups(self.learner)
        optimizer = torch.optim.AdamW(groups, lr=self.recipe.peak_learning_rate, betas=self.recipe.betas, fused=True)
        if self.sharded:
            initialize_moments(optimizer)
        return optimizer
