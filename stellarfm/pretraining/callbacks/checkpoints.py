"""Checkpoints of the whole state of a run, and its end at a signal or a time limit."""

from __future__ import annotations

import logging
import signal
import threading
import time
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from stellarfm.pretraining.callbacks.collapse import CollapseCallback
from stellarfm.pretraining.distributed.process import SIGNALS
from stellarfm.pretraining.distributed.sharding import full_state_dict
from stellarfm.pretraining.export import Export
from stellarfm.pretraining.lightning_module import PretrainingModule

__all__ = ["Checkpoints", "GracefulStop"]

log = logging.getLogger("stellarfm")


class Checkpoints(Callback):
    """Every so many steps or minutes, and at the end, the whole state of the run; the encoder is exported each time.

    A checkpoint appears whole or not at all, and its predecessor goes only then. While a run looks hopeless, its last
    checkpoint and its encoder from before are kept; what is not finite is never saved.
    """

    def __init__(
        self, folder: Path, *, every: int, export: Export, watch: CollapseCallback, minutes: float | None = None
    ) -> None:
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
        state = full_state_dict(module.exported)
        if trainer.is_global_zero:
            temporary.replace(path)
            first, *later = sorted(self.folder.glob("step-*.ckpt"))
            for old in later if self.watch.is_suspect else (first, *later):
                if old != path:
                    old.unlink()
            if not self.watch.is_suspect or trainer.should_stop or trainer.global_step == module.recipe.steps:
                self.export.write(module.exported, state, steps=trainer.global_step, hours=self.hours)
        trainer.strategy.barrier()


class GracefulStop(Callback):
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
