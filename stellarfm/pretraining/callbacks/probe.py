"""An outside question to the encoder every so many steps: its answers, step by step, are the curve of a run.

What is asked is given from outside (`stellarfm.evaluation.mass_probe.MassProbe`, say): pretraining knows no maps.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from stellarfm.contracts import Encoder
from stellarfm.exceptions import PretrainingError
from stellarfm.pretraining.lightning_module import PretrainingModule
from stellarfm.pretraining.probe_curve import SCORES, draw_curve
from stellarfm.pretraining.step_table import StepTable

__all__ = ["Probe", "ProbeCallback"]


@dataclass(frozen=True, kw_only=True)
class Probe:
    """What is asked of the encoder, and how often.

    Attributes
    ----------
    ask : callable
        ``ask(encoder)`` gives named scores; the encoder is the one that would be exported, on its device. It must not
        change it, and always give the same scores; its random draws leave no trace in the run.
    every : int
        Steps between questions; the first is asked before any step, the last after all.
    about : str
        What the scores are, in one line.
    check : callable, optional
        ``check(encoder)`` raises where `ask` could not work; it is called before a run begins.
    """

    ask: Callable[[Encoder], Mapping[str, float]]
    every: int
    about: str = ""
    check: Callable[[Encoder], None] | None = None

    def __post_init__(self) -> None:
        if self.every < 1:
            raise PretrainingError(f"probe steps are {self.every}; expected at least 1")


class ProbeCallback(Callback):
    """Asks a `Probe`, writes ``probe.csv`` and the trainer's other logs, and draws ``probe.png`` when the run ends."""

    def __init__(self, probe: Probe, folder: Path, *, batch_size: int) -> None:
        self.probe = probe
        self.folder = folder
        self.batch_size = batch_size
        self.table = StepTable(folder / SCORES)

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Cut the table to what the checkpoint knows; ask before the first step."""
        if trainer.is_global_zero:
            self.table.cut(trainer.global_step)
        if trainer.global_step == 0:
            self._ask(trainer, module)

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Ask, if it is time."""
        assert isinstance(module, PretrainingModule)
        if trainer.global_step % self.probe.every == 0 or trainer.global_step == module.recipe.steps:
            self._ask(trainer, module)

    def on_train_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Draw the curve."""
        if trainer.is_global_zero:
            draw_curve(self.folder, about=self.probe.about)

    def on_exception(self, trainer: Trainer, module: LightningModule, exception: BaseException) -> None:
        """Draw the curve of a run that was given up."""
        self.on_train_end(trainer, module)

    def _ask(self, trainer: Trainer, module: LightningModule) -> None:
        """One line of the table."""
        assert isinstance(module, PretrainingModule)
        if not (trainer.is_global_zero or module.sharded):  # weights that are spread over devices need all of them
            return
        with _untouched_chance():
            scores = {name: float(score) for name, score in self.probe.ask(module.exported).items()}
        if trainer.is_global_zero:
            self._write(trainer, scores)

    def _write(self, trainer: Trainer, scores: dict[str, float]) -> None:
        """To the table and the trainer's other logs."""
        step = trainer.global_step
        self.table.add({"step": step, "images": step * self.batch_size, **scores})
        for logger in trainer.loggers:
            logger.log_metrics({f"probe/{name}": score for name, score in scores.items()}, step=step)


@contextmanager
def _untouched_chance() -> Iterator[None]:
    """Put the global random states of Python, NumPy and torch back afterwards."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 - the state, not a draw
    with torch.random.fork_rng():
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)  # noqa: NPY002
