"""Stars are kept together by the name of their run and their number: what names can get wrong."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

from stellarfm.maps import MapSet

__all__ = ["warn_of_names"]

logger = logging.getLogger("stellarfm")

_APART = (
    "if these are different runs, project each on its own with --simulation NAME: "
    "stars of one number would be taken for one star"
)


def warn_of_names(paths: Sequence[Path], mapsets: Sequence[MapSet], *, named: bool) -> None:
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
