"""Conformance of readers."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any
from unittest import SkipTest

from stellarfm.contracts import SimulationReader
from stellarfm.exceptions import StellarFMError
from stellarfm.testing.base import Conformance
from stellarfm.testing.gas import check_gas

__all__ = ["ReaderConformance"]


class ReaderConformance(Conformance):
    """Checks of a `SimulationReader`: it knows its own files, and foreign ones do no harm.

    Override `sample`, which writes a small valid file; without one only foreign files are tried. Of a snapshot, the
    gas is read through too, whole and by region.
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
        from stellarfm.maps import GasMaps, MapSet
        from stellarfm.simulations import Snapshot

        path = self._sample(tmp_path)
        before = _content(path)
        assert self.make().can_read(path) is True, f"can_read does not recognise {path.name}"
        found = self.make().read(path)
        kinds = "a Snapshot, a MapSet or a GasMaps"
        assert isinstance(found, Snapshot | MapSet | GasMaps), f"read gave {found!r} for {path.name}, expected {kinds}"
        assert _content(path) == before, f"reading changed {path.name}"

    def test_snapshot_says_where_it_comes_from(self, tmp_path: Path) -> None:
        """A snapshot names its run, and its provenance the code and something of the file."""
        snapshot = self._snapshot(tmp_path)
        assert snapshot.simulation, "the run has no name: stars of its snapshots could not be kept together"
        known = snapshot.provenance
        assert "code" in known, f"provenance {known!r}; expected at least 'code' and hashes of files"
        assert len(known) > 1, f"provenance {known!r}; expected at least 'code' and hashes of files"

    def test_gas_comes_once_and_by_region(self, tmp_path: Path) -> None:
        """Blocks hold every gas element exactly once, all that overlap a region, and lie in the box."""
        snapshot = self._snapshot(tmp_path)
        if snapshot.gas is None:
            raise SkipTest("the sample holds no gas")
        check_gas(snapshot)

    def _snapshot(self, folder: Path) -> Any:
        from stellarfm.simulations import Snapshot

        found = self.make().read(self._sample(folder))
        if not isinstance(found, Snapshot):
            raise SkipTest("the sample holds finished maps, no snapshot")
        return found

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


def _drain(found: Any) -> None:
    """Read the gas of a snapshot through: it may be the part that broke off."""
    from stellarfm.simulations import Region, Snapshot

    if isinstance(found, Snapshot) and found.gas is not None:
        for _ in found.gas.blocks([Region(found.lower.value, found.upper.value)]):
            pass


def _check_refusal(reader: Any, path: Path) -> None:
    """Assert that reading raises an `OSError` of ours that names the file."""
    try:
        _drain(reader.read(path))
    except StellarFMError as error:
        assert isinstance(error, OSError), f"read raised {error!r} for {path.name}, expected a ReaderError"
        assert path.name in str(error), f"the error for {path.name} does not name the file: {error}"
    except Exception as error:
        raise AssertionError(f"read raised {error!r} for {path.name}, expected a ReaderError") from error
    else:
        raise AssertionError(f"read accepted {path.name}, expected a ReaderError")
