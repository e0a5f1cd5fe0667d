"""Which processes take part in a run, and how they work together."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy, Strategy

from stellarfm.exceptions import PretrainingError

__all__ = ["Devices", "silence_loggers", "silenced_loggers"]


class _QuietDDP(DDPStrategy):
    """Each spawned process silences Lightning before it greets the others."""

    def setup_environment(self) -> None:
        silence_loggers()
        super().setup_environment()


@dataclass(frozen=True)
class Devices:
    """The processes of a run, each with one GPU, or a CPU's share where there is none.

    Attributes
    ----------
    local, nodes : int
        Processes on this machine, and number of machines.
    number : int
        Of this process among all; 0 writes the files.
    launched : bool
        Whether torchrun started the processes; if not, and there are several, they are spawned.
    """

    local: int = 1
    nodes: int = 1
    number: int = 0
    launched: bool = False

    @classmethod
    def find(cls, wanted: int | None) -> Devices:
        """What torchrun says in the environment, or else `wanted` processes on this machine (default: one).

        Raises
        ------
        PretrainingError
            If `wanted` is below one, more than there are GPUs, or not what torchrun started.
        """
        if wanted is not None and wanted < 1:
            raise PretrainingError(f"devices is {wanted}; expected at least 1")
        if "TORCHELASTIC_RUN_ID" in os.environ:
            return cls._from_torchrun(wanted)
        gpus = torch.cuda.device_count()
        if gpus and (wanted or 1) > gpus:
            raise PretrainingError(f"devices is {wanted}, this machine has {gpus} GPUs; expected at most {gpus}")
        return cls(local=wanted or 1)

    @classmethod
    def _from_torchrun(cls, wanted: int | None) -> Devices:
        total, local, number = (int(os.environ[name]) for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE", "RANK"))
        if wanted not in (None, local):
            raise PretrainingError(
                f"devices is {wanted}, torchrun started {local} processes here; leave --devices out under torchrun"
            )
        return cls(local=local, nodes=total // local, number=number, launched=True)

    @property
    def total(self) -> int:
        """Number of processes on all machines."""
        return self.local * self.nodes

    def check_batch(self, batch_size: int) -> None:
        """Raise `PretrainingError` unless every process gets the same number of images."""
        if batch_size % self.total:
            raise PretrainingError(
                f"batch_size is {batch_size} for {self.total} devices; expected a multiple of {self.total}"
            )

    def strategy(self, name: str) -> Strategy | str:
        """Lightning's strategy for the recipe's ``strategy``; raises `PretrainingError` if it does not fit."""
        if name == "fsdp":
            return self._sharded()
        if self.total == 1 and not self.launched:
            return "auto"
        # A method may leave parameters without gradient (the mask token, where nothing is hidden).
        kind, start = (DDPStrategy, "popen") if self.launched else (_QuietDDP, "spawn")
        return kind(start_method=start, find_unused_parameters=True)  # type: ignore[arg-type]

    def _sharded(self) -> Strategy:
        if self.total < 2 or not self.launched:
            raise PretrainingError(
                f"strategy 'fsdp' spreads the weights over several devices that torchrun starts, here there is "
                f"{'one' if self.total < 2 else 'no torchrun'}; run `torchrun --nproc-per-node N --no-python stellarfm "
                "pretrain ...`, or take strategy = 'auto'"
            )
        return ModelParallelStrategy(
            data_parallel_size=self.total, tensor_parallel_size=1, save_distributed_checkpoint=False
        )


LOGGERS = ("lightning.pytorch", "lightning.fabric")
TORCH_LEVEL = "TORCH_CPP_LOG_LEVEL"


def silence_loggers() -> None:
    """Errors only, in this process and those that it starts, from now on."""
    warnings.filterwarnings("ignore", module="lightning")
    os.environ.setdefault(TORCH_LEVEL, "ERROR")
    for name in LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)


@contextmanager
def silenced_loggers() -> Iterator[None]:
    """`silence_loggers`, for a while."""
    before = {name: logging.getLogger(name).level for name in LOGGERS}
    unset = TORCH_LEVEL not in os.environ
    with warnings.catch_warnings():
        silence_loggers()
        try:
            yield
        finally:
            if unset:
                os.environ.pop(TORCH_LEVEL, None)
            for name, level in before.items():
                logging.getLogger(name).setLevel(level)
