"""Shared parts of the readers of simulation outputs.

In: reader options as given by the user, and gas elements as stored in files. Out: options in cgs units, metadata common
to all snapshots of a run, and masks of the gas elements that lie near the requested regions. Start with `options`.
"""

from __future__ import annotations

from stellarfm.readers.common.options import OutputOptions

__all__ = ["OutputOptions"]
