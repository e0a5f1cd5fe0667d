"""``stellarfm project``: project snapshots of simulations to maps around their stars."""

from __future__ import annotations

import argparse
import atexit
import shlex
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stellarfm.cli.common import add_output_options, log_to_stderr, say
from stellarfm.cli.reader_options import add_reader_options, reader_options
from stellarfm.parallel import available_cores, process_pool

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from stellarfm.batch import ProjectionSettings

__all__ = ["add_parser", "run"]


def add_parser(subparsers: argparse._SubParsersAction) -> None:
    """Add the sub-command."""
    p = subparsers.add_parser(
        "project",
        help="project snapshots of simulations to maps around their stars",
        description="Project the gas around every star of snapshots: column density, velocity and velocity dispersion.",
    )
    p.add_argument("snapshots", nargs="+", type=Path, metavar="SNAPSHOT", help="file or directory of a snapshot")
    add_output_options(p, what="map set (.h5)")
    _add_windows(p.add_argument_group("windows"))
    _add_stars(p.add_argument_group("stars"))
    add_reader_options(p.add_argument_group("reading"))
    group = p.add_argument_group("work")
    group.add_argument("--workers", type=int, metavar="N", help="snapshots at once (default: number of cores)")
    group.add_argument("--resume", action="store_true", help="continue an unfinished run with the same options")
    p.set_defaults(run=run)


def _add_windows(group: Any) -> None:
    group.add_argument("--width", default="0.5 pc", metavar='"0.5 pc"', help='side on the sky (default: "0.5 pc")')
    group.add_argument("--depth", metavar='"0.5 pc"', help="length along the line of sight (default: the width)")
    group.add_argument("--pixels", type=int, default=64, metavar="N", help="pixels along a side (default: 64)")
    group.add_argument("--axes", default="xyz", help="lines of sight out of x, y, z (default: xyz)")
    group.add_argument("--directions", type=int, metavar="N", help="number of random lines of sight, in place of axes")
    group.add_argument("--seed", type=int, default=0, metavar="S", help="seed of random lines of sight (default: 0)")
    group.add_argument("--snap", action="store_true", help="align pixels with a grid over the box, not with the star")
    group.add_argument("--thermal", action="store_true", help="add the thermal part to the velocity dispersion")


def _add_stars(group: Any) -> None:
    group.add_argument("--positions", type=Path, metavar="TABLE", help="centers x, y, z of windows in place of stars")
    group.add_argument("--minimum-mass", metavar='"0.08 solMass"', help="smallest mass of a star")
    group.add_argument(
        "--mass-kind",
        dest="label_kind",
        choices=("sink", "star"),
        help="meaning of masses: all accreted mass, or the star alone",
    )
    group.add_argument("--simulation", metavar="NAME", help="name of the run (default: from the reader)")


def run(args: argparse.Namespace) -> None:
    """Project all snapshots and write one map set."""
    from stellarfm.batch import project_snapshots

    settings, workers = _settings(args), _workers(args)
    with _executor(workers, args) as executor, _bar(args) as advance:
        maps = project_snapshots(
            args.snapshots,
            output=args.output,
            settings=settings,
            executor=executor,
            threads=max(1, available_cores() // workers),
            resume=args.resume,
            overwrite=args.overwrite,
            progress=advance,
            command=shlex.join(["stellarfm", *sys.argv[1:]]),
        )
    files = "1 snapshot" if len(args.snapshots) == 1 else f"{len(args.snapshots)} snapshots"
    say(f"wrote {args.output}: {len(maps)} windows of {len(set(maps.groups))} stars from {files}", args)


def _settings(args: argparse.Namespace) -> ProjectionSettings:
    from stellarfm.batch import ProjectionSettings
    from stellarfm.readers.tables import read_positions

    same = ("reader", "simulation", "label_kind", "minimum_mass", "width", "depth", "pixels", "axes", "directions")
    return ProjectionSettings(
        reader_options=reader_options(args),
        positions=None if args.positions is None else read_positions(args.positions),
        **{name: getattr(args, name) for name in (*same, "seed", "snap", "thermal")},
    )


def _workers(args: argparse.Namespace) -> int:
    from stellarfm.exceptions import SnapshotError

    if args.workers is not None and args.workers < 1:
        raise SnapshotError(f"--workers is {args.workers}; expected at least 1")
    return min(len(args.snapshots), args.workers or available_cores())


@contextmanager
def _executor(workers: int, args: argparse.Namespace) -> Iterator[Executor | None]:
    """Yield a pool of spawned processes; None if one process is enough."""
    if workers == 1:
        yield None
        return
    pool = process_pool(workers, initializer=_log_in_worker, initargs=(args.quiet, args.option_names))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _log_in_worker(quiet: bool, options: Mapping[str, str]) -> None:
    """Log in a worker as in this process, until the worker ends."""
    stack = ExitStack()
    stack.enter_context(log_to_stderr(quiet=quiet, options=options))
    atexit.register(stack.close)


@contextmanager
def _bar(args: argparse.Namespace) -> Iterator[Any]:
    """Yield a function that advances the progress bar, shown on a terminal, by one snapshot."""
    from tqdm import tqdm

    hidden = args.quiet or not sys.stderr.isatty()
    with tqdm(total=len(args.snapshots), desc="project", unit="snapshot", disable=hidden) as bar:
        yield lambda path: bar.update()
