"""HDF5 files: read only if self-contained, written so that a full disk is an ordinary error.

`open_hdf5` refuses files that refer to other files of the machine. `create_hdf5` writes through Python, because the
HDF5 library crashes the process if it cannot close a file on a full disk.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

from stellarfm.exceptions import ReaderError

__all__ = ["check_self_contained", "create_hdf5", "open_hdf5"]


def open_hdf5(path: str | os.PathLike) -> h5py.File:
    """Open a file for reading after checking that it is self-contained.

    Parameters
    ----------
    path : path
        HDF5 file.

    Raises
    ------
    OSError
        If it is not a complete HDF5 file; the message is that of h5py.
    ReaderError
        If it has external links, external storage or virtual datasets.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with h5py.File(f"{folder}/file.h5", "w") as file:
    ...         file["numbers"] = [1, 2, 3]
    ...     with open_hdf5(f"{folder}/file.h5") as file:
    ...         file["numbers"][1]
    np.int64(2)
    """
    file = h5py.File(path)
    try:
        _check_objects(file, path)
    except BaseException:
        file.close()
        raise
    return file


def check_self_contained(path: str | os.PathLike) -> None:
    """Raise `ReaderError` if a path is an HDF5 file that refers to other files; never opens those.

    Parameters
    ----------
    path : path
        File or directory of any format.
    """
    if not Path(path).is_file():
        return
    try:
        if h5py.is_hdf5(path):
            open_hdf5(path).close()
    except ReaderError:
        raise
    except (OSError, RuntimeError):  # truncated; reported by the reader
        return


def _check_objects(file: h5py.File, path: str | os.PathLike) -> None:
    """Walk all groups without following links to other files; raise `ReaderError` at the first such reference."""
    seen, groups = set(), [file.id]
    while groups:
        group = groups.pop()
        place = h5py.h5i.get_name(group) or b""
        for name in list(group):
            kind = group.links.get_info(name).type
            where = f"{path}: {(place.rstrip(b'/') + b'/' + name).decode(errors='replace')!r}"
            if kind == h5py.h5l.TYPE_EXTERNAL:
                raise ReaderError(f"{where} is a link to another file, which is not followed; copy the data into one")
            if kind != h5py.h5l.TYPE_HARD:  # soft links stay in the file
                continue
            entry = h5py.h5o.open(group, name)
            if isinstance(entry, h5py.h5g.GroupID):
                address = h5py.h5o.get_info(entry).addr
                if address not in seen:
                    seen.add(address)
                    groups.append(entry)
            elif isinstance(entry, h5py.h5d.DatasetID):
                _check_storage(entry, where)


def _check_storage(dataset: h5py.h5d.DatasetID, where: str) -> None:
    """Raise `ReaderError` if the values of a dataset are in other files."""
    properties = dataset.get_create_plist()
    if properties.get_layout() == h5py.h5d.VIRTUAL:
        raise ReaderError(f"{where} is a virtual dataset, whose parts are not read; give the files that hold the data")
    if properties.get_external_count():
        raise ReaderError(f"{where} is stored in another file, which is not read; copy the data into this one")


@contextmanager
def create_hdf5(path: Path) -> Iterator[tuple[h5py.File, Callable[[], None]]]:
    """Yield a new HDF5 file; a full disk raises `OSError` on leaving the context.

    Parameters
    ----------
    path : Path
        File to create.

    Yields
    ------
    h5py.File
        Open file.
    callable
        Function that raises the `OSError` of a full disk at once, for files that take long to write.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with create_hdf5(Path(folder, "file.h5")) as (file, _):
    ...         file["numbers"] = [1, 2, 3]
    ...     h5py.is_hdf5(Path(folder, "file.h5"))
    True
    """
    with _Stream(path) as stream:
        try:
            with h5py.File(stream, "w") as file:
                yield file, stream.check
        except (OSError, RuntimeError):
            stream.check()  # its error is the cause
            raise
        stream.check()


class _Stream(io.RawIOBase):
    """Binary file that keeps its first write error and ignores later writes.

    HDF5 must never see an error: it could not close the file, and would crash at the end of the process.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("w+b", buffering=0)
        self._error: OSError | None = None

    def check(self) -> None:
        """Raise the first error."""
        if self._error is not None:
            raise self._error

    def write(self, data: object) -> int:
        """Write all bytes, or ignore them after an error."""
        view = memoryview(data).cast("B")  # type: ignore[arg-type]
        total = len(view)
        try:
            while self._error is None and len(view):
                view = view[self._file.write(view) :]
        except OSError as error:
            self._error = error
        if self._error is not None:
            self._file.seek(len(view), os.SEEK_CUR)
        return total

    def readinto(self, buffer: object) -> int:
        """Read bytes; those that could not be written are zeros."""
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        count = self._file.readinto(view) or 0
        if self._error is not None:
            view[count:] = bytes(len(view) - count)
            count = len(view)
        return count

    def truncate(self, size: int | None = None) -> int:
        """Set the length of the file, or ignore it after an error."""
        length = self.tell() if size is None else size
        try:
            if self._error is None:
                self._file.truncate(length)
        except OSError as error:
            self._error = error
        return length

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a position."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Return the position."""
        return self._file.tell()

    def close(self) -> None:
        """Close the file; an error of the system is kept."""
        try:
            self._file.close()
        finally:
            super().close()

    def readable(self) -> bool:
        """Return True."""
        return True

    def writable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True
