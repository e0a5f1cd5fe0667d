"""Conformance checks of readers."""

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
    """Checks of a `SimulationReader`: it recognizes and reads its own files, and refuses others.

    Override `sample`, which writes a small valid file; without one only foreign files are tried. The gas of a snapshot
    is read too, as a whole and by region.

    Examples
    --------
    >>> from stellarfm.readers.hdf5.reader import HDF5Reader
    >>> from stellarfm.testing import ReaderConformance
    >>> class TestHDF5(ReaderConformance):
    ...     plugin = HDF5Reader
    >>> TestHDF5().test_options_can_be_listed()
    """

    contract = SimulationReader

    def sample(self, folder: Path) -> Path | None:
        """Write a small valid file into `folder` and return its path; None if there is none."""
        return None

    def _sample(self, folder: Path) -> Path:
        path = self.sample(folder)
        if path is None:
            raise SkipTest(f"no sample file for {self.plugin!r}: override sample()")
        return path

    def test_foreign_files_do_no_harm(self, tmp_path: Path) -> None:
        """Check that `can_read` returns False for a missing or empty file, a directory and nonsense; never raises."""
        for path in _foreign(tmp_path):
            try:
                answer = self.make().can_read(path)
            except Exception as error:
                raise AssertionError(f"can_read raised on {path.name}: {error!r}; expected False") from error
            assert answer is False, f"can_read returned {answer!r} for {path.name}, expected False"

    def test_foreign_files_are_refused_by_name(self, tmp_path: Path) -> None:
        """Check that `read` raises a `ReaderError` that names the file."""
        for path in _foreign(tmp_path):
            _check_refusal(self.make(), path)

    def test_reads_its_own(self, tmp_path: Path) -> None:
        """Check that a valid file is recognized and read, and remains unchanged."""
        from stellarfm.maps import GasMaps, MapSet
        from stellarfm.simulations import Snapshot

        path = self._sample(tmp_path)
        before = _content(path)
        assert self.make().can_read(path) is True, f"can_read does not recognize {path.name}"
        found = self.make().read(path)
        kinds = "a Snapshot, a MapSet or a GasMaps"
        assert isinstance(found, Snapshot | MapSet | GasMaps), (
            f"read returned {found!r} for {path.name}, expected {kinds}"
        )
        assert _content(path) == before, f"reading changed {path.name}"

    def test_snapshot_states_its_origin(self, tmp_path: Path) -> None:
        """Check that a snapshot names its run, and its provenance the code and a property of the file."""
        snapshot = self._snapshot(tmp_path)
        assert snapshot.simulation, "the run has no name: stars of its snapshots could not be kept together"
        known = snapshot.provenance
        assert "code" in known, f"provenance {known!r}; expected at least 'code' and hashes of files"
        assert len(known) > 1, f"provenance {known!r}; expected at least 'code' and hashes of files"

    def test_gas_is_complete_and_read_by_region(self, tmp_path: Path) -> None:
        """Check that blocks contain every gas element once, all that overlap a region, and lie in the box."""
        snapshot = self._snapshot(tmp_path)
        if snapshot.gas is None:
            raise SkipTest("the sample contains no gas")
        check_gas(snapshot)

    def _snapshot(self, folder: Path) -> Any:
        from stellarfm.simulations import Snapshot

        found = self.make().read(self._sample(folder))
        if not isinstance(found, Snapshot):
            raise SkipTest("the sample contains maps, not a snapshot")
        return found

    def test_truncated_file_is_refused_by_name(self, tmp_path: Path) -> None:
        """Check that a truncated file raises a `ReaderError`, not an exception of another library."""
        path = self._sample(tmp_path)
        if path.is_dir():
            raise SkipTest("the sample is a directory: nothing to truncate")
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
        _check_refusal(self.make(), path)


def _foreign(folder: Path) -> list[Path]:
    """Return paths that no reader should accept: missing, a directory, empty, random bytes, text."""
    (folder / "a-directory").mkdir()
    (folder / "empty.fits").write_bytes(b"")
    (folder / "random.h5").write_bytes(random.Random(0).randbytes(5000))
    (folder / "words.txt").write_text("not a simulation\n")
    return [folder / "missing.fits", *sorted(folder.iterdir())]


def _content(path: Path) -> dict[Path, bytes]:
    """Return the bytes of a file, or of each file of a directory."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return {file: file.read_bytes() for file in files}


def _drain(found: Any) -> None:
    """Read all gas of a snapshot: it may be the truncated part."""
    from stellarfm.simulations import Region, Snapshot

    if isinstance(found, Snapshot) and found.gas is not None:
        for _ in found.gas.blocks([Region(found.lower.value, found.upper.value)]):
            pass


def _check_refusal(reader: Any, path: Path) -> None:
    """Assert that reading raises a `StellarFMError` and `OSError` that names the file."""
    try:
        _drain(reader.read(path))
    except StellarFMError as error:
        assert isinstance(error, OSError), f"read raised {error!r} for {path.name}, expected a ReaderError"
        assert path.name in str(error), f"the error for {path.name} does not name the file: {error}"
    except Exception as error:
        raise AssertionError(f"read raised {error!r} for {path.name}, expected a ReaderError") from error
    else:
        raise AssertionError(f"read accepted {path.name}, expected a ReaderError")
