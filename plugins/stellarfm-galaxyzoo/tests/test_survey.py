import numpy as np
import pytest
from stellarfm_galaxyzoo.catalogue import Catalogue
from stellarfm_galaxyzoo.exceptions import CatalogueError, SchemaError
from stellarfm_galaxyzoo.images import read_image
from stellarfm_galaxyzoo.simulated_galaxies import Galaxy, render
from stellarfm_galaxyzoo.simulated_votes import is_ring
from stellarfm_galaxyzoo.synthetic_survey import SyntheticSurvey

from stellarfm.testing import DatasetConformance

PLAIN = Galaxy(
    bulge=0.2,
    axis_ratio=0.9,
    cos_inclination=0.95,
    angle=0.3,
    radius=0.2,
    n_arms=0,
    arm_contrast=0.0,
    pitch=20.0,
    phase=0.0,
    bar=0.0,
    ring=0.0,
    ring_radius=1.9,
    companion=0.0,
    companion_angle=0.0,
    noise=0.0,
)


class TestSyntheticSurvey(DatasetConformance):
    plugin = SyntheticSurvey
    options = {"size": 32}


def picture(**changes):
    galaxy = Galaxy(**{**vars(PLAIN), **changes})
    return render(galaxy, size=64, channels=3, rng=np.random.default_rng(0))


def test_ring_is_where_it_should_be():
    brighter = (picture(ring=1.0) - picture()).sum(axis=0)
    y, x = np.unravel_index(brighter.argmax(), brighter.shape)
    assert np.hypot(x - 31.5, y - 31.5) == pytest.approx(1.9 * 0.2 * 32, abs=1.5)


def test_two_arms_look_the_same_upside_down_and_three_do_not():
    def asymmetry(n_arms):
        image = picture(n_arms=n_arms, arm_contrast=1.0)
        return np.abs(image - image[:, ::-1, ::-1]).mean()

    assert asymmetry(2) < 0.1 * asymmetry(3)


def test_discs_seen_edge_on_are_thin():
    def thickness(cos_inclination):
        light = picture(cos_inclination=cos_inclination, bulge=0.0, angle=0.0).sum(axis=0)
        return np.sqrt(np.average((np.arange(64) - 31.5) ** 2, weights=light.sum(axis=1)))

    assert thickness(0.0) < 0.5 * thickness(1.0)


def test_bulges_are_red_and_arms_blue():
    def redness(image):
        return image[0].sum() / image[2].sum()

    assert redness(picture(bulge=1.0)) > 1.2 * redness(picture())
    assert redness(picture(n_arms=2, arm_contrast=1.0)) < redness(picture())


def test_votes_follow_the_tree():
    survey = SyntheticSurvey(size=16, count=60, labelled=1.0, schema=("dr5", "gz2"))
    for index in range(len(survey)):
        votes = survey.label(index)
        totals = survey.schema.sums(votes)
        for number, question in enumerate(survey.schema.questions):
            if parents := survey.schema.parents(number):
                assert totals[number] == votes[parents].sum(), question.name


def test_each_galaxy_is_in_one_campaign_and_some_in_none():
    survey = SyntheticSurvey(size=16, count=300, labelled=0.5)
    roots = [survey.schema.slice_of(n) for n, q in enumerate(survey.schema.questions) if "smooth" in q.name]
    votes = np.stack([survey.label(index) for index in range(len(survey))])
    asked = np.stack([votes[:, root].sum(axis=1) for root in roots], axis=1)
    assert set(np.unique(asked)) == {0.0, 40.0}
    assert ((asked > 0).sum(axis=1) <= 1).all()
    assert (asked > 0).any(axis=1).mean() == pytest.approx(0.5, abs=0.12)  # four standard errors
    assert (votes == 0).mean() > 0.7


def test_votes_are_drawn_from_the_fractions_and_these_from_the_truth():
    survey = SyntheticSurvey(size=16, count=400, labelled=1.0, schema=("dr5",), volunteers=400)
    columns = survey.schema.slice_of(0)
    votes = np.stack([survey.label(index)[columns] for index in range(400)]) / 400
    drawn = np.stack([survey.fractions(index)[columns] for index in range(400)])
    truth = np.stack([survey.concentrations(index)[columns] for index in range(400)])
    assert votes == pytest.approx(drawn, abs=0.12)
    expected = truth / truth.sum(axis=1, keepdims=True)
    standardised = (drawn - expected) / np.sqrt(expected * (1 - expected) / (truth.sum(axis=1, keepdims=True) + 1))
    assert standardised.mean(axis=0) == pytest.approx(np.zeros(3), abs=0.2)
    assert standardised.std(axis=0) == pytest.approx(np.ones(3), abs=0.2)


def test_an_expert_sees_rings():
    survey = SyntheticSurvey(size=16, count=100, labelled=1.0, schema=("rings",))
    labels = np.stack([survey.label(index) for index in range(100)])
    rings = [is_ring(survey.galaxy(index)) for index in range(100)]
    assert (labels[:, 0] == rings).all()
    assert 0.05 < np.mean(rings) < 0.4


def test_written_survey_is_the_same_survey(survey_folder):
    survey = SyntheticSurvey(size=32, count=40, schema=("dr5", "gz2", "rings"), labelled=0.8)
    catalogue = Catalogue.read(survey_folder / "catalogue.csv", survey.schema)
    assert np.array_equal(catalogue.votes, np.stack([survey.label(index) for index in range(40)]))
    assert read_image(catalogue.paths[3]) == pytest.approx(survey.image(3), abs=0.5 / 255 + 1e-6)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"schema": ("hubble",)}, SchemaError, "synthetic galaxies have no property for smooth-or-featured-hubble"),
        ({"labelled": 1.5}, CatalogueError, "labelled is 1.5; expected a fraction"),
        ({"count": 0}, CatalogueError, "count is 0"),
    ],
)
def test_wrong_options(options, error, message):
    with pytest.raises(error, match=message):
        SyntheticSurvey(**options)
