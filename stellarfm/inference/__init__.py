"""From features to masses with intervals, and to segments."""

from stellarfm.inference.encoding.features import Readout
from stellarfm.inference.masses.conformal import StarConformal
from stellarfm.inference.masses.flags import MassFlag
from stellarfm.inference.masses.mass_table import write_masses
from stellarfm.inference.masses.regression import MassRegressor
from stellarfm.inference.model import StellarModel
from stellarfm.inference.segmentation.segmentation_map import Segmentation

__all__ = ["MassFlag", "MassRegressor", "Readout", "Segmentation", "StarConformal", "StellarModel", "write_masses"]
