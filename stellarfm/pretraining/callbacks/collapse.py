"""The callback that asks the guard, and keeps the last good checkpoint of a run that it stops."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from stellarfm.exceptions import PretrainingError
from stellarfm.pretraining.collapse import CollapseDetector
from stellarfm.pretraining.diagnostics import gradient_norm, images_differ, is_finite
from stellarfm.pretraining.lightning_module import PretrainingModule

__all__ = ["CollapseCallback"]


class CollapseCallback(Callback):
    """Measures the gradient, asks `CollapseDetector` at each line of the log, and lets no broken weights into a checkpoint.

    Whether the loss is finite is noted at every step on the device itself, and read where a line is written or a
    checkpoint is due: a GPU need not wait for it.

    Parameters
    ----------
    guard : Guard
        Who judges.
    folder : pathlib.Path
        Of the checkpoints.
    every : int
        Steps between lines of the log.
    """

    def __init__(self, guard: CollapseDetector, folder: Path, *, every: int) -> None:
        self.guard = guard
        self.folder = folder
        self.every = every
        self.finite: torch.Tensor | None = None

    def state_dict(self) -> dict[str, Any]:
        """Lightning puts this into the checkpoint."""
        return self.guard.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """What the guard knew when the checkpoint was written."""
        self.guard.load_state_dict(state_dict)

    @property
    def is_suspect(self) -> bool:
        """Whether the run looks hopeless; its last checkpoint from before is kept as long."""
        return self.guard.since is not None

    def on_before_optimizer_step(self, trainer: Trainer, module: LightningModule, optimizer: Any) -> None:
        """Note the gradient's norm before it is clipped, if a line is due."""
        assert isinstance(module, PretrainingModule)
        step = trainer.global_step + 1
        if step % self.every == 0 or step == module.recipe.steps:
            module.values["gradient"] = gradient_norm(module.learner.parameters())

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Judge, if a line is due."""
        assert isinstance(module, PretrainingModule)
        finite = torch.isfinite(module.values["loss"])
        self.finite = finite if self.finite is None else self.finite & finite
        step = trainer.global_step
        if step % self.every == 0 or step == module.recipe.steps:
            self._judge({name: float(value) for name, value in module.values.items()}, batch, step)

    def _judge(self, values: dict[str, float], batch: Any, step: int) -> None:
        """Ask the guard; blame the images where they are at fault."""
        images = batch[0] if isinstance(batch, (tuple, list)) else batch
        if not bool(torch.isfinite(images).all()):
            raise self.error(
                f"step {step}: the images hold NaN or infinity, so that loss is not finite; mend the dataset"
            )
        if not images_differ(images):
            raise self.error(
                f"step {step}: all images of a batch are the same, so that nothing can be learnt; "
                "mend the dataset or its options"
            )
        try:
            self.guard.check(values, step=step)
        except PretrainingError as error:
            raise self.error(str(error)) from None
        self.check_loss(step)

    def check_loss(self, step: int) -> None:
        """Raise `PretrainingError` if the loss was not finite at any step so far."""
        if self.finite is not None and not bool(self.finite):
            raise self.error(
                f"step {step}: the loss was not finite some steps ago; start anew with a lower learning_rate, a longer "
                "warmup_steps or precision = '32-true'"
            )

    def check_weights(self, module: torch.nn.Module, *, step: int) -> None:
        """Raise `PretrainingError` if what is to be saved is not finite."""
        self.check_loss(step)
        if not is_finite(module):
            raise self.error(
                f"step {step}: weights are not finite; start anew with a lower learning_rate, a longer warmup_steps or "
                "precision = '32-true'"
            )

    def error(self, reason: str) -> PretrainingError:
        """The error of a run that is given up, with what is left of it; later checkpoints are removed."""
        checkpoints = sorted(self.folder.glob("step-*.ckpt"))
        if not checkpoints:
            return PretrainingError(f"{reason} (no checkpoint was written yet)")
        for path in checkpoints[1:]:
            path.unlink(missing_ok=True)  # written since the run looks hopeless
        kept = int(checkpoints[0].stem.removeprefix("step-"))
        return PretrainingError(f"{reason} (the checkpoint and the encoder of step {kept} are kept)")
