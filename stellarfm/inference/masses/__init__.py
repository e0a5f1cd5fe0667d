"""Features to a table of masses.

Feature vectors (N, D) enter; a `QTable` of masses with intervals and flags leaves. Open `estimation.py` for the way
from windows to the table. `calibrated_head.py` joins a head (`heads/`: features to log mass), the calibration
(`conformal.py`: log mass to a distribution, `distribution.py`) and the windows of known mass (`reference_set.py`).
`priors.py` replaces the prior, `familiarity.py` flags windows unlike the reference set, and `analogues.py` lists the
reference stars that a mass relies on.
"""
