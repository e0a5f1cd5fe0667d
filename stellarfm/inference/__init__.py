"""Maps of gas to masses of stars with intervals, and to segments.

`StellarModel` (`model.py`, open it first) is the entrance: a field (`GasMaps`) or star-centered windows (`MapSet`)
enter, a table of masses or a `Segmentation` leaves. Stages: `encoding` (windows to features), `masses` (features to
masses), `segmentation` (patch features to segments); `serialization.py` reads and writes model directories.
"""

from stellarfm.inference.encoding.features import Readout
from stellarfm.inference.masses.conformal import StarConformal
from stellarfm.inference.masses.flags import MassFlag
from stellarfm.inference.masses.mass_table import write_masses
from stellarfm.inference.masses.regression import MassRegressor
from stellarfm.inference.model import StellarModel
from stellarfm.inference.segmentation.segmentation_map import Segmentation

__all__ = ["MassFlag", "MassRegressor", "Readout", "Segmentation", "StarConformal", "StellarModel", "write_masses"]
