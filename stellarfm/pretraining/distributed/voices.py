"""What Lightning and torch say on their own, and how to make them stop."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["silence", "silent"]

LOGGERS = ("lightning.pytorch", "lightning.fabric")
TORCH_LEVEL = "TORCH_CPP_LOG_LEVEL"


def silence() -> None:
    """Errors only, in this process and those that it starts, from now on."""
    warnings.filterwarnings("ignore", module="lightning")
    os.environ.setdefault(TORCH_LEVEL, "ERROR")
    for name in LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)


@contextmanager
def silent() -> Iterator[None]:
    """`silence`, for a while."""
    before = {name: logging.getLogger(name).level for name in LOGGERS}
    unset = TORCH_LEVEL not in os.environ
    with warnings.catch_warnings():
        silence()
        try:
            yield
        finally:
            if unset:
                os.environ.pop(TORCH_LEVEL, None)
            for name, level in before.items():
                logging.getLogger(name).setLevel(level)
