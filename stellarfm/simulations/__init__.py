"""Snapshots of simulations, and their projection to maps around the stars."""

from stellarfm.simulations.gas import GasBlock, GasSource, InMemoryGas, Region
from stellarfm.simulations.projection import project
from stellarfm.simulations.snapshot import Snapshot

__all__ = ["GasBlock", "GasSource", "InMemoryGas", "Region", "Snapshot", "project"]
