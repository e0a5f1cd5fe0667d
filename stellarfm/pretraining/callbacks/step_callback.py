"""Base class of the callbacks that act every N steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from stellarfm.pretraining.lightning_module import PretrainingModule
from stellarfm.pretraining.step_table import StepTable

__all__ = ["StepCallback"]


class StepCallback(Callback):
    """Callback that acts every N steps and after the last step, and may write a table of its results.

    Subclasses implement `on_due_step`. When a run is resumed, rows beyond its checkpoint are removed from the table.

    Parameters
    ----------
    every : int
        Number of steps between actions.
    table : pathlib.Path, optional
        CSV file of the results.
    prefix : str
        Prefix of the names of the results in the trainer's loggers.
    """

    def __init__(self, *, every: int, table: Path | None = None, prefix: str = "") -> None:
        self.every = every
        self.table = StepTable(table) if table is not None else None
        self.prefix = prefix

    def due(self, step: int, module: LightningModule) -> bool:
        """Return whether the callback acts after `step` steps."""
        assert isinstance(module, PretrainingModule)
        return step % self.every == 0 or step == module.recipe.steps

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Remove the rows that the steps to come will write."""
        if self.table is not None and trainer.is_global_zero:
            self.table.cut(trainer.global_step if trainer.global_step else -1)

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Call `on_due_step` where it is due."""
        assert isinstance(module, PretrainingModule)
        if self.due(trainer.global_step, module):
            self.on_due_step(trainer, module, batch)

    def on_due_step(self, trainer: Trainer, module: PretrainingModule, batch: Any) -> None:
        """Act after a step; `batch` holds its images, and its labels if the method uses labels."""

    def log_row(self, trainer: Trainer, values: dict[str, float], **counts: int) -> None:
        """Write `counts` and `values` of the current step to the table, and `values` to the trainer's loggers."""
        if self.table is not None:
            self.table.add({"step": trainer.global_step, **counts, **values})
        for logger in trainer.loggers:
            logger.log_metrics({f"{self.prefix}{k}": v for k, v in values.items()}, step=trainer.global_step)
