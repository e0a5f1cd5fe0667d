import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.table import QTable

from stellarfm.cli.main import main
from stellarfm.inference import MassFlag
from stellarfm.maps import GasMaps


@pytest.fixture
def field_file(field_with_stars, tmp_path):
    """A field with its stars in one file."""
    maps, stars = field_with_stars()
    path = tmp_path / "field.fits"
    maps.write(path)
    with fits.open(path, mode="append") as hdus:
        hdu = fits.table_to_hdu(stars)
        hdu.name = "STARS"
        hdus.append(hdu)
    return path


def estimate(*arguments):
    return main(["estimate", *map(str, arguments)])


def test_a_field_with_its_own_stars(field_file, model_directory, tmp_path, capsys):
    output = tmp_path / "masses.fits"
    assert estimate(field_file, "--model", model_directory, "--output", output) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert f"wrote {output}: sink masses of 3 of 3 stars" in err
    table = QTable.read(output)
    assert table["star"].tolist() == [1, 2, 3]
    assert table["mass"].unit == u.solMass
    assert np.all(np.diff(table["mass"]) > 0)
    assert table.meta["INPUT1"] == "field.fits"


def test_a_field_is_opened_at_most_three_times(field_file, model_directory, tmp_path, monkeypatch):
    opened = []
    from_file = fits.HDUList.fromfile.__func__

    def fromfile(cls, fileobj, *args, **kwargs):
        opened.append(str(getattr(fileobj, "name", fileobj)))
        return from_file(cls, fileobj, *args, **kwargs)

    monkeypatch.setattr(fits.HDUList, "fromfile", classmethod(fromfile))
    assert estimate(field_file, "--model", model_directory, "--output", tmp_path / "masses.fits") == 0
    assert 1 <= sum(field_file.name in name for name in opened) <= 3


def test_two_runs_give_the_same_file(field_file, model_directory, tmp_path):
    outputs = [tmp_path / name / "masses.fits" for name in ("one", "other")]
    for output in outputs:
        assert estimate(field_file, "--model", model_directory, "--output", output, "--quiet") == 0
    assert fits.FITSDiff(*outputs).identical
    assert outputs[0].read_bytes() == outputs[1].read_bytes()


def test_sources_from_a_table(field_file, field_with_stars, model_directory, tmp_path):
    _, stars = field_with_stars()
    stars["star", "ra", "dec"][:2].write(tmp_path / "sources.ecsv")
    output = tmp_path / "masses.ecsv"
    sources = ["--sources", tmp_path / "sources.ecsv"]
    assert estimate(field_file, "--model", model_directory, *sources, "--output", output) == 0
    table = QTable.read(output)
    assert len(table) == 2
    assert table.meta["input_2"] == "sources.ecsv"


def test_a_field_without_stars_uses_peaks_and_says_so(field_with_stars, model_directory, tmp_path, capsys):
    field_with_stars()[0].write(tmp_path / "field.fits")
    output = tmp_path / "masses.fits"
    assert estimate(tmp_path / "field.fits", "--model", model_directory, "--output", output) == 0
    assert "peaks of the column density" in capsys.readouterr().err


def test_a_map_set(cloud, model_directory, tmp_path, capsys):
    cloud("one", seed=1).write(tmp_path / "maps.h5")
    output = tmp_path / "masses.ecsv"
    assert estimate(tmp_path / "maps.h5", "--model", model_directory, "--output", output) == 0
    assert "remembered, not estimated" in capsys.readouterr().err
    assert np.all(QTable.read(output)["flags"] & MassFlag.IN_REFERENCE)


def without_wcs(path):
    with fits.open(path, mode="update") as hdus:
        for hdu in hdus[1:4]:
            for key in list(hdu.header):
                if key.startswith(("CTYPE", "CRVAL", "CRPIX", "CDELT", "CUNIT", "PC1_", "PC2_", "WCSAXES")):
                    del hdu.header[key]


def with_wrong_unit(path):
    with fits.open(path, mode="update") as hdus:
        hdus["VELOCITY"].header["BUNIT"] = "K"


def all_missing(path):
    with fits.open(path, mode="update") as hdus:
        hdus["COLUMN"].data[:] = np.nan


def one_dimensional(path):
    with fits.open(path, mode="update") as hdus:
        for hdu in hdus[1:4]:
            hdu.data = hdu.data[0]


def truncated(path):
    path.write_bytes(path.read_bytes()[:9000])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (without_wcs, "WCS"),
        (with_wrong_unit, "unit"),
        (all_missing, "no pixel"),
        (one_dimensional, "expected"),
        (truncated, "field.fits"),
    ],
)
def test_fields_that_cannot_be_used(field_file, model_directory, tmp_path, capsys, spoil, message):
    spoil(field_file)
    check_refusal([field_file, "--model", model_directory], message, tmp_path, capsys)


def check_refusal(arguments, message, tmp_path, capsys, name="new/masses.fits"):
    before = sorted(tmp_path.rglob("*"))
    assert estimate(*arguments, "--output", tmp_path / name) == 1
    out, err = capsys.readouterr()
    assert out == ""
    errors = [line for line in err.splitlines() if line.startswith("stellarfm: error:")]
    assert len(errors) == 1
    assert message in errors[0]
    assert "Traceback" not in err
    assert sorted(tmp_path.rglob("*")) == before


def test_missing_file(model_directory, tmp_path, capsys):
    check_refusal([tmp_path / "gone.fits", "--model", model_directory], "gone.fits: no such file", tmp_path, capsys)


def test_missing_sources(field_file, model_directory, tmp_path, capsys):
    arguments = [field_file, "--sources", tmp_path / "gone.csv", "--model", model_directory]
    check_refusal(arguments, "gone.csv: no such file", tmp_path, capsys)


def test_unknown_distance(field_file, model_directory, tmp_path, capsys):
    with fits.open(field_file, mode="update") as hdus:
        del hdus[0].header["DISTANCE"]
    check_refusal([field_file, "--model", model_directory], "the distance is not known", tmp_path, capsys)


def test_missing_model(field_file, tmp_path, capsys):
    check_refusal([field_file, "--model", tmp_path / "gone"], "no such model directory", tmp_path, capsys)


def test_tampered_weights(field_file, model_directory, tmp_path, capsys):
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in model_directory.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    with (copy / "encoder.safetensors").open("ab") as file:
        file.write(b"\0")
    check_refusal([field_file, "--model", copy], "encoder.safetensors was altered", tmp_path, capsys)


def test_unknown_ending(field_file, model_directory, tmp_path, capsys):
    check_refusal([field_file, "--model", model_directory], "choose from .fits", tmp_path, capsys, name="masses.txt")


def test_output_below_a_file(field_file, model_directory, tmp_path, capsys):
    name = "field.fits/masses.fits"
    check_refusal([field_file, "--model", model_directory], "is not a directory", tmp_path, capsys, name=name)


def test_existing_output(field_file, model_directory, tmp_path, capsys):
    (tmp_path / "masses.fits").write_text("precious")
    check_refusal([field_file, "--model", model_directory], "--overwrite", tmp_path, capsys, name="masses.fits")
    assert (tmp_path / "masses.fits").read_text() == "precious"
    arguments = [field_file, "--model", model_directory, "--output", tmp_path / "masses.fits", "--overwrite"]
    assert estimate(*arguments) == 0


def test_windows_of_another_size(cloud, model_directory, tmp_path, capsys):
    cloud(side=24).write(tmp_path / "maps.h5")
    check_refusal([tmp_path / "maps.h5", "--model", model_directory], "expects (32, 32)", tmp_path, capsys)


@pytest.mark.shared_data
def test_a_real_cloud_by_a_model_of_another(shared_data, tiny_encoder, tmp_path):
    clouds, field = shared_data / "clouds", shared_data / "fields" / "cloud-c_z.fits"
    model, output = tmp_path / "model", tmp_path / "masses.fits"
    assert main(["fit", str(clouds / "cloud-a.h5"), "--encoder", tiny_encoder, "--output", str(model)]) == 0
    assert estimate(field, "--model", model, "--output", output) == 0
    table = QTable.read(output)
    assert len(table) == 28
    assert np.isfinite(table["mass"]).all()
    assert (table["flags"] & MassFlag.UNBOUNDED_INTERVAL).all()


def test_depth_prior_quantiles_and_samples(field_file, model_directory, tmp_path, capsys):
    output = tmp_path / "masses.fits"
    options = ["--depth", "cube", "--prior", "kroupa", "--quantiles", "0.05", "0.95", "--samples", "7"]
    assert estimate(field_file, "--model", model_directory, *options, "--output", output) == 0
    assert "depth cube; prior kroupa" in capsys.readouterr().err
    table = QTable.read(output)
    assert (table.meta["DEPTHCLS"], table.meta["PRIOR"]) == ("cube", "kroupa")
    assert table["mass_samples"].shape == (3, 7)
    assert np.all(table["mass_quantile_05"] < table["mass_quantile_95"])


def test_a_table_as_prior(field_file, model_directory, tmp_path):
    QTable({"mass": [0.1, 1, 10] * u.solMass, "pdf": [1.0, 2.0, 1.0]}).write(tmp_path / "prior.ecsv")
    output = tmp_path / "masses.ecsv"
    prior = ["--prior", tmp_path / "prior.ecsv"]
    assert estimate(field_file, "--model", model_directory, *prior, "--output", output) == 0
    assert QTable.read(output).meta["prior"] == "prior.ecsv"


def test_masses_of_unfamiliar_windows_are_refused_on_request(field_with_stars, model_directory, tmp_path):
    maps, stars = field_with_stars()
    GasMaps(**{**vars(maps), "column_density": 1e3 * maps.column_density}).write(tmp_path / "field.fits")
    stars["star", "ra", "dec"].write(tmp_path / "stars.ecsv")
    common = [tmp_path / "field.fits", "--sources", tmp_path / "stars.ecsv", "--model", model_directory]
    for name, options in {"kept": [], "refused": ["--refuse"]}.items():
        assert estimate(*common, *options, "--output", tmp_path / f"{name}.ecsv") == 0
    kept, refused = (QTable.read(tmp_path / f"{name}.ecsv") for name in ("kept", "refused"))
    assert np.all(np.isfinite(kept["mass"]))
    assert np.all((kept["flags"] & MassFlag.UNUSUAL_LEVEL) > 0)
    assert np.all(np.isnan(refused["mass"]))
    assert np.all(np.isnan(refused["mass_upper_95"]))
    np.testing.assert_array_equal(kept["flags"], refused["flags"])


def test_analogues_in_the_same_file_or_in_another(field_file, model_directory, tmp_path, capsys):
    common = [field_file, "--model", model_directory, "--quiet"]
    assert estimate(*common, "--output", tmp_path / "both.fits", "--analogues") == 0
    assert estimate(*common, "--output", tmp_path / "masses.ecsv", "--analogues", tmp_path / "analogues.ecsv") == 0
    one = QTable.read(tmp_path / "both.fits", hdu="ANALOGUES")
    other = QTable.read(tmp_path / "analogues.ecsv")
    assert set(one["source"]) == {0, 1, 2}
    np.testing.assert_array_equal(one["mass"], other["mass"])
    assert len(QTable.read(tmp_path / "both.fits", hdu="MASSES")) == 3
    assert estimate(*common, "--output", tmp_path / "other.ecsv", "--analogues") == 1
    assert "cannot hold a second table" in capsys.readouterr().err


def test_a_model_and_a_preset_exclude_each_other(field_file, model_directory, tmp_path, capsys):
    with pytest.raises(SystemExit):
        estimate(field_file, "--model", model_directory, "--preset", "hirashima2025", "--output", tmp_path / "m.ecsv")
    assert "not allowed with" in capsys.readouterr().err


def test_a_dry_run_prints_the_decisions_and_writes_nothing(field_file, tmp_path, capsys, monkeypatch):
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    assert estimate(field_file, "--distance", "150 +/- 5 pc", "--dry-run") == 0
    printed = capsys.readouterr().out
    assert "distance=150 +/- 5 pc" in printed
    assert "3 sources; nothing was written" in printed
    assert not list((tmp_path / "empty").iterdir())


def test_an_output_is_needed_otherwise(field_file, capsys):
    assert estimate(field_file) == 1
    assert "expected --output FILE, or --dry-run" in capsys.readouterr().err


def test_the_output_records_how_the_field_was_read(field_file, model_directory, tmp_path):
    output = tmp_path / "masses.ecsv"
    assert estimate(field_file, "--distance", "150 pc", "--model", model_directory, "--output", output) == 0
    meta = QTable.read(output).meta
    assert meta["distance"] == "150 pc"
    assert meta["column_species"] == "H"
    assert "--distance" in meta["command"]
    assert "masses.ecsv" not in meta["command"]
    assert '"distance=150 pc"' in meta["decisions"]


def test_peaks_are_candidates(field_with_stars, model_directory, tmp_path, capsys):
    field_with_stars()[0].write(tmp_path / "field.fits")
    output = tmp_path / "masses.ecsv"
    assert estimate(tmp_path / "field.fits", "--model", model_directory, "--output", output) == 0
    table = QTable.read(output)
    assert set(table["source_kind"]) == {"candidate"}
    assert table.meta["sources"].startswith("candidates")
    assert "candidates (column density peaks, not known to be stars)" in capsys.readouterr().err
