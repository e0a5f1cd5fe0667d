"""RAMSES outputs as snapshots: sinks from the output's list, gas through yt."""

from __future__ import annotations

import logging
from pathlib import Path

from stellarfm.exceptions import ReaderError
from stellarfm.readers.common.options import OutputOptions
from stellarfm.readers.ramses.output import RamsesOutput
from stellarfm.readers.yt.dataset import dataset_gas, dataset_stars, dataset_time, open_dataset, physical_box
from stellarfm.simulations import Snapshot

__all__ = ["read_ramses"]

logger = logging.getLogger("stellarfm")


def read_ramses(path: Path, options: OutputOptions) -> Snapshot:
    """Read the output at `path`, its directory or info file; its gas stays in the files until it is requested.

    Sinks are never read through yt: version 4.4 assumes their units, and needs pandas below 3.

    Parameters
    ----------
    path : Path
        Directory ``output_NNNNN``, or its info file.
    options : OutputOptions
        Reader options.

    Returns
    -------
    Snapshot
        Sinks in memory, gas as a `YTCells`.

    Raises
    ------
    InputNotFoundError, ReaderError
        If files are missing or broken, or an option does not apply to RAMSES.

    Examples
    --------
    >>> from pathlib import Path
    >>> from stellarfm.readers.common import OutputOptions
    >>> from stellarfm.readers.ramses import read_ramses
    >>> read_ramses(Path("absent/output_00007"), OutputOptions())
    Traceback (most recent call last):
    stellarfm.exceptions.InputNotFoundError: absent/output_00007: no such file; check the path
    """
    output = RamsesOutput.find(path)
    if options.units:
        raise ReaderError(f"{path}: unit options do not apply to RAMSES; its info file states the units")
    dataset = open_dataset(output.info, {})
    if not (output.folder / "hydro_file_descriptor.txt").is_file():
        logger.warning("%s: no hydro_file_descriptor.txt; yt guesses the order of the gas variables", path)
    stars = output.sinks()
    if stars is None:
        logger.info("%s: no list of sinks (sink_NNNNN.csv) in this output", path)
        stars, kind = dataset_stars(dataset, path=path, options=options)
    elif options.label_kind == "star":
        raise ReaderError(f"{path}: RAMSES sinks hold all that was accreted; expected label_kind='sink'")
    else:
        kind = "sink"
    gas = dataset_gas(dataset, path=path, sound_speed=options.sound_speed)
    periodic = output.periodic if options.periodic is None else (options.periodic,) * 3
    box = options.box(*physical_box(dataset), periodic=periodic)
    identity = options.run_identity(output.folder.resolve(), output.folder.iterdir(), code="RAMSES")
    return Snapshot(stars=stars, label_kind=kind, gas=gas, time=dataset_time(dataset), **box, **identity)
