"""Features to a table of masses.

Feature vectors (N, D) enter; a `QTable` of masses with intervals and flags leaves. Open `estimation.py` for the way
from windows to the table, and `mass_head.py` for the head: `regression.py` predicts, `conformal.py` calibrates the
intervals, `reference_set.py` holds the windows of known mass, `out_of_distribution.py` the limit of what they cover.
"""

from stellarfm.inference.masses.conformal import StarConformal
from stellarfm.inference.masses.flags import MassFlag, decode_flags
from stellarfm.inference.masses.mass_head import MassHead
from stellarfm.inference.masses.mass_table import write_masses
from stellarfm.inference.masses.regression import MassRegressor

__all__ = ["MassFlag", "MassHead", "MassRegressor", "StarConformal", "decode_flags", "write_masses"]
