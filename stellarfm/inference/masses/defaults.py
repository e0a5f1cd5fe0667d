"""How masses are read when nobody says otherwise: as the bundled model reads them."""

from __future__ import annotations

from stellarfm.inference.encoding.features import Readout
from stellarfm.inference.masses.regression import MassRegressor

__all__ = ["COMPONENTS", "HEAD", "POOLING", "default_readout", "default_regressor"]

#: Parts of the readout; they count alike.
POOLING = ("zooms", "profiles")
#: What predicts, from how many components of each part.
HEAD, COMPONENTS = "kernel", 24


def default_readout() -> Readout:
    """Patches in rings about the star at three zooms, and radial profiles of the maps."""
    return Readout(pooling=POOLING)


def default_regressor() -> MassRegressor:
    """A kernel regression on the whitened components of each part."""
    return MassRegressor(head=HEAD, n_components=COMPONENTS)
