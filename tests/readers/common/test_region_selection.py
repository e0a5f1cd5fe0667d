import numpy as np
import pytest

from stellarfm.readers.common.region_selection import RegionMask
from stellarfm.simulations import Region

LOWER, UPPER = np.zeros(3), np.array([4.0, 4.0, 8.0])


def overlap(position, reach, regions, periods=(0.0, 0.0, 0.0)):
    """The slow truth: does the cube around each position touch a region, or a periodic image of it?"""
    found = np.zeros(len(position), bool)
    for shift in np.ndindex(3, 3, 3):
        offset = (np.array(shift) - 1) * periods
        for region in regions:
            low, high = region.lower + offset, region.upper + offset
            found |= np.all((position + reach[:, None] > low) & (position - reach[:, None] < high), axis=1)
    return found


@pytest.mark.parametrize("wrap", [(False, False, False), (True, False, True)])
def test_nothing_that_overlaps_is_missed(wrap):
    rng = np.random.default_rng(1)
    corner = rng.uniform(0, 0.9, (5, 3)) * UPPER
    regions = [Region(c, np.minimum(c + rng.uniform(0.5, 1.5, 3), UPPER)) for c in corner]
    position, reach = rng.uniform(0, 1, (20000, 3)) * UPPER, rng.uniform(0.001, 0.3, 20000)
    answer = RegionMask(regions, lower=LOWER, upper=UPPER, wrap=wrap).overlaps(position, reach)
    truth = overlap(position, reach, regions, np.where(wrap, UPPER, 0.0))
    assert answer[truth].all()
    assert truth.sum() > 1000
    assert answer.sum() < 2 * truth.sum()


def test_what_is_far_is_left_out():
    region = Region(np.array([0.0, 0.0, 0.0]), np.array([0.2, 0.2, 0.2]))
    position = np.array([[0.1, 0.1, 0.1], [3.9, 0.1, 0.1], [2.0, 2.0, 4.0], [3.9, 3.9, 7.9]])
    reach = np.full(4, 0.15)
    plain = RegionMask([region], lower=LOWER, upper=UPPER).overlaps(position, reach)
    wrapped = RegionMask([region], lower=LOWER, upper=UPPER, wrap=(True, True, True)).overlaps(position, reach)
    assert plain.tolist() == [True, False, False, False]
    assert wrapped.tolist() == [True, True, False, True]


def test_an_element_as_large_as_the_box_overlaps():
    region = Region(np.array([3.0, 3.0, 7.0]), np.array([3.1, 3.1, 7.1]))
    for wrap in (False, True):
        mask = RegionMask([region], lower=LOWER, upper=UPPER, wrap=(wrap,) * 3)
        assert mask.overlaps(np.array([[0.1, 0.1, 0.1]]), np.array([50.0])).all()
