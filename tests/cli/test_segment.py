import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from stellarfm.cli.main import main


@pytest.fixture
def field_file(field_with_stars, tmp_path):
    maps, _ = field_with_stars()
    maps.write(tmp_path / "field.fits")
    return tmp_path / "field.fits"


def segment(*arguments):
    return main(["segment", *map(str, arguments)])


def test_a_field(field_file, model_directory, tmp_path, capsys):
    output = tmp_path / "segments.fits"
    assert segment(field_file, "--segments", 3, "--model", model_directory, "--output", output) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert f"wrote {output}: 3 segments on 100 % of the pixels" in err
    with fits.open(output, checksum=True) as hdus, fits.open(field_file) as given:
        assert hdus[0].data.shape == given["COLUMN"].data.shape
        assert set(np.unique(hdus[0].data)) == {1, 2, 3}
        assert WCS(hdus[0].header).wcs.compare(WCS(given["COLUMN"].header).wcs, tolerance=1e-12)
        provenance = dict(hdus["PROVENANCE"].data.tolist())
        assert provenance["input_1"] == "field.fits"
        assert len(provenance["input_1_sha256"]) == 64


def test_a_map_set(cloud, model_directory, tmp_path):
    cloud("three", n_stars=4).write(tmp_path / "maps.h5")
    output = tmp_path / "segments.fits"
    assert segment(tmp_path / "maps.h5", "--model", model_directory, "--output", output, "--quiet") == 0
    assert fits.getdata(output).shape == (12, 32, 32)


def test_two_runs_give_the_same_file(field_file, model_directory, tmp_path):
    outputs = [tmp_path / name / "segments.fits" for name in ("one", "other")]
    for output in outputs:
        assert segment(field_file, "--model", model_directory, "--output", output, "--quiet") == 0
    assert outputs[0].read_bytes() == outputs[1].read_bytes()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gone.fits"], "gone.fits: no such file"),
        (["{field}", "--segments", "1"], "expected 2 or more"),
        (["{field}", "--velocity", "{field}"], "expected one file or three maps"),
        ([], "no field given"),
    ],
)
def test_faults_of_the_input(field_file, model_directory, tmp_path, capsys, arguments, message):
    filled = [argument.format(field=field_file) for argument in arguments]
    assert segment(*filled, "--model", model_directory, "--output", tmp_path / "new" / "segments.fits") == 1
    err = capsys.readouterr().err
    assert message in err
    assert "Traceback" not in err
    assert not (tmp_path / "new").exists()


def test_existing_output(field_file, model_directory, tmp_path, capsys):
    (tmp_path / "segments.fits").write_text("precious")
    assert segment(field_file, "--model", model_directory, "--output", tmp_path / "segments.fits") == 1
    assert "--overwrite" in capsys.readouterr().err
    assert (tmp_path / "segments.fits").read_text() == "precious"


@pytest.mark.shared_data
@pytest.mark.parametrize("name", ["cloud-c_z.fits"])
def test_a_real_cloud_is_divided_along_its_filaments(shared_data, model_directory, tmp_path, name):
    output = tmp_path / "segments.fits"
    assert segment(shared_data / "fields" / name, "--model", model_directory, "--output", output) == 0
    with fits.open(output) as hdus:
        means = hdus["SEGMENTS"].data["column_density"]
        assert hdus[0].data.shape == (512, 512)
    assert means[-1] > 1.5 * means[0]
