import json
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from astropy.table import QTable
from stellarfm_galaxyzoo.dirichlet import credible_interval, dirichlet_multinomial_loss
from stellarfm_galaxyzoo.dirichlet_calibration import Calibration
from stellarfm_galaxyzoo.evaluation import coverage_of_votes, evaluate, reliability
from stellarfm_galaxyzoo.exceptions import CatalogueError
from stellarfm_galaxyzoo.finetuning import Tuning, draw_labels, finetune, thaw
from stellarfm_galaxyzoo.model import GalaxyModel, features_of
from stellarfm_galaxyzoo.readout_heads import LinearHead, NeighborHead, cross_fit
from stellarfm_galaxyzoo.schema import Schema
from stellarfm_galaxyzoo.synthetic_survey import SyntheticSurvey
from stellarfm_galaxyzoo.vote_probe import VoteProbe

from stellarfm import registry
from stellarfm.cli.main import main
from stellarfm.exceptions import InputNotFoundError, ModelError
from stellarfm.inference.encoding.frozen_encoder import FrozenEncoder

SCHEMA = Schema.load("dr5")
TUNE = ("finetune", "CAT", "--encoder", "resnet18", "--schema", "dr5", "--output", "m")


@pytest.fixture(scope="module")
def truth():
    """Features that tell everything: the logarithms of the true concentrations; votes, true concentrations, shares."""
    survey = SyntheticSurvey(size=16, count=1200, labelled=1.0, schema=("dr5",))
    concentrations = np.stack([survey.concentrations(index) for index in range(len(survey))])
    votes = np.stack([survey.label(index) for index in range(len(survey))])
    shares = np.stack([survey.fractions(index) for index in range(len(survey))])
    return np.log(concentrations), votes, concentrations, shares


def split(*arrays):
    return [part for values in arrays for part in (values[:800], values[800:])]


@pytest.mark.parametrize("kind", ["linear", "knn"])
def test_posteriors_hold_the_true_shares(kind, truth):
    """Issue 7: coverage of credible intervals within binomial error, question by question, on galaxies never seen."""
    x, x_test, k, k_test, _, _, _, shares = split(*truth)
    head, outside = cross_fit(kind, x, k, SCHEMA)
    found = Calibration.fit(outside, k, SCHEMA).apply(head.predict(x_test), SCHEMA)
    low, high = credible_interval(found, SCHEMA, level=0.9)
    for number, question in enumerate(SCHEMA.questions):
        columns = SCHEMA.slice_of(number)
        asked = k_test[:, columns].sum(axis=1) > 0
        inside = ((shares > low) & (shares < high))[asked][:, columns].mean()
        error = np.sqrt(0.09 / asked.sum())
        assert inside == pytest.approx(0.9, abs=3.5 * error), (question.name, asked.sum())


def test_calibration_mends_what_is_too_sure(truth):
    k, k_test, a, a_test, *_ = split(*truth[1:])
    wrong = 4 * a_test
    mended = Calibration.fit(4 * a, k, SCHEMA).apply(wrong, SCHEMA)
    assert (SCHEMA.sums(mended) < 0.5 * SCHEMA.sums(wrong)).all()
    before, after = (np.nanmean(coverage_of_votes(found, k_test, SCHEMA)) for found in (wrong, mended))
    assert before < 0.87
    assert after == pytest.approx(0.9, abs=0.015)  # one binomial error of 400 galaxies


def test_calibration_without_votes_changes_nothing():
    a = np.random.default_rng(0).uniform(1, 20, (5, SCHEMA.n_answers))
    found = Calibration.fit(a, np.zeros_like(a), SCHEMA).apply(a, SCHEMA)
    assert found == pytest.approx(a)


def test_linear_head_finds_the_truth(truth):
    x, x_test, k, k_test, _, a_test, *_ = split(*truth)
    head, _ = cross_fit("linear", x, k, SCHEMA)
    index = torch.as_tensor(SCHEMA.question_of)
    best, found, ignorant = (
        dirichlet_multinomial_loss(torch.as_tensor(values), torch.as_tensor(k_test), index).mean().item()
        for values in (a_test, head.predict(x_test), np.ones_like(a_test))
    )
    assert found - best < 0.1 * (ignorant - best)


def test_neighbours_vote_and_never_on_themselves():
    schema = Schema.load("rings")
    features = np.array([[1.0, 0.0], [1.0, 0.1], [-1.0, 0.0], [-1.0, 0.1]])
    votes = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    head = NeighborHead(features, votes, schema.question_of)
    found = head.predict(np.array([[0.9, 0.05]]))
    assert found[0] == pytest.approx([3.0, 1.0], abs=0.3)
    swapped = NeighborHead(features, np.array([[0.0, 1.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]), schema.question_of)
    assert swapped.predict(features, exclude_self=True)[0, 0] > swapped.predict(features, exclude_self=True)[0, 1]


def test_tree_probabilities_are_reliable(truth):
    table = reliability(truth[2], truth[1], SCHEMA)
    assert (np.abs(table["predicted"] - table["observed"]) < 0.02).all()
    worse = reliability(np.ones_like(truth[2]), truth[1], SCHEMA)
    assert np.abs(worse["predicted"] - worse["observed"]).max() > 0.05


def test_true_concentrations_score_as_they_should(truth):
    table = evaluate(truth[2], truth[1], SCHEMA)
    assert table["question"][-1] == "all"
    assert len(table) == 11
    assert (table["loss"] < table["uniform_loss"]).all()
    assert table["coverage_90"] == pytest.approx(np.full(11, 0.9), abs=0.03)
    assert table["coverage_50"] == pytest.approx(np.full(11, 0.5), abs=0.05)


def test_budgets_are_nested():
    votes = np.zeros((50, 2))
    votes[::2] = 1
    small, large = (draw_labels(votes, count, seed=3) for count in (5, 12))
    assert small.tolist() == large[:5].tolist()
    assert not (large % 2).any()
    with pytest.raises(CatalogueError, match="25 galaxies have votes on these questions; expected 26"):
        draw_labels(votes, 26, seed=0)


@pytest.mark.parametrize("layers", [0, 2, None])
def test_only_the_last_layers_learn(layers):
    survey = SyntheticSurvey(size=16, count=16, labelled=1.0, schema=("rings", "dr5"))
    votes = np.stack([survey.label(index) for index in range(16)])
    encoder = FrozenEncoder.random("resnet18", image_size=16)
    before = {name: value.clone() for name, value in encoder.module.state_dict().items()}
    tuning = Tuning(layers=layers, steps=2, batch_size=4)
    model = finetune(survey, votes, survey.schema, encoder=encoder, tuning=tuning)
    changed = {
        name for name, value in model.encoder.module.state_dict().items() if not torch.equal(value, before[name])
    }
    assert bool(changed) == (layers != 0)
    if layers == 2:
        assert {name.split(".")[1] for name in changed} == {"layer4"}
    if layers is None:
        assert "backbone.conv1.weight" in changed


def test_frozen_parts_keep_their_statistics():
    encoder = registry.create("encoders", "resnet18")
    thaw(encoder, 1)
    assert not encoder.backbone.bn1.training
    with pytest.raises(ModelError, match="has 9 layers; expected at least 99"):
        thaw(encoder, 99)


@dataclass(frozen=True)
class Bright:
    """Galaxies, each second one brighter."""

    survey: SyntheticSurvey

    def __len__(self):
        return len(self.survey)

    def image(self, index):
        return self.survey.image(index) * np.float32(0.5 + 0.4 * (index % 2))


def test_tuning_from_random_weights_learns():
    """The head began saturated, batch norms having no statistics yet: nothing was learnt, and nothing said so."""
    images = Bright(SyntheticSurvey(size=16, count=80, labelled=1.0, schema=("rings",)))
    bright = np.arange(80) % 2
    tuning = Tuning(layers=None, steps=15, batch_size=16, learning_rate=1e-3)
    votes = np.stack([bright, 1 - bright], axis=1)
    model = finetune(images, votes, Schema.load("rings"), encoder="resnet18", tuning=tuning)
    assert (model.concentrations(images).argmax(axis=1) == 1 - bright).mean() > 0.9


def test_same_seed_same_model():
    survey = SyntheticSurvey(size=16, count=12, labelled=1.0, schema=("rings",))
    votes = np.stack([survey.label(index) for index in range(12)])
    tuning = Tuning(layers=None, steps=2, batch_size=4)
    one, same, other = (
        finetune(survey, votes, survey.schema, encoder="resnet18", tuning=tuning, seed=seed).concentrations(survey)
        for seed in (1, 1, 2)
    )
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


@pytest.fixture(scope="module")
def model_folder(survey_folder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "model"
    options = ["--encoder", "resnet18", "--schema", "dr5", "gz2", "--size", "16", "--output", str(folder), "--quiet"]
    assert main(["galaxyzoo", "finetune", str(survey_folder / "catalogue.csv"), *options]) == 0
    return folder


def test_a_model_survives_the_disk(model_folder, tmp_path, survey_folder):
    model = GalaxyModel.load(model_folder)
    survey = SyntheticSurvey(size=16, count=4, schema=("dr5", "gz2"))
    expected = model.concentrations(survey)
    model.save(tmp_path / "again")
    assert np.array_equal(GalaxyModel.load(tmp_path / "again").concentrations(survey), expected)
    names = sorted(path.name for path in model_folder.iterdir())
    assert names == [".stellarfm.json", "README.md", "config.json", "encoder.safetensors", "head.safetensors"]


@pytest.mark.parametrize("ending", ["fits", "ecsv", "csv", "parquet", "vot"])
def test_predict(model_folder, survey_folder, tmp_path, ending):
    path = tmp_path / f"out.{ending}"
    words = ["galaxyzoo", "predict", str(survey_folder / "catalogue.csv"), "--model", str(model_folder)]
    assert main([*words, "--output", str(path), "--quiet"]) == 0
    table = QTable.read(path, format={"csv": "ascii.csv", "vot": "votable"}.get(ending))
    name = "smooth-or-featured-dr5_smooth"
    assert len(table) == 40
    for column in ("fraction", "low", "high", "probability"):
        assert ((table[f"{name}_{column}"] >= 0) & (table[f"{name}_{column}"] <= 1)).all()
    assert (table[f"{name}_low"] < table[f"{name}_fraction"]).all()
    assert (table[f"{name}_fraction"] < table[f"{name}_high"]).all()


def test_evaluate_compares_models(model_folder, survey_folder, tmp_path, capsys):
    words = ["galaxyzoo", "evaluate", str(survey_folder / "catalogue.csv"), "--model", str(model_folder)]
    assert main(words) == 0
    assert "smooth-or-featured-gz2" in capsys.readouterr().out
    assert main([*words, str(model_folder), "--output", str(tmp_path / "scores.ecsv")]) == 0
    assert len(QTable.read(tmp_path / "scores.ecsv")) == 42


def test_several_budgets_and_seeds_make_several_models(survey_folder, tmp_path):
    words = ["galaxyzoo", "finetune", str(survey_folder / "catalogue.csv"), "--encoder", "resnet18", "--size", "16"]
    more = ["--schema", "rings", "--labels", "8", "16", "--seed", "0", "1", "--head", "knn", "--quiet"]
    assert main([*words, *more, "--output", str(tmp_path / "models")]) == 0
    names = sorted(path.name for path in (tmp_path / "models").iterdir())
    assert names == ["labels-16-seed-0", "labels-16-seed-1", "labels-8-seed-0", "labels-8-seed-1"]


def test_recipes_are_recipes(capsys, tmp_path):
    from stellarfm.pretraining.recipe import load_recipe

    for arm in ("direct", "pretrained", "contrastive", "hybrid"):
        assert main(["galaxyzoo", "recipe", arm]) == 0
        path = tmp_path / f"{arm}.toml"
        path.write_text(capsys.readouterr().out)
        recipe = load_recipe(path)
        registry.create("methods", recipe.plugins["method"], **recipe.method)
        registry.create("datasets", recipe.plugins["dataset"], **{"size": recipe.size, **recipe.dataset})


def test_simulate(tmp_path):
    words = ["galaxyzoo", "simulate", "--count", "3", "--size", "16", "--output", str(tmp_path / "survey"), "--quiet"]
    assert main(words) == 0
    assert len(list((tmp_path / "survey" / "images").iterdir())) == 3
    assert main(words) == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["predict", "CAT", "--model", "none", "--output", "o.fits"], "none is not a model; expected a directory"),
        (["predict", "CAT", "--model", "MODEL", "--output", "o.xyz"], "o.xyz: unknown suffix"),
        (["predict", "CAT", "--model", "MODEL", "--output", "o.fits", "--level", "2"], "level is 2.0"),
        (["predict", "none.csv", "--model", "MODEL", "--output", "o.fits"], "none.csv: no such catalogue"),
        (["evaluate", "CAT", "--model", "MODEL", "--root", "none"], "images are missing"),
        (["finetune", "CAT", "--encoder", "resnet18", "--schema", "hubble", "--output", "m"], "0 galaxies have votes"),
        (["finetune", "CAT", "--encoder", "resnet18", "--schema", "dr6", "--output", "m"], "dr6: neither a campaign"),
        (["finetune", "CAT", "--encoder", "resnet19", "--schema", "dr5", "--output", "m"], "unknown encoder"),
        (["finetune", "CAT", "--encoder", "resnet18", "--layers", "x", "--output", "m"], "layers is 'x'"),
        (
            ["finetune", "CAT", "--encoder", "resnet18", "--schema", "dr5", "--size", "20", "--output", "m"],
            "do not fit",
        ),
        (
            ["finetune", "CAT", "--encoder", "resnet18", "--head", "knn", "--layers", "1", "--output", "m"],
            "head is 'knn'",
        ),
    ],
)
def test_errors_are_one_line(words, message, survey_folder, model_folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names = {"CAT": str(survey_folder / "catalogue.csv"), "MODEL": str(model_folder)}
    assert main(["galaxyzoo", *(names.get(word, word) for word in words)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: (folder / "head.safetensors").unlink(), "lacks head.safetensors"),
        (lambda folder: (folder / "head.safetensors").write_bytes(b"x"), "is damaged"),
        (lambda folder: (folder / "config.json").write_text("{"), "is damaged"),
        (lambda folder: _set(folder, "format", 99), "has format 99; this version reads 1"),
        (lambda folder: _set(folder, "head", "forest"), "is damaged"),
    ],
)
def test_damaged_models_are_refused(change, message, model_folder, tmp_path):
    GalaxyModel.load(model_folder).save(tmp_path / "model")
    change(tmp_path / "model")
    with pytest.raises(ModelError, match=message):
        GalaxyModel.load(tmp_path / "model")
    with pytest.raises(InputNotFoundError, match="is not a model"):
        GalaxyModel.load(tmp_path)


def _set(folder, key, value):
    config = json.loads((folder / "config.json").read_text())
    config[key] = value
    (folder / "config.json").write_text(json.dumps(config))


def test_features_do_not_depend_on_the_batch():
    survey = SyntheticSurvey(size=16, count=3)
    encoder = FrozenEncoder.random("resnet18", image_size=16).module
    one = features_of(encoder, SyntheticSurvey(size=16, count=1))
    assert features_of(encoder, survey)[:1] == pytest.approx(one, abs=1e-5)


def test_a_run_asks_how_well_neighbours_foretell_votes(tmp_path):
    from stellarfm.pretraining.callbacks.probe import Probe
    from stellarfm.pretraining.recipe import Recipe
    from stellarfm.pretraining.training import pretrain

    probe = VoteProbe(SyntheticSurvey(size=16, count=30, labelled=0.8, first=1000), count=30)
    recipe = Recipe(
        steps=2, batch_size=8, size=16, workers=0, torch_threads=1, log_steps=1, method={"hidden": 8, "projection": 8}
    )
    pretrain(
        output=tmp_path / "run",
        encoder="dinov2-vit-tiny8",
        dataset="galaxyzoo-synthetic",
        method="byol-hybrid",
        recipe=recipe,
        probe=Probe(ask=probe, every=1, about=probe.about),
        progress=False,
    )
    lines = (tmp_path / "run" / "probe.csv").read_text().splitlines()
    assert lines[0] == "step,images,gain,error"
    assert len(lines) == 4


def test_linear_head_of_standardised_features():
    schema = Schema.load("rings")
    x = np.random.default_rng(0).normal(5, 3, (200, 2))
    votes = np.stack([x[:, 0] > 5, x[:, 0] <= 5], axis=1).astype(float)
    found = LinearHead.fit(x, votes, schema, penalty=1e-3).predict(x)
    assert ((found[:, 0] > found[:, 1]) == (x[:, 0] > 5)).mean() > 0.97
