"""Callback that evaluates the encoder with a user-supplied probe every N steps.

The probe is passed in (for example `stellarfm.evaluation.mass_probe.MassProbe`): pretraining does not depend on maps.
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
from lightning.pytorch import LightningModule, Trainer

from stellarfm.contracts import Encoder
from stellarfm.exceptions import PretrainingError
from stellarfm.pretraining.callbacks.step_callback import StepCallback
from stellarfm.pretraining.lightning_module import PretrainingModule
from stellarfm.pretraining.probe_curve import SCORES, draw_curve

__all__ = ["Probe", "ProbeCallback"]


@dataclass(frozen=True, kw_only=True)
class Probe:
    """Evaluation of the encoder during pretraining.

    Attributes
    ----------
    ask : callable
        Function ``ask(encoder)`` that returns named scores. The encoder is the one that would be exported, on its
        device. The function must be deterministic and must not change the encoder; the global random states are
        restored afterwards.
    every : int
        Number of steps between evaluations; the encoder is also evaluated before the first and after the last step.
    about : str
        Description of the scores, one line.
    check : callable, optional
        Function ``check(encoder)``, called before the run starts, that raises an error if `ask` cannot work.

    Examples
    --------
    >>> from stellarfm.pretraining import Probe
    >>> probe = Probe(ask=lambda encoder: {"width": encoder.embed_dim}, every=100, about="length of the features")
    >>> probe.every
    100
    """

    ask: Callable[[Encoder], Mapping[str, float]]
    every: int
    about: str = ""
    check: Callable[[Encoder], None] | None = None

    def __post_init__(self) -> None:
        if self.every < 1:
            raise PretrainingError(f"every of a probe is {self.every}; expected at least 1 step")


class ProbeCallback(StepCallback):
    """Evaluates a `Probe`, writes ``probe.csv`` and draws ``probe.png`` when the run ends.

    Parameters
    ----------
    probe : Probe
        The evaluation.
    folder : pathlib.Path
        Folder of the run.
    batch_size : int
        Number of images per step.
    """

    def __init__(self, probe: Probe, folder: Path, *, batch_size: int) -> None:
        super().__init__(every=probe.every, table=folder / SCORES, prefix="probe/")
        self.probe = probe
        self.folder = folder
        self.batch_size = batch_size

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Remove the rows that will be written again; evaluate before the first step."""
        assert isinstance(module, PretrainingModule)
        super().on_train_start(trainer, module)
        if trainer.global_step == 0:
            self.on_due_step(trainer, module, None)

    def on_due_step(self, trainer: Trainer, module: PretrainingModule, batch: Any) -> None:
        """Evaluate the encoder and write a row."""
        if not (trainer.is_global_zero or module.sharded):  # sharded weights need all devices to take part
            return
        with _preserved_random_states():
            scores = {name: float(score) for name, score in self.probe.ask(module.exported).items()}
        if trainer.is_global_zero:
            self.log_row(trainer, scores, images=trainer.global_step * self.batch_size)

    def on_train_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Draw the curve."""
        if trainer.is_global_zero:
            draw_curve(self.folder, about=self.probe.about)

    def on_exception(self, trainer: Trainer, module: LightningModule, exception: BaseException) -> None:
        """Draw the curve of a run that is stopped by an error."""
        self.on_train_end(trainer, module)


@contextmanager
def _preserved_random_states() -> Iterator[None]:
    """Restore the global random states of Python, NumPy and torch afterwards."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 - the state, not a draw
    with torch.random.fork_rng():
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)  # noqa: NPY002
