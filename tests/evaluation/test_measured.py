"""The numbers that were measured before this package existed, on the real clouds."""

import pytest

from stellarfm.evaluation.baselines import mean_of_training, statistics_boosting
from stellarfm.evaluation.benchmark import held_out_masses
from stellarfm.evaluation.scores import score_table
from stellarfm.maps import MapSet


@pytest.mark.shared_data
def test_statistics_and_boosting_reach_what_was_measured(shared_data):
    windows = MapSet.concatenate([MapSet.read(shared_data / "clouds" / f"cloud-{name}.h5") for name in "abc"])
    scores = score_table(held_out_masses(windows, [statistics_boosting(), mean_of_training()], splits=["simulation"]))
    assert scores["n_stars"][0] == 164
    assert scores["r2"][0] == pytest.approx(0.27, abs=0.06)
    assert scores["r2"][1] < 0
    assert scores["star_coverage_68"][0] == pytest.approx(0.68, abs=0.1)
    assert scores["star_coverage_95"][0] > 0.92
