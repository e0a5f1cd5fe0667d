import numpy as np
import pytest
from astropy import units as u

from stellarfm.exceptions import ModelError
from stellarfm.inference import Candidate, ForestHead, KNNHead, Readout, StellarModel, select
from stellarfm.inference.encoding.statistics import window_statistics
from stellarfm.inference.masses.conformal import cross_fit
from stellarfm.inference.masses.reference_set import ReferenceSet
from stellarfm.inference.selection import default_candidates, outer_folds
from stellarfm.maps import MapSet

STATISTICS = Readout(pooling="statistics")
MEMORIZER = Candidate(readout=STATISTICS, head=KNNHead(n_components=1, n_neighbors=1), encoder=None)
LEARNER = Candidate(readout=STATISTICS, head=ForestHead(n_trees=20, min_samples_leaf=15), encoder=None)


def with_barcode(windows, *, depth=0.25, seed=7):
    """Give each star a velocity dispersion of its own, unrelated to its mass, and a mass that gas shows to 0.3 dex."""
    rng = np.random.default_rng(seed)
    names, star = np.unique(windows.groups, return_inverse=True)
    dispersion = np.geomspace(0.1, 30, len(names))[rng.permutation(len(names))]
    maps, stars = windows.velocity_dispersion * dispersion[star, None, None], windows.stars.copy()
    stars["mass"] = stars["mass"] * 10 ** rng.normal(0, 0.3, len(names))[star]
    return MapSet(**{**vars(windows), "velocity_dispersion": maps, "stars": stars, "depth": depth * u.pc})


@pytest.fixture(scope="module")
def barcoded(cloud):
    """Two runs in two depths, with the same stars and barcodes in both."""
    sets = [cloud(name, n_stars=14, seed=seed) for name, seed in (("one", 1), ("two", 2))]
    return [with_barcode(one, depth=depth) for one in sets for depth in (0.25, 4)]


@pytest.fixture(scope="module")
def selection(barcoded):
    return select(barcoded, [MEMORIZER, LEARNER])


def known(sets):
    return ReferenceSet.from_windows(np.concatenate([window_statistics(one) for one in sets]), sets)


def test_a_candidate_that_memorizes_stars_does_not_win(barcoded, selection):
    """It would with folds of windows, where it finds the other windows of the same star."""
    reference = known(barcoded)
    log_mass, windows = np.log10(reference.mass), np.arange(len(reference)).astype(str)
    errors = [
        np.abs(
            log_mass
            - cross_fit(one.head, reference.features, log_mass, stars=windows, simulations=reference.simulation)
        ).mean()
        for one in (MEMORIZER, LEARNER)
    ]
    assert errors[0] < 0.5 * errors[1]
    assert selection.chosen is LEARNER
    assert selection.table["chosen"].tolist() == [False, True]
    assert selection.folds["chosen"].tolist() == [1, 1]
    assert selection.table["crps"][0] > 1.2 * selection.table["crps"][1]


def test_no_star_is_on_both_sides(barcoded):
    """Whatever its depth; of several simulations one is held out, of a single one a fifth of its stars."""
    for sets, names in ((barcoded, ["one", "two"]), (barcoded[:2], [f"fold_{n}" for n in range(1, 6)])):
        reference = known(sets)
        folds = outer_folds(reference)
        assert [name for name, _, _ in folds] == names
        np.testing.assert_array_equal(
            np.sort(np.concatenate([held for _, _, held in folds])), np.arange(len(reference))
        )
        for _, kept, held in folds:
            assert not set(reference.groups[kept]) & set(reference.groups[held])


def test_masses_held_out_do_not_change_the_choice_of_their_fold(barcoded, selection):
    """The inner scores of a fold are those of the other simulation alone."""
    wrong = barcoded[0].stars.copy()
    wrong["mass"] = wrong["mass"][::-1]
    changed = select([MapSet(**{**vars(barcoded[0]), "stars": wrong}), *barcoded[1:]], [MEMORIZER, LEARNER])
    assert np.all(changed.table["crps_without_one"] == selection.table["crps_without_one"])
    assert np.all(changed.table["crps_without_two"] != selection.table["crps_without_two"])


def test_scores(barcoded, selection):
    """Those of stars weigh each star equally; the outer score is the mean over the folds' stars."""
    assert selection.table.colnames[4:6] == ["crps", "window_crps"]
    assert selection.table["crps"].unit == u.dex
    assert selection.folds["held_out"].tolist() == ["one", "two"]
    assert selection.folds["stars"].tolist() == [14, 14]
    assert selection.outer_score["crps"] == pytest.approx(selection.folds["crps"].value.mean())
    fewer = select([barcoded[0][np.r_[0:3, 3:42:3]]], [LEARNER])
    assert fewer.table["crps"][0] != fewer.table["window_crps"][0]


def test_same_seed_same_selection(barcoded, tiny_encoder):
    candidates = [
        LEARNER,
        Candidate(readout=Readout(pooling=("statistics", "class")), head=KNNHead(n_components=4), encoder=tiny_encoder),
        Candidate(readout=Readout(pooling="profiles"), head=KNNHead(n_components=4), encoder=tiny_encoder),
    ]
    one, other = (select(barcoded[::2], candidates, seed=3) for _ in range(2))
    assert one.to_config() == other.to_config()
    alone = select(barcoded[::2], candidates[1:2], seed=3)
    assert alone.table["crps"][0].value == pytest.approx(one.table["crps"][1].value, rel=1e-6)


def test_a_model_keeps_its_selection(barcoded, selection, tmp_path):
    model = StellarModel.fit(barcoded, selection=selection).save(tmp_path / "model")
    assert repr(model.head.head) == repr(LEARNER.head)
    assert model.embedder.encoder is None
    again = StellarModel.load(tmp_path / "model").selection
    assert again.to_config() == selection.to_config()
    assert again.table["crps"].unit == u.dex
    assert again.chosen.readout == STATISTICS
    assert "| statistics | forest |" in (tmp_path / "model" / "README.md").read_text()
    assert StellarModel.load().selection is None


def test_default_candidates():
    assert [str(one) for one in default_candidates()] == [
        "statistics, forest",
        "statistics, svr",
        "statistics, knn",
        "profiles, svr",
        "zooms, svr",
        "statistics + zooms, svr",
        "class, knn",
    ]
    assert default_candidates()[-1].encoder == "hirashima2025"
    assert {one.encoder for one in default_candidates("resnet18")} == {"resnet18"}
    assert len(default_candidates(None)) == 3


def test_too_little_to_select_by(cloud):
    with pytest.raises(ModelError, match="no candidate to choose from"):
        select(cloud(), [])
    with pytest.raises(ModelError, match="2 stars of 1 simulations are too few"):
        select(cloud(n_stars=2), [LEARNER])
    with pytest.raises(ModelError, match="needs an encoder"):
        select(cloud(), [Candidate(readout=Readout(pooling="class"), head=KNNHead(), encoder=None)])
