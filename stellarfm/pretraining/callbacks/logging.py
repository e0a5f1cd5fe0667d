"""Log of a run: CSV table, TensorBoard, progress bar."""

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
from stellarfm.pretraining.lightning_module import PretrainingModule
from stellarfm.pretraining.step_table import StepTable

__all__ = ["CSVLog", "Progress", "tensorboard_logger"]


def tensorboard_logger(folder: Path, checkpoint: Path | None) -> Logger:
    """Lightning's logger into ``tensorboard/`` of `folder`; it forgets steps later than the checkpoint's."""
    if find_spec("tensorboard") is None:
        raise PretrainingError("no TensorBoard; `pip install stellarfm[tensorboard]`, or leave --tensorboard out")
    purge = int(checkpoint.stem.partition("-")[2]) + 1 if checkpoint is not None else None
    return TensorBoardLogger(folder, name="", version="tensorboard", purge_step=purge)


class CSVLog(Callback):
    """One line of ``log.csv`` every so many steps.

    Lines beyond the step from which a run continues are removed, so that the log tells one story.
    """

    def __init__(self, path: Path, *, every: int, images: int) -> None:
        self.table = StepTable(path)
        self.every = every
        self.images = images
        self.clock = (0, 0.0)

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Cut the log to what the checkpoint knows."""
        self.clock = (trainer.global_step, time.monotonic())
        if trainer.is_global_zero:
            self.table.cut(trainer.global_step)

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Write a line, if it is time."""
        assert isinstance(module, PretrainingModule)
        step = trainer.global_step
        if trainer.is_global_zero and (step % self.every == 0 or step == module.recipe.steps):
            values = {name: float(value) for name, value in module.values.items()}
            values |= {"learning_rate": self._rate(trainer), "images_per_second": self._speed(step)}
            self.table.add({"step": step, **values})
            for logger in trainer.loggers:
                logger.log_metrics(values, step=step)

    def _rate(self, trainer: Trainer) -> float:
        return float(trainer.optimizers[0].param_groups[0]["lr"])

    def _speed(self, step: int) -> float:
        """Images a second since the last line."""
        before, then = self.clock
        self.clock = (step, time.monotonic())
        return (step - before) * self.images / max(self.clock[1] - then, 1e-9)


class Progress(Callback):
    """A bar on the terminal; nothing anywhere else."""

    def __init__(self, *, images: int) -> None:
        self.images = images
        self.bar: tqdm | None = None

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Draw the bar."""
        assert isinstance(module, PretrainingModule)
        hidden = not (trainer.is_global_zero and sys.stderr.isatty())
        self.bar = tqdm(total=module.recipe.steps, initial=trainer.global_step, unit="step", disable=hidden)

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Move the bar."""
        assert isinstance(module, PretrainingModule)
        assert self.bar is not None
        self.bar.update()
        if not self.bar.disable and trainer.global_step % 10 == 0:
            rate = self.bar.format_dict["rate"] or 0.0
            self.bar.set_postfix_str(f"loss {float(module.values['loss']):.3f}, {rate * self.images:.0f} images/s")

    def on_train_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Leave the line."""
        if self.bar is not None:
            self.bar.close()
