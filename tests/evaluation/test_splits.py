import numpy as np
import pytest

from stellarfm.evaluation.splits import Fold, LeakError, check_disjoint, folds
from stellarfm.exceptions import MapError

GROUPS = np.repeat([f"cloud-{c}/{star}" for c in "ab" for star in range(5)], [1, 7, 2, 3, 3, 4, 9, 1, 1, 2])


@pytest.mark.parametrize("n_folds", [None, 2, 5, 100])
def test_every_window_is_held_out_once_and_never_with_its_star(n_folds):
    found = folds(GROUPS, n_folds=n_folds)
    assert sorted(np.concatenate([fold.test for fold in found])) == list(range(len(GROUPS)))
    for fold in found:
        assert not set(GROUPS[fold.train]) & set(GROUPS[fold.test])
        assert len(fold.train) + len(fold.test) == len(GROUPS)


def test_leave_one_out_is_the_default():
    assert len(folds(GROUPS)) == len(np.unique(GROUPS))


def test_a_random_split_of_windows_is_caught():
    half = Fold(np.arange(0, len(GROUPS), 2), np.arange(1, len(GROUPS), 2))
    with pytest.raises(LeakError, match=r"both sides.*cloud-a/1"):
        check_disjoint(GROUPS[half.train], GROUPS[half.test])


def test_numbers_of_stars_repeat_between_simulations_without_being_a_leak():
    check_disjoint(["cloud-a/1"], ["cloud-b/1"])


def test_one_group_cannot_be_split():
    with pytest.raises(MapError, match=r"single group \(cloud-a/1\)"):
        folds(np.array(["cloud-a/1"] * 4), n_folds=5)
