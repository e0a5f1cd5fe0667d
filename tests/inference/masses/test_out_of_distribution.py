import numpy as np

from stellarfm.inference.masses.conformal import weighted_quantile
from stellarfm.inference.masses.out_of_distribution import ood_threshold


def test_weighted_quantile_counts_stars_not_windows():
    values, stars = np.array([1.0, 2, 3, 100, 100, 100, 100]), np.array([0, 1, 2, 3, 3, 3, 3])
    assert weighted_quantile(values, np.ones(7), 0.5) == 100
    assert weighted_quantile(values, np.array([1, 1, 1, 0.25, 0.25, 0.25, 0.25]), 0.5) == 2
    assert ood_threshold(values, stars) == 100
