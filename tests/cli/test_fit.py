import json

import pytest
from astropy import units as u

from stellarfm.cli.main import main
from stellarfm.inference import StellarModel
from stellarfm.maps import MapSet


@pytest.fixture
def map_files(cloud, tmp_path):
    paths = [tmp_path / "one.h5", tmp_path / "two.h5"]
    for number, path in enumerate(paths):
        cloud(path.stem, n_stars=6, seed=number).write(path)
    return paths


def test_makes_a_model_and_says_what_it_is_worth(map_files, tiny_encoder, tmp_path, capsys):
    output = tmp_path / "model"
    options = ["--readout", "class", "zooms", "--symmetries", "--head", "knn", "--head-option", "n-neighbors=3"]
    options += ["--head-option", "n_components=7", "--head-option", "vote_by=star"]
    assert main(["fit", *map(str, map_files), "--encoder", tiny_encoder, "--output", str(output), *options]) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert "36 windows of 12 stars; held out by star: cube: R2" in err
    model = StellarModel.load(output)
    assert model.embedder.readout.pooling == ("class", "zooms")
    assert model.embedder.readout.symmetries
    assert repr(model.head.head) == "KNNHead(n_components=7, n_neighbors=3, vote_by='star')"


def test_without_options_it_reads_as_the_bundled_model_does(map_files, tiny_encoder, tmp_path):
    """From the command line and from Python."""
    assert main(["fit", str(map_files[0]), "--encoder", tiny_encoder, "--output", str(tmp_path / "m"), "--quiet"]) == 0
    bundled = StellarModel.load()
    for model in (
        StellarModel.load(tmp_path / "m"),
        StellarModel.fit(MapSet.read(map_files[0]), encoder=tiny_encoder),
    ):
        assert model.embedder.readout == bundled.embedder.readout
        assert model.head.options() == bundled.head.options()


def test_several_depths_and_no_encoder(cloud, tmp_path, capsys):
    near, deep = cloud("one", n_stars=6), cloud("one", n_stars=6)
    near.write(tmp_path / "near.h5")
    MapSet(**{**vars(deep), "depth": 4 * u.pc}).write(tmp_path / "deep.h5")
    maps = [str(tmp_path / name) for name in ("near.h5", "deep.h5")]
    assert main(["fit", *maps, "--encoder", "none", "--output", str(tmp_path / "model")]) == 0
    assert "36 windows of 6 stars; held out by star: cube: R2" in (err := capsys.readouterr().err)
    assert "; field: R2" in err
    assert StellarModel.load(tmp_path / "model").head.reference.depth_classes == ["cube", "field"]


def test_a_preset_is_the_published_method(map_files, tiny_encoder, tmp_path):
    output = tmp_path / "model"
    preset = ["--preset", "hirashima2025", "--encoder", tiny_encoder, "--quiet"]
    assert main(["fit", *map(str, map_files), *preset, "--output", str(output)]) == 0
    model = StellarModel.load(output)
    assert model.embedder.readout.pooling == ("class",)
    assert repr(model.head.head) == "KNNHead()"


def test_select_chooses_and_is_stored(map_files, tmp_path, capsys):
    output = tmp_path / "model"
    assert main(["fit", *map(str, map_files), "--select", "--encoder", "none", "--output", str(output)]) == 0
    selection = StellarModel.load(output).selection
    assert capsys.readouterr().err.splitlines()[0] == selection.summary()
    assert selection.table["head"].tolist() == ["forest", "svr", "knn"]
    assert selection.folds["held_out"].tolist() == ["one", "two"]


def test_same_seed_same_model(map_files, tiny_encoder, tmp_path):
    for name in ("a", "b"):
        assert (
            main(["fit", str(map_files[0]), "--encoder", tiny_encoder, "--output", str(tmp_path / name), "--quiet"])
            == 0
        )
    configs = [json.loads((tmp_path / name / "config.json").read_text()) for name in ("a", "b")]
    assert configs[0] == configs[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.h5", "--encoder", "resnet18"], "missing.h5: no such file"),
        (["{one}", "--encoder", "resnet81"], "unknown encoder 'resnet81'; did you mean resnet18"),
        (
            ["{one}", "--encoder", "gone/encoder.safetensors"],
            "no such file; expected the output of `stellarfm pretrain`",
        ),
        (["{one}", "--encoder", "resnet18", "--calibration-by", "simulation"], "by simulation needs two or more"),
        (["{one}", "{star}", "--encoder", "resnet18"], "differ in label kind"),
        (["{one}", "--head", "oracle"], "unknown head 'oracle'; did you mean forest"),
        (["{one}", "--select", "--head", "svr", "--readout", "class"], "leave out --readout, --head"),
        (["{one}", "--select", "--preset", "hirashima2025"], "leave out --preset"),
        (["{one}", "--head-option", "trees"], "--head-option 'trees'; expected KEY=VALUE"),
        (["{one}", "--head-option", "trees=3"], "'forest' has no option 'trees'; its options are n_trees"),
        (["{one}", "--encoder", "none", "--readout", "class"], "readout class needs an encoder"),
    ],
)
def test_faults_of_the_input(map_files, cloud, tmp_path, capsys, arguments, message):
    star = cloud("star", n_stars=3)
    MapSet(**{**vars(star), "label_kind": "star"}).write(tmp_path / "star.h5")
    filled = [argument.format(one=map_files[0], star=tmp_path / "star.h5") for argument in arguments]
    output = tmp_path / "model"
    assert main(["fit", *filled, "--output", str(output)]) == 1
    err = capsys.readouterr().err
    assert message in err
    assert len([line for line in err.splitlines() if "error" in line]) == 1
    assert not output.exists()
    assert not list(tmp_path.glob(".partial*"))


def test_existing_models_are_kept(map_files, tiny_encoder, tmp_path, capsys):
    (tmp_path / "model").mkdir()
    assert main(["fit", str(map_files[0]), "--encoder", tiny_encoder, "--output", str(tmp_path / "model")]) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert not list((tmp_path / "model").iterdir())
