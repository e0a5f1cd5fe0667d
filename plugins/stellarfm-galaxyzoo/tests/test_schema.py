import itertools

import numpy as np
import pytest
from stellarfm_galaxyzoo.exceptions import SchemaError
from stellarfm_galaxyzoo.schema import CAMPAIGNS, Answer, Question, Schema

from stellarfm.exceptions import InputNotFoundError

#: Campaign -> questions and answers (arXiv:2206.11927).
TOTALS = {"dr12": (10, 30), "dr5": (10, 34), "dr8": (10, 34), "gz2": (10, 30), "hubble": (13, 40), "candels": (12, 38)}


def test_all_campaigns_have_65_questions_and_206_answers():
    schema = Schema.load(*CAMPAIGNS)
    assert (len(schema.questions), schema.n_answers) == (65, 206)


@pytest.mark.parametrize("name", CAMPAIGNS)
def test_each_campaign_has_its_own_number(name):
    schema = Schema.load(name)
    assert (len(schema.questions), schema.n_answers) == TOTALS[name]
    assert all(f"-{name}_" in column for column in schema.columns)


def test_columns_are_named_as_zoobot_names_them():
    schema = Schema.load("dr5", "gz2", "hubble", "rings")
    for column in ("smooth-or-featured-dr5_featured-or-disk", "bulge-shape-gz2_no-bulge", "ring_yes"):
        assert column in schema.columns
    assert "clumps-embedded-larger-object-hubble_no" in schema.columns


def test_joint_probabilities_walk_down_the_tree():
    schema = Schema.load("dr5")
    fractions = np.zeros(schema.n_answers)
    given = {
        "smooth-or-featured-dr5": (0.3, 0.6, 0.1),
        "disk-edge-on-dr5": (0.25, 0.75),
        "has-spiral-arms-dr5": (0.8, 0.2),
        "spiral-winding-dr5": (0.5, 0.25, 0.25),
        "merging-dr5": (0.7, 0.1, 0.1, 0.1),
    }
    for number, question in enumerate(schema.questions):
        columns = schema.slice_of(number)
        fractions[columns] = given.get(question.name, 1 / len(question.answers))
    joint = dict(zip(schema.columns, schema.joint(fractions)))
    assert joint["smooth-or-featured-dr5_smooth"] == pytest.approx(0.3)
    assert joint["has-spiral-arms-dr5_yes"] == pytest.approx(0.6 * 0.75 * 0.8)
    assert joint["spiral-winding-dr5_tight"] == pytest.approx(0.6 * 0.75 * 0.8 * 0.5)
    assert joint["merging-dr5_none"] == pytest.approx((0.3 + 0.6) * 0.7)  # after smooth, or after featured


def test_answers_add_up_to_the_probability_of_the_question():
    schema = Schema.load(*CAMPAIGNS)
    fractions = schema.fractions(np.random.default_rng(0).uniform(0.1, 1, (5, schema.n_answers)))
    joint = schema.joint(fractions)
    totals = schema.sums(joint)
    for number, question in enumerate(schema.questions):
        parents = schema.parents(number)
        expected = joint[:, parents].sum(axis=1) if parents else np.ones(5)
        assert totals[:, number] == pytest.approx(expected), question.name


def test_parents_may_stand_behind_their_children():
    schema = Schema(reversed(Schema.load("gz2").questions))
    fractions = np.full(schema.n_answers, 0.5)
    assert schema.joint(fractions)[schema.index("spiral-winding-gz2_tight")] == pytest.approx(0.125)


def test_fractions_of_nothing_are_unknown():
    schema = Schema.load("rings")
    assert schema.fractions(np.array([[3.0, 1.0], [0.0, 0.0]])) == pytest.approx(
        np.array([[0.75, 0.25], [np.nan, np.nan]]), nan_ok=True
    )


def question(name, *after):
    return Question(name, tuple(Answer(word, f"{name}_{word}") for word in ("yes", "no")), after)


@pytest.mark.parametrize(
    ("questions", "message"),
    [
        ([question("a"), question("a")], "question a occurs twice"),
        ([question("a", "b_yes")], "question a comes after b_yes, which is not an answer"),
        ([question("a", "b_yes"), question("b", "a_yes")], "question a depends on itself"),
        ([question("a"), question("b"), question("c", "a_yes", "b_yes")], "which one volunteer can give"),
        ([Question("a", (Answer("yes", "a_yes"),))], "fewer than two answers"),
    ],
)
def test_contradictions_are_refused(questions, message):
    with pytest.raises(SchemaError, match=message):
        Schema(questions)


def test_parents_of_two_branches_are_welcome():
    questions = [question("a"), question("b", "a_yes"), question("c", "a_no"), question("d", "b_yes", "c_yes")]
    joint = Schema(questions).joint(np.full(8, 0.5))
    assert joint[6] == pytest.approx((0.25 + 0.25) * 0.5)


def test_the_same_campaign_twice_is_refused():
    with pytest.raises(SchemaError, match="occurs twice"):
        Schema.load("dr5", "dr5")


def test_own_schema_from_a_file(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('suffix = "x"\n[[questions]]\nname = "dust"\nanswers = ["lane", "none"]\n')
    assert Schema.load(path).columns == ("dust-x_lane", "dust-x_none")
    path.write_text("questions = 3")
    with pytest.raises(SchemaError, match="mine.toml is not a schema"):
        Schema.load(path)
    with pytest.raises(InputNotFoundError, match="dr6: neither a campaign"):
        Schema.load("dr6")


@pytest.mark.parametrize("names", itertools.combinations(CAMPAIGNS, 2), ids="-".join)
def test_dictionary_and_back(names):
    schema = Schema.load(*names)
    assert Schema.from_dict(schema.as_dict()) == schema
