import pytest
from astropy.table import QTable

from stellarfm.cli.main import main


@pytest.fixture
def files(cloud, tmp_path):
    paths = []
    for seed, name in enumerate(("one", "two")):
        paths.append(str(tmp_path / f"{name}.h5"))
        cloud(name, n_stars=8, n_views=2, seed=seed).write(paths[-1])
    return paths


def test_benchmark_writes_tables_and_figures(files, model_directory, tmp_path, capsys):
    output = tmp_path / "scores"
    assert main(["benchmark", *files, "--model", str(model_directory), "--output", str(output)]) == 0
    assert {path.name for path in output.iterdir()} == {
        ".stellarfm.json",
        "scores.md",
        "scores.ecsv",
        "differences.ecsv",
        "predictions.fits",
        "by_star.png",
        "by_simulation.png",
    }
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "random weights" in captured.err
    scores = QTable.read(output / "scores.ecsv")
    assert len(scores) == 10
    assert set(scores["n_windows"]) == {32}
    assert len(QTable.read(output / "predictions.fits")) == 10 * 32


def test_quick_and_quiet(files, tiny_encoder, tmp_path, capsys):
    assert main(["benchmark", *files, "--encoder", tiny_encoder, "--quick", "-q", "-o", str(tmp_path / "s")]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["absent.h5"], "absent.h5: no such file"),
        (["ONE"], "single group"),
        (["ONE", "TWO", "--encoder", "resnet19"], "did you mean resnet18"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(files, options, message, tmp_path, capsys):
    named = dict(zip(("ONE", "TWO"), files, strict=True))
    options = [named.get(option, option) for option in options]
    encoder = [] if "--encoder" in options else ["--encoder", "resnet18"]
    assert main(["benchmark", *options, *encoder, "-q", "--output", str(tmp_path / "scores")]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "scores").exists()


def test_an_existing_output_is_kept(files, tmp_path, capsys):
    assert main(["benchmark", *files, "--encoder", "resnet18", "--output", str(tmp_path)]) == 1
    assert "pass --overwrite" in capsys.readouterr().err
