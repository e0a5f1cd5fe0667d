"""The process around a run: threads, random state, signals - and the other processes it may start."""

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

SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def run_settings(recipe: Recipe) -> Iterator[None]:
    """Torch's threads and random state, Lightning's voice and two signals, for the time of a run only."""
    threads = torch.get_num_threads()
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    with torch.random.fork_rng(), silenced_loggers():
        set_threads(recipe)
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            _handle(handlers)


def set_threads(recipe: Recipe) -> None:
    """The recipe's number of threads, if it names one; a spawned process does this for itself."""
    if recipe.torch_threads:
        torch.set_num_threads(recipe.torch_threads)


@contextmanager
def spawned_processes(team: Devices) -> Iterator[None]:
    """While spawned processes work: hand signals on to them, and make their errors ours."""
    if team.launched or team.total == 1:
        yield
        return
    _handle(dict.fromkeys(SIGNALS, _hand_on))
    try:
        yield
    except ProcessRaisedException as error:
        raise _our_error(error) from error


def _handle(handlers: Mapping[signal.Signals, Any]) -> None:
    """Set signal handlers (from the main thread only: Python allows no other)."""
    if threading.current_thread() is threading.main_thread():
        for number, handler in handlers.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def _hand_on(number: int, frame: Any) -> None:
    """Send SIGTERM to the spawned processes; each ends after the step at hand."""
    for child in multiprocessing.active_children():
        if child.pid is not None:
            os.kill(child.pid, signal.SIGTERM)


def _our_error(error: ProcessRaisedException) -> Exception:
    """The error of stellarfm that ended a spawned process, or else what torch made of it."""
    name, _, message = str(error).strip().splitlines()[-1].partition(": ")
    return PretrainingError(message) if name == f"{PretrainingError.__module__}.PretrainingError" else error
