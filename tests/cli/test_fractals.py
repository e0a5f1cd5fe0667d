import json
import re

import h5py
import numpy as np
import pytest
from PIL import Image

from stellarfm.cli.main import main
from stellarfm.contracts import PretrainingDataset
from stellarfm.fractals import FlameDataset, Genome, IFSDataset, sample_genome
from stellarfm.fractals.export import GenerationTask
from stellarfm.fractals.export.image_encoding import gzip_chunk


def fractals(*options):
    return main(["fractals", "--size", "16", *map(str, options)])


def test_png_directory(tmp_path, capsys):
    assert fractals("--count", 3, "--seed", 5, "--output", tmp_path / "images") == 0
    names = sorted(path.name for path in (tmp_path / "images").iterdir())
    assert names == [".stellarfm.json", "000000.png", "000001.png", "000002.png", "dataset.json", "genomes.jsonl"]
    dataset = FlameDataset(size=16, seed=5)
    with Image.open(tmp_path / "images" / "000002.png") as picture:
        np.testing.assert_array_equal(np.asarray(picture).transpose(2, 0, 1), np.rint(dataset.image(2) * 255))
    lines = (tmp_path / "images" / "genomes.jsonl").read_text().splitlines()
    assert Genome.from_json(lines[2]) == dataset.render(2).genome
    assert json.loads((tmp_path / "images" / "dataset.json").read_text())["seed"] == 5
    captured = capsys.readouterr()
    assert re.search(r"3 of \d+ candidates accepted \(\d+%\), \d+\.\d\d renders per image", captured.err)
    assert captured.out == ""


def test_hdf5_file(tmp_path):
    assert fractals("--count", 2, "--dataset", "ifs", "--channels", 1, "--output", tmp_path / "images.h5") == 0
    with h5py.File(tmp_path / "images.h5") as file:
        assert file["images"].shape == (2, 1, 16, 16)
        assert file["images"].dtype == np.uint8
        assert file.attrs["dataset"] == "ifs"
        assert Genome.from_json(file["genomes"].asstr()[1])
        expected = IFSDataset(size=16, channels=1, count=2).image(1)
        np.testing.assert_array_equal(file["images"][1], np.rint(expected * 255))


def test_shards_of_bounded_size(tmp_path):
    assert fractals("--count", 5, "--shard-size", 2, "--output", tmp_path / "shards") == 0
    names = sorted(path.name for path in (tmp_path / "shards").iterdir())
    assert names == [".stellarfm.json", "00000.h5", "00001.h5", "00002.h5", "dataset.json"]
    dataset, found = FlameDataset(size=16), []
    for name in names[1:-1]:
        with h5py.File(tmp_path / "shards" / name) as file:
            assert file.attrs["first"] == len(found)
            assert len(file["images"]) == len(file["genomes"]) == min(2, 5 - len(found))
            found.extend(file["images"][:])
    np.testing.assert_array_equal(found, [np.rint(dataset.image(index) * 255) for index in range(5)])


def test_images_do_not_depend_on_the_number_of_processes(tmp_path):
    for workers in (1, 2):
        assert fractals("--count", 11, "--workers", workers, "--output", tmp_path / f"{workers}.h5") == 0
    with h5py.File(tmp_path / "1.h5") as one, h5py.File(tmp_path / "2.h5") as two:
        np.testing.assert_array_equal(one["images"], two["images"])
        np.testing.assert_array_equal(one["genomes"], two["genomes"])


def test_a_worker_that_fails_leaves_one_line_and_no_output(tmp_path, capsys):
    options = ("--count", 20, "--workers", 2, "--threshold", 1.0, "--points", 256)
    assert fractals(*options, "--output", tmp_path / "images") == 1
    error = capsys.readouterr().err
    assert "lower the threshold" in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_genomes_that_were_written_are_rendered_again(tmp_path):
    assert fractals("--count", 3, "--output", tmp_path / "images") == 0
    assert fractals("--genome", tmp_path / "images" / "genomes.jsonl", "--output", tmp_path / "again") == 0
    for name in ("000000.png", "000002.png"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "images" / name).read_bytes()


def test_one_genome_makes_one_picture(tmp_path):
    genome = tmp_path / "genome.json"
    genome.write_text(sample_genome("ifs", seed=1, index=2).to_json())
    assert fractals("--genome", genome, "--window", "box", "--channels", 1, "--output", tmp_path / "one.png") == 0
    with Image.open(tmp_path / "one.png") as picture:
        assert picture.size == (16, 16)
        assert np.asarray(picture).std() > 10


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("genome.json", b"{}", "genome.json: JSON is not a genome"),
        ("genomes.jsonl", b"\n{", "genomes.jsonl, line 2: genome is not valid JSON"),
        ("genomes.jsonl", b"", "genomes is empty"),
        ("genome.json", b"\xff\xfe", "not a text file"),
        ("genome.json", None, "no such file"),
    ],
)
def test_files_without_genomes(tmp_path, capsys, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert fractals("--genome", tmp_path / name, "--output", tmp_path / "images") == 1
    assert message in capsys.readouterr().err


def test_values_beyond_0_and_1_are_kept_within_the_limits_of_the_dataset():
    encoded = GenerationTask(Balanced(), gzip_chunk, shown=1)(0)
    np.testing.assert_array_equal(encoded.pixels, np.array([[[0, 128], [191, 255]]]))


class Balanced(PretrainingDataset):
    limits = (-1.0, 1.0)

    def __len__(self):
        return 1

    def image(self, index):
        return np.array([[[-1.0, 0.0], [0.5, 1.0]]], dtype=np.float32)


def test_genomes_only(tmp_path):
    assert fractals("--count", 2, "--genomes-only", "--output", tmp_path / "genomes.jsonl") == 0
    assert len([Genome.from_json(line) for line in (tmp_path / "genomes.jsonl").read_text().splitlines()]) == 2


def test_a_preview_may_come_alone(tmp_path):
    assert fractals("--count", 3, "--preview", tmp_path / "grid.png") == 0
    assert [path.name for path in tmp_path.iterdir()] == ["grid.png"]


def test_without_any_output_nothing_is_done(capsys):
    assert fractals("--count", 3) == 1
    assert "add --output" in capsys.readouterr().err


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
        (("--count", 1, "--threshold", 1.0, "--points", 256), "lower the threshold"),
        (("--count", 1, "--gamma", 0), "gamma is 0.0"),
        (("--count", 1, "--workers", 0), "workers is 0"),
        (("--count", 1, "--shard-size", 0), "shards of at least 1"),
        (("--count", 1, "--device", "abacus"), "device abacus: torch cannot use it here"),
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
    [
        ("images.jpg", (), "suffix .jpg does not fit 2 images"),
        ("images.png", (), "suffix .png does not fit 2 images"),
        ("images.jsonl", (), ".jsonl with "),
        ("genomes", ("--genomes-only",), "ending in .jsonl"),
        ("images.h5", ("--shard-size", 10), "use a name without a suffix"),
    ],
)
def test_unknown_endings(tmp_path, capsys, name, extra, message):
    assert fractals("--count", 2, *extra, "--output", tmp_path / name) == 1
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_an_existing_output_is_kept_unless_overwriting_is_asked_for(tmp_path, capsys):
    target = tmp_path / "images.h5"
    target.write_text("precious")
    assert fractals("--count", 1, "--output", target) == 1
    assert target.read_text() == "precious"
    assert fractals("--count", 1, "--output", target, "--overwrite", "--quiet") == 0
    assert h5py.is_hdf5(target)
