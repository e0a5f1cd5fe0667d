"""What happens beside the steps of a run: its log, its checkpoints, its end."""

from __future__ import annotations

import logging
import signal
import sys
import threading
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import Logger, TensorBoardLogger
from tqdm import tqdm

from stellarfm.exceptions import PretrainingError
from stellarfm.pretraining.callbacks.collapse import Watch
from stellarfm.pretraining.distributed.process import SIGNALS
from stellarfm.pretraining.distributed.sharding import whole_state
from stellarfm.pretraining.export import Export
from stellarfm.pretraining.lightning_module import PretrainingModule
from stellarfm.pretraining.step_table import Table

__all__ = ["Checkpoints", "Progress", "RunLog", "Stop", "tensorboard_logger"]

log = logging.getLogger("stellarfm")


def tensorboard_logger(folder: Path, checkpoint: Path | None) -> Logger:
    """Lightning's logger into ``tensorboard/`` of `folder`; it forgets steps later than the checkpoint's."""
    if find_spec("tensorboard") is None:
        raise PretrainingError("no TensorBoard; `pip install stellarfm[tensorboard]`, or leave --tensorboard out")
    purge = int(checkpoint.stem.partition("-")[2]) + 1 if checkpoint is not None else None
    return TensorBoardLogger(folder, name="", version="tensorboard", purge_step=purge)


class RunLog(Callback):
    """One line of ``log.csv`` every so many steps.

    Lines beyond the step from which a run continues are removed, so that the log tells one story.
    """

    def __init__(self, path: Path, *, every: int, images: int) -> None:
        self.table = Table(path)
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


class Checkpoints(Callback):
    """Every so many steps or minutes, and at the end, the whole state of the run; the encoder is exported each time.

    A checkpoint appears whole or not at all, and its predecessor goes only then. While a run looks hopeless, its last
    checkpoint and its encoder from before are kept; what is not finite is never saved.
    """

    def __init__(self, folder: Path, *, every: int, export: Export, watch: Watch, minutes: float | None = None) -> None:
        self.folder = folder
        self.every = every
        self.minutes = minutes
        self.export = export
        self.watch = watch
        self.hours_before = 0.0
        self.started = self.saved = time.monotonic()

    @property
    def hours(self) -> float:
        """Hours of training of all sessions of this run."""
        return self.hours_before + (time.monotonic() - self.started) / 3600

    def state_dict(self) -> dict[str, float]:
        """Lightning puts this into the checkpoint."""
        return {"hours": self.hours}

    def load_state_dict(self, state_dict: dict[str, float]) -> None:
        """Hours of the sessions before."""
        self.hours_before = state_dict["hours"]

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save, if it is time."""
        if trainer.global_step % self.every == 0 or trainer.should_stop or self._late(trainer):
            self.save(trainer, module)

    def _late(self, trainer: Trainer) -> bool:
        """Whether the last checkpoint is too old, by the clock of any device."""
        if self.minutes is None:
            return False
        late = time.monotonic() - self.saved > 60 * self.minutes
        return trainer.strategy.reduce_boolean_decision(late, all=False)

    def on_train_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Save the last step, if that was not done."""
        self.save(trainer, module)

    def save(self, trainer: Trainer, module: LightningModule) -> None:
        """Write ``step-NNNNNNNN.ckpt`` and the encoder, remove older checkpoints."""
        assert isinstance(module, PretrainingModule)
        path = self.folder / f"step-{trainer.global_step:08d}.ckpt"
        if path.exists():
            return
        self.watch.check_weights(module.learner, step=trainer.global_step)
        temporary = self.folder / ".partial.ckpt"
        trainer.save_checkpoint(temporary)
        self.saved = time.monotonic()
        state = whole_state(module.exported)
        if trainer.is_global_zero:
            temporary.replace(path)
            first, *later = sorted(self.folder.glob("step-*.ckpt"))
            for old in later if self.watch.suspicious else (first, *later):
                if old != path:
                    old.unlink()
            if not self.watch.suspicious or trainer.should_stop or trainer.global_step == module.recipe.steps:
                self.export.write(module.exported, state, steps=trainer.global_step, hours=self.hours)
        trainer.strategy.barrier()


class Stop(Callback):
    """Ends a run after the step at hand: at SIGTERM or SIGINT (control-C), or after so many hours.

    Devices agree on it: any may be the first to know. The signals are given back by
    `stellarfm.pretraining.distributed.process`.
    """

    def __init__(self, *, max_hours: float | None) -> None:
        self.deadline = time.monotonic() + max_hours * 3600 if max_hours is not None else float("inf")
        self.reason: str | None = None

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Take the two signals over from Lightning (from the main thread only: Python allows no other)."""
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                signal.signal(number, self._ask)

    def _ask(self, number: int, frame: Any) -> None:
        self.reason = signal.Signals(number).name

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Tell Lightning, if it is time."""
        if self.reason is None and time.monotonic() > self.deadline:
            self.reason = "max_hours"
        if trainer.strategy.reduce_boolean_decision(self.reason is not None, all=False):
            trainer.should_stop = True

    def on_train_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Say why the run stopped."""
        assert isinstance(module, PretrainingModule)
        if trainer.should_stop and trainer.is_global_zero:
            why, steps = self.reason or "another process", module.recipe.steps
            log.warning("stopped by %s at step %d of %d; --resume continues", why, trainer.global_step, steps)


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
