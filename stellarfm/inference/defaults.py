"""How masses are read when nobody says otherwise: as the bundled model reads them."""

from __future__ import annotations

from stellarfm.inference.features import Readout
from stellarfm.inference.regression import MassRegressor

__all__ = ["COMPONENTS", "HEAD", "POOLING", "WEIGHTS", "usual_readout", "usual_regressor"]

#: Parts of the readout, and what each counts.
POOLING, WEIGHTS = ("rings", "profiles"), (0.5, 1.0)
#: What predicts, from how many components of each part.
HEAD, COMPONENTS = "kernel", 24


def usual_readout() -> Readout:
    """Patches in rings about the star, and radial profiles of the maps."""
    return Readout(pooling=POOLING)


def usual_regressor(readout: Readout) -> MassRegressor:
    """A kernel regression; the parts of the usual readout have their weights, those of another count alike."""
    weights = WEIGHTS if readout.pooling == POOLING else None
    return MassRegressor(head=HEAD, n_components=COMPONENTS, block_weights=weights)
