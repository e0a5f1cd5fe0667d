"""Snapshots to one map set."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, as_completed
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from stellarfm.batch.partial_results import Parts
from stellarfm.batch.project_snapshot import project_file
from stellarfm.batch.settings import ProjectionSettings
from stellarfm.exceptions import InputNotFoundError, ReaderError, SnapshotError, StellarFMError
from stellarfm.maps import MapSet
from stellarfm.output import check_output

__all__ = ["project_snapshots"]

logger = logging.getLogger("stellarfm")

#: Longest provenance that is kept word by word: an attribute of an HDF5 file ends at 64 KiB.
LONGEST = 30_000

_APART = (
    "if these are different runs, project each on its own with --simulation NAME: "
    "stars of one number would be taken for one star"
)


def project_snapshots(
    paths: Sequence[str | os.PathLike],
    *,
    output: str | os.PathLike,
    settings: ProjectionSettings | None = None,
    executor: Executor | None = None,
    threads: int | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: Callable[[Path], object] | None = None,
    command: str = "",
) -> MapSet:
    """Maps around the stars of many snapshots, written as one map set.

    Each finished snapshot is kept in ``<output>.parts`` until all are done, so that `resume` repeats none of them.

    Parameters
    ----------
    paths : sequence of path
        Snapshots; the windows come in their order.
    output : path
        Map set to write (HDF5).
    settings : ProjectionSettings, optional
        How to read and project.
    executor : concurrent.futures.Executor, optional
        Where to work: a pool of processes, ``dask.distributed.Client(...).get_executor()``, ...; its workers must see
        the same files. By default one after the other, here. The caller shuts it down.
    threads : int, optional
        Threads for each snapshot; all cores by default. With a pool, its workers share the cores.
    resume : bool
        Go on with an unfinished run of the same settings, if there is one.
    overwrite : bool
        Replace the output and, unless `resume`, what an unfinished run has left.
    progress : callable, optional
        Called with each snapshot that is finished.
    command : str
        What to write into the provenance as the command.

    Returns
    -------
    MapSet
        What was written. The column ``source`` of its stars is the name of the file.

    Raises
    ------
    OutputExistsError
        If `output` exists and `overwrite` is False, or an unfinished run is in the way.
    StellarFMError
        If a snapshot cannot be read or projected. The others are finished and kept first.
    """
    settings = settings or ProjectionSettings()
    snapshots, output = _existing(paths), check_output(output, overwrite=overwrite)
    parts = Parts(output, settings, resume=resume, overwrite=overwrite)
    targets = {path: parts.of(path) for path in snapshots}
    missing = {path: part for path, part in targets.items() if not part.exists()}
    for path in set(targets) - set(missing):
        _tell(progress, path)
    failures = _work(missing, settings, executor, threads, progress)
    if failures:
        raise _failure(failures, len(snapshots), parts)
    maps = _joined(targets, parts, settings, command)
    maps.write(output, overwrite=overwrite)
    parts.remove()
    return maps


def _existing(paths: Sequence[str | os.PathLike]) -> list[Path]:
    """The snapshots, each once."""
    snapshots = [Path(path) for path in paths]
    if not snapshots:
        raise SnapshotError("no snapshot was given; expected at least one")
    for path in snapshots:
        if not path.exists():
            raise InputNotFoundError(f"{path}: no such file; check the path")
    resolved = [path.resolve() for path in snapshots]
    if twice := [str(path) for path in snapshots if resolved.count(path.resolve()) > 1]:
        raise SnapshotError(f"{twice[0]} was given twice; its windows would count twice")
    return snapshots


def _tell(progress: Callable[[Path], object] | None, path: Path) -> None:
    if progress is not None:
        progress(path)


def _work(
    missing: dict[Path, Path],
    settings: ProjectionSettings,
    executor: Executor | None,
    threads: int | None,
    progress: Callable[[Path], object] | None,
) -> dict[Path, StellarFMError]:
    """Project what is missing; returns what went wrong."""
    failures = {}
    for path, result in _results(missing, settings, executor, threads):
        try:
            result()
        except StellarFMError as error:
            failures[path] = error
            if len(missing) > 1:
                logger.warning("%s", error)
        except BrokenExecutor as error:
            raise ReaderError(
                f"{path}: a worker died ({error}), perhaps for want of memory; what is finished is kept: "
                "use fewer workers and --resume"
            ) from error
        _tell(progress, path)
    return failures


def _results(
    missing: dict[Path, Path], settings: ProjectionSettings, executor: Executor | None, threads: int | None
) -> Iterator[tuple[Path, Callable[[], int]]]:
    """Snapshots and what to call for their results, as they come."""
    if executor is None:
        for path, part in missing.items():
            yield path, partial(project_file, path, part, settings, threads)
        return
    futures: dict[Future[int], Path] = {
        executor.submit(project_file, path, part.resolve(), settings, threads): path for path, part in missing.items()
    }
    try:
        for future in as_completed(futures):
            yield futures[future], future.result
    finally:
        for future in futures:
            future.cancel()


def _failure(failures: dict[Path, StellarFMError], n_snapshots: int, parts: Parts) -> StellarFMError:
    """One line: the error itself if there is one snapshot, else how many failed and what to do."""
    first = next(iter(failures.values()))
    if n_snapshots == 1:
        parts.remove()
        return first
    return ReaderError(
        f"{len(failures)} of {n_snapshots} snapshots failed, the first: {first}; the others are kept in "
        f"{parts.folder}: mend these or leave them out, and add --resume"
    )


def _joined(targets: dict[Path, Path], parts: Parts, settings: ProjectionSettings, command: str) -> MapSet:
    """All parts as one set, in the order of the snapshots."""
    with _hushed():
        with_stars = {path: MapSet.read(part) for path, part in targets.items() if part.stat().st_size}
    if not with_stars:
        parts.remove()
        least = "" if settings.minimum_mass is None else f" of {settings.minimum_mass} or more"
        raise SnapshotError(
            f"{', '.join(path.name for path in list(targets)[:3])}: no star{least}; "
            "give the centres of the windows: --positions TABLE"
        )
    mapsets = list(with_stars.values())
    _warn_of_names(list(with_stars), mapsets, named=settings.simulation is not None)
    return replace(MapSet.concatenate(mapsets), provenance=_provenance(mapsets, settings, command))


@contextmanager
def _hushed() -> Iterator[None]:
    """Say nothing of what is found in files of our own making."""
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


def _provenance(mapsets: Sequence[MapSet], settings: ProjectionSettings, command: str) -> str:
    """What made the maps: the words of each snapshot, or if there are too many, what they share and a hash of all."""
    record = {name: value for name, value in settings.record().items() if value not in (None, {}, False)}
    made = [*([f"command: {command}"] if command else []), f"settings: {json.dumps(record)}"]
    each = list(dict.fromkeys(maps.provenance for maps in mapsets))
    if sum(map(len, each)) > LONGEST:
        shared = [fact for fact in each[0].split("; ") if all(fact in other.split("; ") for other in each)]
        digest = hashlib.sha256("\n".join(each).encode()).hexdigest()
        each = [*shared, f"{len(each)} snapshots, sha256 of their provenance {digest}"]
    return "; ".join([*made, *each])


def _warn_of_names(paths: Sequence[Path], mapsets: Sequence[MapSet], *, named: bool) -> None:
    """Log a warning where different runs may share a name, or one run may have several.

    Parameters
    ----------
    paths : sequence of Path
        The snapshots.
    mapsets : sequence of MapSet
        Their windows.
    named : bool
        Whether the caller named the run.
    """
    folders = defaultdict(set)
    for path, maps in zip(paths, mapsets, strict=True):
        folders[maps.simulation].add(path.resolve().parent)
    twice = Counter((maps.simulation, str(maps.stars["snapshot"][0])) for maps in mapsets)
    for (simulation, snapshot), count in twice.items():
        if count > 1:
            logger.warning("%d files are snapshot %s of %r; %s", count, snapshot, simulation, _APART)
    for simulation, places in folders.items():
        if len(places) > 1 and not named:
            logger.warning("snapshots in %d directories call their run %r; %s", len(places), simulation, _APART)
    if len(mapsets) > 1 and len(folders) == len(mapsets) and len(set.union(*folders.values())) == 1:
        logger.warning(
            "each of the %d snapshots names a run of its own (%s, ...); if they are of one run, say --simulation NAME: "
            "its stars would not be kept together",
            len(mapsets),
            mapsets[0].simulation,
        )
