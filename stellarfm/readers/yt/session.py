"""yt, kept quiet: its log, its warnings, its progress bars and its errors become ours."""

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
    """The module yt, silent; whatever it raises inside becomes a `ReaderError` about `path`.

    Raises
    ------
    ReaderError
        If yt is not installed, or fails.
    """
    try:
        import yt
        from yt.config import ytcfg
    except ImportError as error:
        raise ReaderError(f'{path}: reading it needs yt ({error}); pip install "stellarfm[yt]"') from error
    try:
        with _debugged_warnings(), _redirected_log(), _no_progress_bars(ytcfg):
            yield yt
    except StellarFMError:
        raise
    except Exception as error:  # every frontend fails in its own way
        raise ReaderError(f"{path}: yt cannot read it ({one_line(error)}); check that the output is whole") from error


def open_yt(path: Path, options: dict[str, Any]) -> Any:
    """The yt dataset in `path`, indexed.

    Parameters
    ----------
    path : Path
        What yt's manual says to load for the code.
    options : dict
        Of `yt.load`.

    Raises
    ------
    ReaderError
        If yt does not know the file, or it is broken.
    """
    with quiet_yt(path) as yt:
        try:
            dataset = yt.load(path, **options)
        except yt.utilities.exceptions.YTUnidentifiedDataType as error:
            reason = f"yt {yt.__version__} knows no code that writes such files, or some beside it are missing"
            raise ReaderError(f"{path}: {reason}") from error
        dataset.index  # noqa: B018 - finds the fields, and out whether the files are whole
        return dataset


def one_line(error: BaseException) -> str:
    """Type and message of an error, in at most 160 characters of one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:160]


@contextmanager
def _debugged_warnings() -> Iterator[None]:
    """Warnings as debugging messages: they are about fields that nobody asked for, and files left open."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    for text in dict.fromkeys(" ".join(str(warning.message).split()) for warning in caught):
        logger.debug("yt: %s", text)


class _ToOurs(logging.Handler):
    """Hands yt's records on as debugging messages of ours."""

    def emit(self, record: logging.LogRecord) -> None:
        logger.debug("yt: %s", record.getMessage())


@contextmanager
def _redirected_log() -> Iterator[None]:
    theirs = logging.getLogger("yt")
    handlers, theirs.handlers = theirs.handlers, [_ToOurs()]
    try:
        yield
    finally:
        theirs.handlers = handlers


@contextmanager
def _no_progress_bars(ytcfg: Any) -> Iterator[None]:
    before = ytcfg.get("yt", "suppress_stream_logging")
    ytcfg.set("yt", "suppress_stream_logging", True)
    try:
        yield
    finally:
        ytcfg.set("yt", "suppress_stream_logging", before)
