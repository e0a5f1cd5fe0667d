import json

import h5py
import numpy as np
import pytest
from PIL import Image

from stellarfm.cli.main import main
from stellarfm.fractals import FlameDataset, Genome


def fractals(*options):
    return main(["fractals", "--size", "16", *map(str, options)])


def test_png_directory(tmp_path, capsys):
    assert fractals("--count", 3, "--seed", 5, "--output", tmp_path / "images") == 0
    names = sorted(path.name for path in (tmp_path / "images").iterdir())
    assert names == ["000000.png", "000001.png", "000002.png", "dataset.json", "genomes.jsonl"]
    dataset = FlameDataset(size=16, seed=5)
    with Image.open(tmp_path / "images" / "000002.png") as picture:
        np.testing.assert_array_equal(np.asarray(picture).transpose(2, 0, 1), np.rint(dataset.image(2) * 255))
    lines = (tmp_path / "images" / "genomes.jsonl").read_text().splitlines()
    assert Genome.from_json(lines[2]) == dataset.render(2).genome
    assert json.loads((tmp_path / "images" / "dataset.json").read_text())["seed"] == 5
    captured = capsys.readouterr()
    assert "3 of " in captured.err
    assert captured.out == ""


def test_hdf5_file(tmp_path):
    assert fractals("--count", 2, "--dataset", "ifs", "--channels", 1, "--output", tmp_path / "images.h5") == 0
    with h5py.File(tmp_path / "images.h5") as file:
        assert file["images"].shape == (2, 1, 16, 16)
        assert file["images"].dtype == np.uint8
        assert file.attrs["dataset"] == "ifs"
        assert Genome.from_json(file["genomes"].asstr()[1])


def test_genomes_only(tmp_path):
    assert fractals("--count", 2, "--genomes-only", "--output", tmp_path / "genomes.jsonl") == 0
    assert len([Genome.from_json(line) for line in (tmp_path / "genomes.jsonl").read_text().splitlines()]) == 2


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (2, "RGB"), (3, "RGB")])
def test_preview(tmp_path, channels, mode):
    preview = tmp_path / "grid.png"
    options = ("--channels", channels, "--output", tmp_path / "images.h5", "--preview", preview)
    assert fractals("--count", 10, *options) == 0
    with Image.open(preview) as sheet:
        assert sheet.size == (8 * 18, 2 * 18)
        assert sheet.mode == mode


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--count", 0), "--count is 0"),
        (("--count", 1, "--size", 1), "size is 1"),
        (("--count", 1, "--points", 0), "points is 0"),
        (("--count", 1, "--seed", -3), "seed is -3"),
        (("--count", 1, "--threshold", 1.0, "--points", 100), "lower the threshold"),
        (("--count", 1, "--dataset", "flmes"), "did you mean flames"),
    ],
)
def test_errors_leave_one_line_and_no_output(tmp_path, capsys, options, message):
    assert fractals(*options, "--output", tmp_path / "images") == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "extra", "message"),
    [("images.jpg", (), "unknown ending .jpg"), ("genomes", ("--genomes-only",), "ends in .jsonl")],
)
def test_unknown_endings(tmp_path, capsys, name, extra, message):
    assert fractals("--count", 1, *extra, "--output", tmp_path / name) == 1
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_an_existing_output_is_kept_unless_overwriting_is_asked_for(tmp_path, capsys):
    target = tmp_path / "images.h5"
    target.write_text("precious")
    assert fractals("--count", 1, "--output", target) == 1
    assert target.read_text() == "precious"
    assert fractals("--count", 1, "--output", target, "--overwrite", "--quiet") == 0
    assert h5py.is_hdf5(target)
