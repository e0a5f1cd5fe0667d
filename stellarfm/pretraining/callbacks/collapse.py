"""Callback that stops a collapsed run and keeps its last good checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

import torch
from lightning.pytorch import LightningModule, Trainer

from stellarfm.exceptions import PretrainingError
from stellarfm.pretraining.callbacks.step_callback import StepCallback
from stellarfm.pretraining.collapse import CollapseDetector
from stellarfm.pretraining.diagnostics import gradient_norm, images_differ, is_finite
from stellarfm.pretraining.lightning_module import PretrainingModule

__all__ = ["CollapseCallback"]

REMEDY = "restart with a lower learning_rate, a longer warmup_steps or precision = '32-true'"


class CollapseCallback(StepCallback):
    """Measures the gradient norm, applies a `CollapseDetector` and keeps non-finite weights out of checkpoints.

    Whether the loss is finite is recorded at every step on the training device, and read only where a row of the log or
    a checkpoint is due, so that a GPU need not synchronize at every step.

    Parameters
    ----------
    detector : CollapseDetector
        Detector of collapsed runs.
    folder : pathlib.Path
        Folder of the checkpoints.
    every : int
        Number of steps between rows of the log.
    """

    def __init__(self, detector: CollapseDetector, folder: Path, *, every: int) -> None:
        super().__init__(every=every)
        self.detector = detector
        self.folder = folder
        self.finite: torch.Tensor | None = None

    def state_dict(self) -> dict[str, Any]:
        """Return the detector's state, which Lightning stores in the checkpoint."""
        return self.detector.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the detector's state."""
        self.detector.load_state_dict(state_dict)

    @property
    def is_suspect(self) -> bool:
        """Whether the run seems to have collapsed; meanwhile the last checkpoint from before is kept."""
        return self.detector.since is not None

    def on_before_optimizer_step(self, trainer: Trainer, module: LightningModule, optimizer: Any) -> None:
        """Measure the norm of the gradient before it is clipped, if a row is due."""
        assert isinstance(module, PretrainingModule)
        if self.due(trainer.global_step + 1, module):
            module.values["gradient"] = gradient_norm(module.learner.parameters())

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Record whether the loss is finite, and check the run if a row is due."""
        assert isinstance(module, PretrainingModule)
        finite = torch.isfinite(module.values["loss"])
        self.finite = finite if self.finite is None else self.finite & finite
        super().on_train_batch_end(trainer, module, outputs, batch, batch_idx)

    def on_due_step(self, trainer: Trainer, module: PretrainingModule, batch: Any) -> None:
        """Stop a run that has collapsed or whose images are unusable."""
        step = trainer.global_step
        images = batch[0] if isinstance(batch, (tuple, list)) else batch
        if not bool(torch.isfinite(images).all()):
            self._stop(f"step {step}: the images contain NaN or infinity, so the loss is not finite; fix the dataset")
        if not images_differ(images):
            self._stop(
                f"step {step}: all images of a batch are identical, so nothing can be learned; "
                "fix the dataset or its options"
            )
        try:
            self.detector.check({name: float(value) for name, value in module.values.items()}, step=step)
        except PretrainingError as error:
            self._stop(str(error))
        self.check_loss(step)

    def check_loss(self, step: int) -> None:
        """Raise `PretrainingError` if the loss was not finite at any step so far."""
        if self.finite is not None and not bool(self.finite):
            self._stop(f"step {step}: the loss was not finite at an earlier step; {REMEDY}")

    def check_weights(self, module: torch.nn.Module, *, step: int) -> None:
        """Raise `PretrainingError` if any weight or loss is not finite; called before a checkpoint is saved."""
        self.check_loss(step)
        if not is_finite(module):
            self._stop(f"step {step}: weights are not finite; {REMEDY}")

    def discard_later_checkpoints(self) -> int | None:
        """Remove all checkpoints but the first, and return its step; None if there is no checkpoint.

        While a run is suspect its last good checkpoint is kept, so that the first one is the last good one.
        """
        checkpoints = sorted(self.folder.glob("step-*.ckpt"))
        for path in checkpoints[1:]:
            path.unlink(missing_ok=True)
        return int(checkpoints[0].stem.removeprefix("step-")) if checkpoints else None

    def _stop(self, reason: str) -> NoReturn:
        """Raise `PretrainingError` with the reason and the step whose checkpoint is kept."""
        kept = self.discard_later_checkpoints()
        if kept is None:
            raise PretrainingError(f"{reason} (no checkpoint was written yet)")
        raise PretrainingError(f"{reason} (the checkpoint and the encoder of step {kept} are kept)")
