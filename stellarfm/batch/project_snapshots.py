"""Projection of many snapshots to one map set, through any executor; resumable."""

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
from stellarfm.exceptions import InputNotFoundError, OutputError, ReaderError, SnapshotError, StellarFMError
from stellarfm.maps import MapSet
from stellarfm.output import check_output, lock_output

__all__ = ["project_snapshots"]

logger = logging.getLogger("stellarfm")

#: Longest provenance that is kept verbatim, in characters: an attribute of an HDF5 file has at most 64 KiB.
LONGEST_PROVENANCE = 30_000

_APART = (
    "if these are different runs, project each on its own and name it with simulation=: "
    "stars with the same number would be taken for one star"
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
    """Project the gas around the stars of many snapshots, and write one map set.

    Each finished snapshot is kept in ``<output>.parts`` until all are finished, so that `resume` repeats none of them.

    Parameters
    ----------
    paths : sequence of path
        Snapshots; windows are in their order.
    output : path
        Map set to write (HDF5).
    settings : ProjectionSettings, optional
        Settings of reading, selection and projection.
    executor : concurrent.futures.Executor, optional
        Executor of the work: a pool of processes, ``dask.distributed.Client(...).get_executor()``, ...; its workers
        must see the same files, and the caller shuts it down. By default snapshots are projected in this process, one
        after the other.
    threads : int, optional
        Number of threads per snapshot; all cores by default. The workers of a pool share the cores.
    resume : bool
        Whether an unfinished run of the same settings is continued, if there is one.
    overwrite : bool
        Whether the output is replaced and, unless `resume` is True, the parts of an unfinished run are deleted.
    progress : callable, optional
        Function called with each finished snapshot.
    command : str
        Command line to record in the provenance.

    Returns
    -------
    MapSet
        The written windows. The column ``source`` of its stars is the name of the file.

    Raises
    ------
    OutputExistsError
        If `output` exists and `overwrite` is False, or there is an unfinished run.
    StellarFMError
        If a snapshot cannot be read or projected; the others are finished and kept first.

    Examples
    --------
    >>> from stellarfm.batch import ProjectionSettings, project_snapshots
    >>> settings = ProjectionSettings(width="0.5 pc", minimum_mass="0.08 solMass")
    >>> project_snapshots(["output_00007"], output="maps.h5", settings=settings)  # doctest: +SKIP
    """
    settings = settings or ProjectionSettings()
    with lock_output(output):
        return _project(
            paths, output, settings, executor, threads, progress, command, resume=resume, overwrite=overwrite
        )


def _project(
    paths: Sequence[str | os.PathLike],
    output: str | os.PathLike,
    settings: ProjectionSettings,
    executor: Executor | None,
    threads: int | None,
    progress: Callable[[Path], object] | None,
    command: str,
    *,
    resume: bool,
    overwrite: bool,
) -> MapSet:
    """Project the snapshots of `project_snapshots` whose output is locked."""
    snapshots, output = _existing(paths), check_output(output, overwrite=overwrite)
    parts = Parts(output, settings, resume=resume, overwrite=overwrite)
    targets = {path: parts.path_for(path) for path in snapshots}
    missing = {path: part for path, part in targets.items() if not part.exists()}
    advance = progress or (lambda path: None)
    for path in set(targets) - set(missing):
        advance(path)
    try:
        failures = _work(missing, settings, executor, threads, advance)
    except OutputError:
        if not any(part.exists() for part in targets.values()):
            parts.remove()
        raise
    if failures:
        raise _failure(failures, len(snapshots), parts)
    maps = _joined(targets, parts, settings, command)
    maps.write(output, overwrite=overwrite)
    parts.remove()
    return maps


def _existing(paths: Sequence[str | os.PathLike]) -> list[Path]:
    """Return the snapshots after checking that each exists and occurs once."""
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


def _work(
    missing: dict[Path, Path],
    settings: ProjectionSettings,
    executor: Executor | None,
    threads: int | None,
    advance: Callable[[Path], object],
) -> dict[Path, StellarFMError]:
    """Project the missing snapshots; return the errors."""
    failures = {}
    for path, result in _results(missing, settings, executor, threads):
        try:
            result()
        except OutputError:  # a full disk: the others would fail as well
            raise
        except StellarFMError as error:
            failures[path] = error
            if len(missing) > 1:
                logger.warning("%s", error)
        except BrokenExecutor as error:
            raise ReaderError(
                f"{path}: a worker died ({error}), perhaps because memory is exhausted; finished snapshots are kept: "
                "use fewer workers and resume=True"
            ) from error
        advance(path)
    return failures


def _results(
    missing: dict[Path, Path], settings: ProjectionSettings, executor: Executor | None, threads: int | None
) -> Iterator[tuple[Path, Callable[[], int]]]:
    """Yield snapshots and the functions that return their results, in order of completion."""
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
    """Return the error itself if there is one snapshot, else one that counts the failures and states the remedy."""
    first = next(iter(failures.values()))
    if n_snapshots == 1:
        parts.remove()
        return first
    return ReaderError(
        f"{len(failures)} of {n_snapshots} snapshots failed, the first: {first}; the others are kept in "
        f"{parts.folder}: fix these or leave them out, and pass resume=True"
    )


def _joined(targets: dict[Path, Path], parts: Parts, settings: ProjectionSettings, command: str) -> MapSet:
    """Return all parts as one set, in the order of the snapshots."""
    with _warnings_only():
        with_stars = {path: MapSet.read(part) for path, part in targets.items() if part.stat().st_size}
    if not with_stars:
        parts.remove()
        least = "" if settings.minimum_mass is None else f" of {settings.minimum_mass} or more"
        raise SnapshotError(
            f"{', '.join(path.name for path in list(targets)[:3])}: no star{least}; "
            "give the centers of the windows as positions="
        )
    mapsets = list(with_stars.values())
    _warn_of_names(list(with_stars), mapsets, named=settings.simulation is not None)
    return replace(MapSet.concatenate(mapsets), provenance=_provenance(mapsets, settings, command))


@contextmanager
def _warnings_only() -> Iterator[None]:
    """Log warnings only: parts are files of this package, and their contents need no messages."""
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


def _provenance(mapsets: Sequence[MapSet], settings: ProjectionSettings, command: str) -> str:
    """Return the provenance of each snapshot or, if it is too long, the common facts and a hash of all."""
    record = {name: value for name, value in settings.record().items() if value not in (None, {}, False)}
    made = [*([f"command: {command}"] if command else []), f"settings: {json.dumps(record)}"]
    each = list(dict.fromkeys(maps.provenance for maps in mapsets))
    if sum(map(len, each)) > LONGEST_PROVENANCE:
        shared = [fact for fact in each[0].split("; ") if all(fact in other.split("; ") for other in each)]
        digest = hashlib.sha256("\n".join(each).encode()).hexdigest()
        each = [*shared, f"{len(each)} snapshots, sha256 of their provenance {digest}"]
    return "; ".join([*made, *each])


def _warn_of_names(paths: Sequence[Path], mapsets: Sequence[MapSet], *, named: bool) -> None:
    """Log a warning if different runs may share a name, or one run may have several names.

    Parameters
    ----------
    paths : sequence of Path
        Snapshots.
    mapsets : sequence of MapSet
        Windows of each.
    named : bool
        True if the caller named the run.
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
            logger.warning("snapshots in %d directories have a run named %r; %s", len(places), simulation, _APART)
    if len(mapsets) > 1 and len(folders) == len(mapsets) and len(set.union(*folders.values())) == 1:
        logger.warning(
            "each of the %d snapshots names a run of its own (%s, ...); if they belong to one run, name it with "
            "simulation=: otherwise its stars are not kept together",
            len(mapsets),
            mapsets[0].simulation,
        )
