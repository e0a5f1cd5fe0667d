"""Log of a run: CSV table, TensorBoard and progress bar."""

from __future__ import annotations

import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import Logger, TensorBoardLogger
from tqdm import tqdm

from stellarfm.exceptions import PretrainingError
from stellarfm.pretraining.callbacks.step_callback import StepCallback
from stellarfm.pretraining.lightning_module import PretrainingModule

__all__ = ["CSVLog", "Progress", "tensorboard_logger"]


def tensorboard_logger(folder: Path, *, first_step: int) -> Logger:
    """Return Lightning's logger into ``tensorboard/`` of `folder`; values from `first_step` on are replaced."""
    if find_spec("tensorboard") is None:
        raise PretrainingError(
            "tensorboard is not installed; install it with `pip install stellarfm[tensorboard]`, or set tensorboard to "
            "False"
        )
    return TensorBoardLogger(folder, name="", version="tensorboard", purge_step=first_step)


class CSVLog(StepCallback):
    """Writes losses, monitors, learning rate and speed to ``log.csv`` every N steps.

    Parameters
    ----------
    path : pathlib.Path
        Path of the table.
    every : int
        Number of steps between rows.
    batch_size : int
        Number of images per step.
    """

    def __init__(self, path: Path, *, every: int, batch_size: int) -> None:
        super().__init__(every=every, table=path)
        self.batch_size = batch_size
        self.last_row = (0, 0.0)

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Remove the rows that will be written again, and start the clock."""
        super().on_train_start(trainer, module)
        self.last_row = (trainer.global_step, time.monotonic())

    def on_due_step(self, trainer: Trainer, module: PretrainingModule, batch: Any) -> None:
        """Write a row."""
        if not trainer.is_global_zero:
            return
        (step, clock), self.last_row = self.last_row, (trainer.global_step, time.monotonic())
        images = (trainer.global_step - step) * self.batch_size
        values = {name: float(value) for name, value in module.values.items()}
        values["learning_rate"] = float(trainer.optimizers[0].param_groups[0]["lr"])
        values["images_per_second"] = images / max(self.last_row[1] - clock, 1e-9)
        self.log_row(trainer, values)


class Progress(Callback):
    """Progress bar over all steps, on a terminal only.

    Lightning's `TQDMProgressBar` counts the batches of an epoch, whose number an endless loader does not have, starts
    at zero when a run is resumed, and also writes to files.

    Parameters
    ----------
    batch_size : int
        Number of images per step.
    """

    def __init__(self, *, batch_size: int) -> None:
        self.batch_size = batch_size
        self.bar: tqdm | None = None

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Draw the bar."""
        assert isinstance(module, PretrainingModule)
        hidden = not (trainer.is_global_zero and sys.stderr.isatty())
        self.bar = tqdm(total=module.recipe.steps, initial=trainer.global_step, unit="step", disable=hidden)

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Advance the bar."""
        assert isinstance(module, PretrainingModule)
        assert self.bar is not None
        self.bar.update()
        if not self.bar.disable and trainer.global_step % 10 == 0:
            rate = self.bar.format_dict["rate"] or 0.0
            self.bar.set_postfix_str(f"loss {float(module.values['loss']):.3f}, {rate * self.batch_size:.0f} images/s")

    def on_train_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Close the bar."""
        if self.bar is not None:
            self.bar.close()
