"""Snapshots of simulations, and their projection to maps around the stars.

A `Snapshot` (stars and gas, with units) enters; a `stellarfm.maps.MapSet` of one window per star and line of sight
leaves. Start with ``projection.py``; the mathematics is in the sub-package ``deposition``.
"""

from stellarfm.simulations.gas import GasBlock, GasSource, InMemoryGas, Region
from stellarfm.simulations.projection import project
from stellarfm.simulations.snapshot import Snapshot

__all__ = ["GasBlock", "GasSource", "InMemoryGas", "Region", "Snapshot", "project"]
