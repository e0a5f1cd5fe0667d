"""Processes that take part in a run, and how they divide the work."""

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
    """DDP whose spawned processes silence Lightning before they are connected."""

    def setup_environment(self) -> None:
        silence_loggers()
        super().setup_environment()


@dataclass(frozen=True)
class Devices:
    """Processes of a run, each with one GPU, or a share of the CPU cores if there is no GPU.

    Attributes
    ----------
    local, nodes : int
        Number of processes on this machine, and number of machines.
    rank : int
        Index of this process among all processes; process 0 writes the files.
    launched : bool
        Whether torchrun started the processes; otherwise several processes are spawned.
    """

    local: int = 1
    nodes: int = 1
    rank: int = 0
    launched: bool = False

    @classmethod
    def from_environment(cls, devices: int | None) -> Devices:
        """Return the processes that torchrun started, or else `devices` processes on this machine (default: one).

        Raises
        ------
        PretrainingError
            If `devices` is below one, exceeds the number of GPUs, or differs from what torchrun started.
        """
        if devices is not None and devices < 1:
            raise PretrainingError(f"devices is {devices}; expected at least 1")
        if "TORCHELASTIC_RUN_ID" in os.environ:
            return cls._from_torchrun(devices)
        gpus = torch.cuda.device_count()
        if gpus and (devices or 1) > gpus:
            raise PretrainingError(f"devices is {devices}, this machine has {gpus} GPUs; expected at most {gpus}")
        return cls(local=devices or 1)

    @classmethod
    def _from_torchrun(cls, devices: int | None) -> Devices:
        world_size, local, rank = (int(os.environ[name]) for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE", "RANK"))
        if devices not in (None, local):
            raise PretrainingError(
                f"devices is {devices}, torchrun started {local} processes here; leave devices out under torchrun"
            )
        return cls(local=local, nodes=world_size // local, rank=rank, launched=True)

    @property
    def world_size(self) -> int:
        """Number of processes on all machines."""
        return self.local * self.nodes

    def check_batch(self, batch_size: int) -> None:
        """Raise `PretrainingError` unless every process gets the same number of images."""
        if batch_size % self.world_size:
            raise PretrainingError(
                f"batch_size is {batch_size} for {self.world_size} devices; expected a multiple of {self.world_size}"
            )

    def strategy(self, name: str) -> Strategy | str:
        """Return Lightning's strategy for the recipe's `strategy`; raise `PretrainingError` if it cannot be used."""
        if name == "fsdp":
            return self._fsdp()
        if self.world_size == 1 and not self.launched:
            return "auto"
        # A method may leave parameters without gradient (the mask token, where nothing is hidden).
        kind, start = (DDPStrategy, "popen") if self.launched else (_QuietDDP, "spawn")
        return kind(start_method=start, find_unused_parameters=True)  # type: ignore[arg-type]

    def _fsdp(self) -> Strategy:
        if self.world_size < 2 or not self.launched:
            raise PretrainingError(
                f"strategy 'fsdp' shards the weights over several devices that torchrun starts, but there is "
                f"{'only one device' if self.world_size < 2 else 'no torchrun'}; run `torchrun --nproc-per-node N "
                "--no-python stellarfm pretrain ...`, or set strategy = 'auto'"
            )
        return ModelParallelStrategy(
            data_parallel_size=self.world_size, tensor_parallel_size=1, save_distributed_checkpoint=False
        )


LOGGERS = ("lightning.pytorch", "lightning.fabric")
TORCH_LEVEL = "TORCH_CPP_LOG_LEVEL"


def silence_loggers() -> None:
    """Silence all but the errors of Lightning and torch, in this process and those it starts."""
    warnings.filterwarnings("ignore", module="lightning")
    os.environ.setdefault(TORCH_LEVEL, "ERROR")
    for name in LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)


@contextmanager
def silenced_loggers() -> Iterator[None]:
    """Apply `silence_loggers` within a ``with`` block."""
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
