"""Run yt with its logging and progress bars disabled and its errors converted to `ReaderError`."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from stellarfm.exceptions import ReaderError, StellarFMError

__all__ = ["one_line", "open_yt", "quiet_yt"]

logger = logging.getLogger("stellarfm")


@contextmanager
def quiet_yt(path: Path) -> Iterator[ModuleType]:
    """Yield the module yt, silenced; any error inside the context becomes a `ReaderError` about `path`.

    Raises
    ------
    ReaderError
        If yt is not installed, or raises an error.
    """
    try:
        import yt
        from yt.config import ytcfg
    except ImportError as error:
        raise ReaderError(f'{path}: reading it needs yt ({error}); pip install "stellarfm[yt]"') from error
    try:
        with _warnings_to_debug_log(), _log_to_debug_log(), _no_progress_bars(ytcfg):
            yield yt
    except StellarFMError:
        raise
    except Exception as error:  # frontends raise errors of many types
        raise ReaderError(f"{path}: yt cannot read it ({one_line(error)}); check that it is complete") from error


def open_yt(path: Path, options: dict[str, Any]) -> Any:
    """Open and index the yt dataset in `path`; `options` are keyword arguments of `yt.load`.

    Raises
    ------
    ReaderError
        If yt does not recognize the file, or it is broken.
    """
    with quiet_yt(path) as yt:
        try:
            dataset = yt.load(path, **options)
        except yt.utilities.exceptions.YTUnidentifiedDataType as error:
            reason = f"yt {yt.__version__} recognizes no code that writes such files, or some of the files are missing"
            raise ReaderError(f"{path}: {reason}") from error
        dataset.index  # noqa: B018 - detects the fields, and whether the files are complete
        return dataset


def one_line(error: BaseException) -> str:
    """Return type and message of an error in one line of at most 160 characters."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:160]


@contextmanager
def _warnings_to_debug_log() -> Iterator[None]:
    """Log warnings at level DEBUG: they concern fields that are not used, and files left open."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    for text in dict.fromkeys(" ".join(str(warning.message).split()) for warning in caught):
        logger.debug("yt: %s", text)


class _DebugLogHandler(logging.Handler):
    """Handler that passes yt's records on to the logger of stellarfm at level DEBUG."""

    def emit(self, record: logging.LogRecord) -> None:
        logger.debug("yt: %s", record.getMessage())


@contextmanager
def _log_to_debug_log() -> Iterator[None]:
    """Replace the handlers of yt's logger by a `_DebugLogHandler`."""
    yt_logger = logging.getLogger("yt")
    handlers, yt_logger.handlers = yt_logger.handlers, [_DebugLogHandler()]
    try:
        yield
    finally:
        yt_logger.handlers = handlers


@contextmanager
def _no_progress_bars(ytcfg: Any) -> Iterator[None]:
    """Switch yt's progress bars off."""
    before = ytcfg.get("yt", "suppress_stream_logging")
    ytcfg.set("yt", "suppress_stream_logging", True)
    try:
        yield
    finally:
        ytcfg.set("yt", "suppress_stream_logging", before)
