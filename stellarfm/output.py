"""Atomic outputs: written under a temporary name next to the target and moved there when complete.

Rules for all commands and functions that write:

- Without `overwrite`, nothing that exists is replaced, even if it appeared while the output was written.
- With `overwrite`, a regular file is replaced, or a directory that carries the record ``.stellarfm.json`` of a previous
  output and contains nothing else. Links, devices, FIFOs and directories with other files are refused.
- Two processes do not write one directory at the same time: the first holds ``.<name>.lock`` next to it.
- Temporary directories ``.partial-<name>-*`` of processes that were killed are removed when the same output is written
  again; those of running processes are recognized by their lock.
"""

from __future__ import annotations

import ctypes
import errno
import fnmatch
import hashlib
import json
import logging
import os
import platform
import re
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from stellarfm.exceptions import OutputError, OutputExistsError

try:
    import fcntl
except ImportError:  # Windows: outputs are still atomic, but not locked
    fcntl = None  # type: ignore[assignment]

__all__ = [
    "RECORD",
    "check_output",
    "lock_output",
    "new_directory",
    "new_file",
    "remove_directory",
    "run_directory",
    "write_record",
]

logger = logging.getLogger("stellarfm")

#: File in every directory that stellarfm writes; lists its files, so that `overwrite` deletes nothing else.
RECORD = ".stellarfm.json"
SCHEMA, SCHEMA_VERSION = "stellarfm-output", 1

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
#: What libraries report instead of an errno when a disk, a quota or a file size limit is exhausted.
_FULL_TEXT = re.compile(
    r"no space left|not enough space|file too large|quota exceeded|PytorchStreamWriter failed writing"
    r"|(os error|errno =) (27|28|122)\b",
    re.IGNORECASE,
)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)
#: Names that only this module makes.
_OWN_NAME = re.compile(r"[/\\]\.(partial-|replaced-|[^/\\]*\.lock$)")
#: Number of foreign files that a message names.
_NAMED = 3
#: Largest number of files in a directory that are synchronized to disk one by one.
_SYNCHRONIZED = 1000
#: Lock files held by this process, and how often.
_held: dict[Path, int] = {}
#: Descriptors through which this process holds locks; forked children close theirs, so that locks end with their owner.
_descriptors: set[int] = set()


def check_output(path: str | os.PathLike, *, overwrite: bool = False) -> Path:
    """Return the path as `Path` after checking that it may be written.

    Parameters
    ----------
    path : path
        Path of a future file or directory.
    overwrite : bool
        Whether an existing one may be replaced: a regular file, or a directory that contains only what stellarfm wrote.

    Raises
    ------
    OutputExistsError
        If it exists and `overwrite` is False, if it is a link, a device or a FIFO, if it is a directory with other
        files, if it would lie in a file, or if it contains the working directory.

    Examples
    --------
    >>> check_output("masses.fits").name
    'masses.fits'
    """
    path = Path(path)
    if _exists(path) and not overwrite:
        raise OutputExistsError(f"{path} exists; choose another path or pass overwrite=True")
    if not (parent := _nearest_parent(path)).is_dir():
        raise OutputExistsError(f"{path} cannot be written: {parent} is not a directory; choose another path")
    _check_kind(path)
    if path.is_dir() and Path.cwd().is_relative_to(path.resolve()):
        raise OutputExistsError(f"{path} is or contains the working directory; choose another path")
    if path.is_dir():
        _check_own(path)
    return path


@contextmanager
def new_file(path: str | os.PathLike, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield an unused path of the same name; move the file to `path` on success.

    Parameters
    ----------
    path : path
        Final path of the file.
    overwrite : bool
        Whether an existing file is replaced.

    Yields
    ------
    Path
        Temporary path to write to.

    Raises
    ------
    OutputExistsError
        If `path` may not be written (see `check_output`), was written by another process in the meantime, or is a
        directory.
    OutputError
        If the disk is full.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     with new_file(f"{folder}/notes.txt") as path:
    ...         _ = path.write_text("complete")
    ...     Path(f"{folder}/notes.txt").read_text()
    'complete'
    """
    path = Path(path)
    if overwrite and path.is_dir() and not path.is_symlink():
        raise OutputExistsError(f"{path} is a directory; give the path of a file")
    check_output(path, overwrite=overwrite)
    with _write_errors(path), _temporary_directory(path) as folder:
        fresh = folder / path.name
        yield fresh
        _synchronize(fresh)
        path.parent.mkdir(parents=True, exist_ok=True)
        if overwrite:
            _check_kind(path)
            fresh.replace(path)
        else:
            _move_to_unused(fresh, path)


@contextmanager
def new_directory(path: str | os.PathLike, *, overwrite: bool = False, patterns: Iterable[str] = ()) -> Iterator[Path]:
    """Yield an empty directory; move it to `path` on success, in place of an old one.

    Parameters
    ----------
    path : path
        Final path of the directory, which is locked meanwhile.
    overwrite : bool
        Whether an existing directory is replaced, provided that it contains only what stellarfm wrote.
    patterns : iterable of str
        Patterns of files that are added later, for the record.

    Yields
    ------
    Path
        Temporary directory to fill. The record ``.stellarfm.json`` is added on success.

    Raises
    ------
    OutputExistsError
        If `path` may not be written (see `check_output`), is written by another process, or is a file.
    OutputError
        If the disk is full.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     with new_directory(f"{folder}/model") as path:
    ...         _ = (path / "config.json").write_text("{}")
    ...     sorted(file.name for file in Path(f"{folder}/model").iterdir())
    ['.stellarfm.json', 'config.json']
    """
    path = _check_directory(path, overwrite=overwrite)
    with _write_errors(path), lock_output(path), _temporary_directory(path) as folder:
        check_output(path, overwrite=overwrite)  # another process may have been faster, or a leftover was restored
        fresh = folder / "new"
        fresh.mkdir()
        yield fresh
        files = sorted(file.relative_to(fresh).as_posix() for file in fresh.rglob("*") if not file.is_dir())
        write_record(fresh, files, patterns=patterns)
        for name in files[:_SYNCHRONIZED]:
            _synchronize(fresh / name)
        path.parent.mkdir(parents=True, exist_ok=True)
        if overwrite and _exists(path):
            check_output(path, overwrite=True)
            _exchange(fresh, path, spare=folder / "old")
        else:
            _move_to_unused(fresh, path)


@contextmanager
def run_directory(
    path: str | os.PathLike,
    *,
    patterns: Iterable[str],
    usable: Callable[[Path], bool],
    overwrite: bool = False,
    resume: bool = False,
) -> Iterator[Path]:
    """Yield a directory that a long run fills in place; a directory that it replaces is kept until the run is usable.

    Parameters
    ----------
    path : path
        Directory of the run, which is locked meanwhile.
    patterns : iterable of str
        Patterns of all files that a run may write, relative to `path`, for its record.
    usable : callable
        Function that returns True if a directory contains something to continue or to use, such as a checkpoint.
    overwrite : bool
        Whether an existing directory is replaced. If the run fails before it is usable, the old one is restored.
    resume : bool
        Whether an existing directory is continued.

    Yields
    ------
    Path
        The directory, which exists.

    Raises
    ------
    OutputExistsError
        If `path` may not be written (see `check_output`), or is written by another process.
    OutputError
        If the disk is full.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     with run_directory(f"{folder}/run", patterns=["*.ckpt"], usable=lambda path: True) as path:
    ...         _ = (path / "step-1.ckpt").write_text("")
    ...     sorted(file.name for file in path.iterdir())
    ['.stellarfm.json', 'step-1.ckpt']
    """
    path = Path(path) if resume else _check_directory(path, overwrite=overwrite)
    with _write_errors(path), lock_output(path):
        previous = _nearest_parent(path) / f".replaced-{_label(path)}"
        if not resume:
            if path.exists() and previous.exists() and not usable(path):
                shutil.rmtree(path)  # a run that was killed before it was usable, in place of `previous`
            elif path.exists():
                shutil.rmtree(previous, ignore_errors=True)
                path.rename(previous)
            path.mkdir(parents=True)
            write_record(path, patterns=[*patterns, "*.partial-*"])
        try:
            yield path
        finally:
            if previous.exists() and usable(path):
                shutil.rmtree(previous)
            elif previous.exists():
                shutil.rmtree(path, ignore_errors=True)
                previous.rename(path)


@contextmanager
def lock_output(path: str | os.PathLike) -> Iterator[None]:
    """Hold the lock of an output, ``.<name>.lock`` next to it, which contains the number of this process.

    The lock ends with the process, however that ends: a file that a killed process left is taken over.

    Parameters
    ----------
    path : path
        Path of a file or directory that is going to be written.

    Raises
    ------
    OutputExistsError
        If another process holds the lock.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder, lock_output(f"{folder}/model"):
    ...     [file.name for file in Path(folder).iterdir()]
    ['.model.lock']
    """
    path = Path(path)
    if not (parent := _nearest_parent(path)).is_dir():
        raise OutputExistsError(f"{path} cannot be written: {parent} is not a directory; choose another path")
    _check_kind(path)
    lock = parent.resolve() / f".{_label(path)}.lock"
    if fcntl is None or lock in _held:  # this process holds it already
        _held[lock] = _held.get(lock, 0) + 1
        descriptor = None
    else:
        with _write_errors(path):
            descriptor = _locked_file(lock, path)
        _held[lock] = 1
    try:
        yield
    finally:
        _held[lock] -= 1
        if not _held[lock]:
            del _held[lock]
        if descriptor is not None:
            lock.unlink(missing_ok=True)
            _unlock(descriptor)


def write_record(folder: Path, files: Iterable[str] = (), *, patterns: Iterable[str] = ()) -> None:
    """Write ``.stellarfm.json``, the list of the files that stellarfm wrote, into a directory.

    Parameters
    ----------
    folder : Path
        Existing directory.
    files : iterable of str
        Paths relative to `folder`, separated by slashes.
    patterns : iterable of str
        Patterns of files that are written later, for `fnmatch.fnmatch`.
    """
    record = {"schema": SCHEMA, "schema_version": SCHEMA_VERSION, "files": list(files), "patterns": list(patterns)}
    (folder / RECORD).write_text(json.dumps(record, indent=1) + "\n")


def remove_directory(folder: Path) -> None:
    """Delete a directory that stellarfm wrote; log a warning and keep it if it contains anything else."""
    try:
        _check_own(folder)
    except OutputExistsError as error:
        logger.warning("%s; it was kept", error)
    else:
        shutil.rmtree(folder)


def _check_directory(path: str | os.PathLike, *, overwrite: bool) -> Path:
    """Return the path of a future directory after the checks of `check_output`; a file is refused."""
    path = Path(path)
    if overwrite and path.is_file() and not path.is_symlink():
        raise OutputExistsError(f"{path} is a file; give the path of a directory")
    return check_output(path, overwrite=overwrite)


def _check_kind(path: Path) -> None:
    """Raise `OutputExistsError` if a path is neither free nor a regular file or a directory."""
    try:
        mode = path.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return
    if stat.S_ISLNK(mode):
        raise OutputExistsError(f"{path} is a link, which is not replaced; give the path that it points to")
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise OutputExistsError(f"{path} is a device, FIFO or socket, which is not replaced; choose another path")


def _check_own(folder: Path) -> None:
    """Raise `OutputExistsError` if a directory contains anything that stellarfm did not write."""
    foreign = _foreign(folder)
    if foreign is None:
        names = _shortened([entry.name for entry in sorted(folder.iterdir())])
        raise OutputExistsError(
            f"{folder} was not written by stellarfm (it has no record {RECORD}; it contains {names}); "
            "delete it yourself or choose another path"
        )
    if foreign:
        raise OutputExistsError(
            f"{folder} contains files that stellarfm did not write ({_shortened(foreign)}); "
            "move them or choose another path"
        )


def _foreign(folder: Path) -> list[str] | None:
    """Return entries of a directory that its record does not list; None without a record, unless it is empty."""
    entries = _entries(folder)
    if entries <= {RECORD}:  # of a process that was killed before it wrote anything else
        return []
    try:
        if (folder / RECORD).is_symlink():
            return None
        record = json.loads((folder / RECORD).read_text())
        files, patterns = set(record["files"]), list(record["patterns"])
        if record["schema"] != SCHEMA:
            return None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    own = {RECORD, *files} | {part.as_posix() for name in files for part in Path(name).parents}
    own |= {name for name in entries if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)}
    own |= {part.as_posix() for name in own for part in Path(name).parents}
    return sorted(name for name in entries if name not in own or (folder / name).is_symlink())


def _entries(folder: Path) -> set[str]:
    """Return the paths of everything in a directory, relative to it; links are not followed."""
    found = set()
    for root, folders, files in os.walk(folder):
        found |= {(Path(root) / name).relative_to(folder).as_posix() for name in (*folders, *files)}
    return found


def _shortened(names: list[str]) -> str:
    """Return the first names of a list, and how many follow."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _exists(path: Path) -> bool:
    """Return True if there is anything at a path, be it a link to nothing."""
    return os.path.lexists(path)


def _move_to_unused(fresh: Path, path: Path) -> None:
    """Move a file or directory to a path; raise `OutputExistsError` if there is something, however recent."""
    try:
        if fresh.is_dir():
            fresh.rename(path)  # fails unless `path` is free (or an empty directory, which loses nothing)
            return
        try:
            os.link(fresh, path)  # unlike a rename, never replaces
        except FileExistsError:
            raise
        except OSError:  # a file system without hard links
            os.close(os.open(path, os.O_CREAT | os.O_EXCL))
            fresh.replace(path)
    except OSError as error:
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR, errno.EISDIR):
            raise
        raise OutputExistsError(
            f"{path} was written by another process in the meantime; choose another path or pass overwrite=True"
        ) from error


def _exchange(fresh: Path, path: Path, *, spare: Path) -> None:
    """Replace a directory by another: at once where the system can exchange names, else by two renames."""
    with suppress(AttributeError, OSError, TypeError):
        libc = ctypes.CDLL(None, use_errno=True)
        here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE of linux/fs.h
        if libc.renameat2(here, os.fsencode(fresh.absolute()), here, os.fsencode(path.absolute()), exchange) == 0:
            return
    path.rename(spare)  # restored by `_remove_leftovers` if the process is killed here
    fresh.rename(path)


def _synchronize(path: Path) -> None:
    """Have the system write a file to disk, so that a full disk is noticed before the file is published."""
    if not path.is_file():
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno in (*_FULL, errno.EIO):
            raise
    finally:
        os.close(descriptor)


@contextmanager
def _write_errors(path: Path) -> Iterator[None]:
    """Convert the many errors of a full disk or a directory without permission to `OutputError`."""
    try:
        yield
    except OutputError:
        raise
    except Exception as error:
        if _is_full(error):
            raise OutputError(
                f"{path}: no space left on device (or a quota or file size limit is reached) in "
                f"{_nearest_parent(path)}; free some space or choose another path"
            ) from error
        if isinstance(error, OSError) and error.errno in _FORBIDDEN and _OWN_NAME.search(str(error.filename)):
            raise OutputError(
                f"{path} cannot be written: {_nearest_parent(path)}: {error.strerror}; choose another path"
            ) from error
        raise


def _is_full(error: BaseException | None) -> bool:
    """Return True if an error, or one that caused it, is due to a full disk, a quota or a file size limit."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if getattr(error, "errno", None) in _FULL or _FULL_TEXT.search(str(error)):
            return True
        error = error.__cause__ or error.__context__
    return False


@contextmanager
def _temporary_directory(path: Path) -> Iterator[Path]:
    """Yield a locked directory on the file system of `path`: in its parent, or in the nearest parent that exists."""
    parent, prefix = _nearest_parent(path), f".partial-{_label(path)}-"
    _remove_leftovers(parent, prefix, path)
    folder, descriptor = _locked_directory(parent, prefix)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if descriptor is not None:
            _unlock(descriptor)


def _locked_directory(parent: Path, prefix: str) -> tuple[Path, int | None]:
    """Return a new directory and the descriptor that holds its lock."""
    while True:
        folder = Path(tempfile.mkdtemp(dir=parent, prefix=prefix))
        if fcntl is None:
            return folder, None
        with suppress(FileNotFoundError):  # another process took it for a leftover before it was locked
            descriptor = os.open(folder, os.O_RDONLY)
            if _try_lock(descriptor) is not False and folder.exists():
                return folder, descriptor
            os.close(descriptor)


def _remove_leftovers(parent: Path, prefix: str, path: Path) -> None:
    """Remove temporary directories of the same output whose processes have ended."""
    if fcntl is None:
        return
    pattern = re.compile(re.escape(prefix) + r"[a-z0-9_]{8}")
    with suppress(OSError):
        for folder in [parent / name for name in os.listdir(parent) if pattern.fullmatch(name)]:  # noqa: PTH208
            descriptor = os.open(folder, os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY)
            try:
                if _try_lock(descriptor) is True:
                    if (folder / "old").is_dir() and not _exists(path):
                        (folder / "old").rename(path)
                    shutil.rmtree(folder, ignore_errors=True)
            finally:
                _unlock(descriptor)


def _locked_file(lock: Path, path: Path) -> int:
    """Return the descriptor of the lock file of an output; raise `OutputExistsError` if another process holds it."""
    while True:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
        if _try_lock(descriptor) is False:
            owner = os.read(descriptor, 100).decode(errors="replace").strip()
            os.close(descriptor)
            raise OutputExistsError(
                f"{path} is being written by another process ({owner or 'starting'}); "
                "wait for it or choose another path"
            )
        with suppress(FileNotFoundError):
            if os.path.samestat(lock.stat(), os.fstat(descriptor)):
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, f"process {os.getpid()} on {platform.node()}\n".encode(), 0)
                return descriptor
        _unlock(descriptor)  # its owner has just removed it


def _try_lock(descriptor: int) -> bool | None:
    """Lock an open file or directory; return False if another process holds it, None if the file system cannot."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    _descriptors.add(descriptor)
    return True


def _unlock(descriptor: int) -> None:
    """Close an open file or directory, which releases its lock."""
    _descriptors.discard(descriptor)
    os.close(descriptor)


def _forget_locks() -> None:
    """Close the descriptors that a forked child inherits."""
    for descriptor in _descriptors:
        os.close(descriptor)
    _descriptors.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_locks)


def _label(path: Path) -> str:
    """Return the name of an output in the names of its lock and its temporary directories."""
    rest = path.absolute().relative_to(_nearest_parent(path))
    if len(rest.parts) == 1 and len(os.fsencode(rest)) <= 120:
        return rest.name
    return hashlib.sha256(os.fsencode(rest)).hexdigest()[:16]


def _nearest_parent(path: Path) -> Path:
    return next(parent for parent in path.absolute().parents if parent.exists())
