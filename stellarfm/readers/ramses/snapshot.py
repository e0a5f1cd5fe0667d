"""RAMSES outputs as snapshots: sinks from their list, gas through yt."""

from __future__ import annotations

import logging
from pathlib import Path

from astropy import units as u

from stellarfm.exceptions import ReaderError
from stellarfm.readers.common.options import Choices
from stellarfm.readers.ramses.output import RamsesOutput
from stellarfm.readers.yt.dataset import dataset_gas, dataset_stars, dataset_time, open_dataset, physical_box
from stellarfm.simulations import Snapshot

__all__ = ["read_ramses"]

logger = logging.getLogger("stellarfm")


def read_ramses(path: Path, choices: Choices) -> Snapshot:
    """The output at `path`, its directory or info file.

    Sinks are never read through yt: 4.4 takes units for granted, and needs pandas below 3.

    Raises
    ------
    ReaderError
        If files are missing or broken, or the user asks for what RAMSES does not write.
    """
    output = RamsesOutput.find(path)
    if choices.units:
        raise ReaderError(f"{path}: unit options are not for RAMSES; its info file states the units")
    dataset = open_dataset(output.info, {})
    if not (output.folder / "hydro_file_descriptor.txt").is_file():
        logger.warning("%s: no hydro_file_descriptor.txt; yt guesses the order of the gas variables", path)
    lower, upper = physical_box(dataset)
    stars = output.sinks()
    if stars is None:
        logger.info("%s: no list of sinks (sink_NNNNN.csv) in this output", path)
        table, kind = dataset_stars(dataset, path=path, choices=choices)
    elif choices.label_kind == "star":
        raise ReaderError(f"{path}: RAMSES sinks hold all that was accreted; expected label_kind 'sink'")
    else:
        table, kind = stars, "sink"
    return Snapshot(
        stars=table,
        label_kind=kind,
        gas=dataset_gas(dataset, path=path, sound_speed=choices.sound_speed),
        lower=lower * u.pc,
        upper=upper * u.pc,
        periodic=choices.periodicity(output.periodic),
        time=dataset_time(dataset),
        **choices.identity(output.folder.resolve(), output.folder.iterdir(), code="RAMSES"),
    )
