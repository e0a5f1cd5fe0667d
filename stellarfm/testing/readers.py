"""Conformance of readers."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any
from unittest import SkipTest

from stellarfm.contracts import SimulationReader
from stellarfm.exceptions import StellarFMError
from stellarfm.testing.base import Conformance

__all__ = ["ReaderConformance"]


class ReaderConformance(Conformance):
    """Checks of a `SimulationReader`: it knows its own files, and foreign ones do no harm.

    Override `sample`, which writes a small valid file; without one only foreign files are tried.
    """

    contract = SimulationReader

    def sample(self, folder: Path) -> Path | None:
        """Write a small valid file into `folder`; None if there is none."""
        return None

    def _sample(self, folder: Path) -> Path:
        path = self.sample(folder)
        if path is None:
            raise SkipTest(f"no sample file for {self.plugin!r}: override sample()")
        return path

    def test_foreign_files_do_no_harm(self, tmp_path: Path) -> None:
        """`can_read` says False to what is missing, empty, a directory or nonsense, and never raises."""
        for path in _foreign(tmp_path):
            try:
                answer = self.make().can_read(path)
            except Exception as error:
                raise AssertionError(f"can_read raised on {path.name}: {error!r}; expected False") from error
            assert answer is False, f"can_read gave {answer!r} for {path.name}, expected False"

    def test_foreign_files_are_refused_by_name(self, tmp_path: Path) -> None:
        """`read` raises an error of ours that names the file."""
        for path in _foreign(tmp_path):
            _check_refusal(self.make(), path)

    def test_reads_its_own(self, tmp_path: Path) -> None:
        """A valid file is recognised and read, and stays as it was."""
        path = self._sample(tmp_path)
        before = _content(path)
        assert self.make().can_read(path) is True, f"can_read does not recognise {path.name}"
        assert self.make().read(path) is not None, f"read gave nothing for {path.name}"
        assert _content(path) == before, f"reading changed {path.name}"

    def test_truncated_file_is_refused_by_name(self, tmp_path: Path) -> None:
        """A file that breaks off is an error of ours, not a traceback of a library."""
        path = self._sample(tmp_path)
        if path.is_dir():
            raise SkipTest("the sample is a directory: nothing to truncate")
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
        _check_refusal(self.make(), path)


def _foreign(folder: Path) -> list[Path]:
    """Paths that no reader should take for its own: missing, a directory, empty, random bytes, text."""
    (folder / "a-directory").mkdir()
    (folder / "empty.fits").write_bytes(b"")
    (folder / "random.h5").write_bytes(random.Random(0).randbytes(5000))
    (folder / "words.txt").write_text("not a simulation\n")
    return [folder / "missing.fits", *sorted(folder.iterdir())]


def _content(path: Path) -> dict[Path, bytes]:
    """What a file, or each file of a directory, holds."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return {file: file.read_bytes() for file in files}


def _check_refusal(reader: Any, path: Path) -> None:
    """Assert that reading raises an `OSError` of ours that names the file."""
    try:
        reader.read(path)
    except StellarFMError as error:
        assert isinstance(error, OSError), f"read raised {error!r} for {path.name}, expected a ReaderError"
        assert path.name in str(error), f"the error for {path.name} does not name the file: {error}"
    except Exception as error:
        raise AssertionError(f"read raised {error!r} for {path.name}, expected a ReaderError") from error
    else:
        raise AssertionError(f"read accepted {path.name}, expected a ReaderError")
