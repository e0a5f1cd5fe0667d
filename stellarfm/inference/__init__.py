"""From features to masses with intervals, and to segments."""

from stellarfm.inference.calibration import StarConformal
from stellarfm.inference.features import Readout
from stellarfm.inference.flags import MassFlag
from stellarfm.inference.model import StellarModel
from stellarfm.inference.regression import MassRegressor
from stellarfm.inference.results import write_masses
from stellarfm.inference.segmentation import Segmentation

__all__ = ["MassFlag", "MassRegressor", "Readout", "Segmentation", "StarConformal", "StellarModel", "write_masses"]
