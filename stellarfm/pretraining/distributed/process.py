"""Process-wide state during a run: threads, random state, signals and spawned processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch.multiprocessing import ProcessRaisedException

from stellarfm.exceptions import PretrainingError
from stellarfm.pretraining.distributed.devices import Devices, silenced_loggers
from stellarfm.pretraining.recipe import Recipe

__all__ = ["SIGNALS", "run_settings", "set_threads", "spawned_processes"]

#: Signals that stop a run after the current step.
SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def run_settings(recipe: Recipe) -> Iterator[None]:
    """Set torch's threads and silence Lightning; restore them, torch's random state and signal handlers afterwards."""
    threads = torch.get_num_threads()
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    with torch.random.fork_rng(), silenced_loggers():
        set_threads(recipe)
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            _set_handlers(handlers)


def set_threads(recipe: Recipe) -> None:
    """Set the recipe's number of torch threads, if it has one; spawned processes do this for themselves."""
    if recipe.torch_threads:
        torch.set_num_threads(recipe.torch_threads)


@contextmanager
def spawned_processes(devices: Devices) -> Iterator[list[signal.Signals]]:
    """Forward signals to spawned processes, and convert their errors.

    Yields
    ------
    list of signal.Signals
        Signals that were forwarded; it stays empty where no processes are spawned.

    Raises
    ------
    PretrainingError
        If a spawned process was ended by such an error.
    """
    received: list[signal.Signals] = []

    def forward(number: int, frame: Any) -> None:
        """Send SIGTERM to the spawned processes, which end after the current step."""
        received.append(signal.Signals(number))
        for child in multiprocessing.active_children():
            if child.pid is not None:
                os.kill(child.pid, signal.SIGTERM)

    if devices.launched or devices.world_size == 1:
        yield received
        return
    _set_handlers(dict.fromkeys(SIGNALS, forward))
    try:
        yield received
    except ProcessRaisedException as error:
        name, _, message = str(error).strip().splitlines()[-1].partition(": ")
        if name == f"{PretrainingError.__module__}.PretrainingError":
            raise PretrainingError(message) from error
        raise


def _set_handlers(handlers: Mapping[signal.Signals, Any]) -> None:
    """Set signal handlers (Python allows that in the main thread only)."""
    if threading.current_thread() is threading.main_thread():
        for number, handler in handlers.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
