"""Number of processor cores available to this process, and pools of worker processes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import ProcessPoolExecutor

__all__ = ["available_cores", "process_pool"]


def available_cores() -> int:
    """Return the number of cores that this process may run on, which may be fewer than the machine has; at least 1."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def process_pool(
    workers: int, *, initializer: Callable[..., object] | None = None, initargs: tuple[Any, ...] = ()
) -> ProcessPoolExecutor:
    """Return a pool of spawned processes; forked ones would share the locks of torch's threads.

    Parameters
    ----------
    workers : int
        Number of processes.
    initializer : callable, optional
        Function called when a process starts.
    initargs : tuple
        Arguments of `initializer`; see `concurrent.futures.ProcessPoolExecutor`.
    """
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    return ProcessPoolExecutor(workers, get_context("spawn"), initializer=initializer, initargs=initargs)
