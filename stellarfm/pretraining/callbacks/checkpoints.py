"""Checkpoints of the whole state of a run, and the early end of a run at a signal or a time limit."""

from __future__ import annotations

import logging
import signal
import threading
import time
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.plugins.io import TorchCheckpointIO

from stellarfm.pretraining.callbacks.collapse import CollapseCallback
from stellarfm.pretraining.distributed.process import SIGNALS
from stellarfm.pretraining.distributed.sharding import full_state_dict
from stellarfm.pretraining.export import Export
from stellarfm.pretraining.lightning_module import PretrainingModule

__all__ = ["Checkpoints", "GracefulStop", "export_from_checkpoint"]

log = logging.getLogger("stellarfm")


class Checkpoints(Callback):
    """Saves the whole state of the run and exports its encoder every N steps or minutes, and at the end.

    A checkpoint is written atomically, and the previous one is removed only afterwards. While a run seems to have
    collapsed, its last checkpoint and its encoder from before are kept; non-finite weights are never saved.

    Parameters
    ----------
    folder : pathlib.Path
        Folder of the checkpoints.
    every : int
        Number of steps between checkpoints.
    export : Export
        Writer of the encoder.
    collapse : CollapseCallback
        Callback that checks the weights and knows whether the run seems to have collapsed.
    minutes : float, optional
        Largest time between checkpoints.
    """

    def __init__(
        self, folder: Path, *, every: int, export: Export, collapse: CollapseCallback, minutes: float | None = None
    ) -> None:
        self.folder = folder
        self.every = every
        self.minutes = minutes
        self.export = export
        self.collapse = collapse
        self.previous_hours = 0.0
        self.started = self.saved = time.monotonic()

    @property
    def hours(self) -> float:
        """Hours of training, summed over all sessions of this run."""
        return self.previous_hours + (time.monotonic() - self.started) / 3600

    def state_dict(self) -> dict[str, float]:
        """Return the hours of training, which Lightning stores in the checkpoint."""
        return {"hours": self.hours}

    def load_state_dict(self, state_dict: dict[str, float]) -> None:
        """Restore the hours of previous sessions."""
        self.previous_hours = state_dict["hours"]

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save a checkpoint if it is due."""
        if trainer.global_step % self.every == 0 or trainer.should_stop or self._is_overdue(trainer):
            self.save(trainer, module)

    def _is_overdue(self, trainer: Trainer) -> bool:
        """Return whether the last checkpoint is too old, by the clock of any device."""
        if self.minutes is None:
            return False
        overdue = time.monotonic() - self.saved > 60 * self.minutes
        return trainer.strategy.reduce_boolean_decision(overdue, all=False)

    def on_train_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Save the last step, unless that was done before."""
        self.save(trainer, module)

    def save(self, trainer: Trainer, module: LightningModule) -> None:
        """Write ``step-NNNNNNNN.ckpt`` and the encoder, and remove older checkpoints."""
        assert isinstance(module, PretrainingModule)
        path = self.folder / f"step-{trainer.global_step:08d}.ckpt"
        if path.exists():
            return
        self.collapse.check_weights(module.learner, step=trainer.global_step)
        temporary = self.folder / ".partial.ckpt"
        trainer.save_checkpoint(temporary)
        self.saved = time.monotonic()
        state = full_state_dict(module.exported)
        if trainer.is_global_zero:
            temporary.replace(path)
            first, *later = sorted(self.folder.glob("step-*.ckpt"))
            for old in later if self.collapse.is_suspect else (first, *later):
                if old != path:
                    old.unlink()
            if not self.collapse.is_suspect or trainer.should_stop or trainer.global_step == module.recipe.steps:
                self.export.write(module.exported, state, steps=trainer.global_step, hours=self.hours)
        trainer.strategy.barrier()


def export_from_checkpoint(checkpoint: Path, module: PretrainingModule, export: Export, *, step: int) -> None:
    """Export the encoder of a run that was killed between its last checkpoint and the export."""
    content = TorchCheckpointIO().load_checkpoint(checkpoint, weights_only=True)
    module.load_state_dict(content["state_dict"])
    hours = content["callbacks"][Checkpoints.__qualname__]["hours"]
    export.write(module.exported, full_state_dict(module.exported), steps=step, hours=hours)


class GracefulStop(Callback):
    """Ends a run after the current step: at SIGTERM or SIGINT (Ctrl-C), or after a given time.

    All devices stop together, whichever receives the signal. The previous signal handlers are restored by
    `stellarfm.pretraining.distributed.process.run_settings`. Lightning's `Timer` does not serve here: it adds the time
    of previous sessions, so that a run that has reached its limit could not be resumed, and ignores signals.

    Parameters
    ----------
    max_hours : float or None
        Time limit of this session.

    Attributes
    ----------
    received : signal.Signals or None
        Signal that ended the run.
    """

    def __init__(self, *, max_hours: float | None) -> None:
        self.deadline = time.monotonic() + max_hours * 3600 if max_hours is not None else float("inf")
        self.received: signal.Signals | None = None

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Replace Lightning's handlers of the two signals (Python allows that in the main thread only)."""
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                signal.signal(number, self._record)

    def _record(self, number: int, frame: Any) -> None:
        self.received = signal.Signals(number)

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Make Lightning stop if a signal was received or the time is over."""
        stop = self.received is not None or time.monotonic() > self.deadline
        if trainer.strategy.reduce_boolean_decision(stop, all=False):
            trainer.should_stop = True

    def on_train_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Log why the run stopped."""
        assert isinstance(module, PretrainingModule)
        if trainer.should_stop and trainer.is_global_zero:
            late = time.monotonic() > self.deadline
            reason = self.received.name if self.received else "max_hours" if late else "another process"
            steps = module.recipe.steps
            log.warning("stopped by %s at step %d of %d; resume continues the run", reason, trainer.global_step, steps)
