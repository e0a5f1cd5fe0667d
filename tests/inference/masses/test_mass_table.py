import hashlib

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.table import QTable

from stellarfm.exceptions import MapError, OutputExistsError
from stellarfm.inference import write_masses
from stellarfm.inference.masses.mass_table import level_name
from stellarfm.provenance import record_inputs


@pytest.fixture
def masses(fitted_model, field_with_stars):
    maps, stars = field_with_stars()
    table = fitted_model.estimate(maps, sources=stars, levels=(0.68, 0.99))
    table["name"] = ["first", "second", "third"]
    table["axis"] = np.array([0, 1, 2], dtype=np.int8)
    return table


@pytest.mark.parametrize("ending", [".fits", ".ecsv", ".vot", ".xml"])
def test_every_format_gives_the_masses_back(masses, tmp_path, ending):
    path = write_masses(masses, tmp_path / f"masses{ending}")
    back = QTable.read(path, format="votable" if ending == ".xml" else None)
    assert back.colnames == masses.colnames
    for name in ("mass", "mass_lower_68", "mass_upper_68", "mass_upper_99", "ra"):
        assert back[name].unit == masses[name].unit
        np.testing.assert_allclose(back[name].value, masses[name].value)
    assert np.all(np.isinf(back["mass_upper_99"]))
    assert back["flags"].tolist() == masses["flags"].tolist()
    assert back["axis"].tolist() == [0, 1, 2]
    assert back["axis"].dtype.kind == "i"
    assert [str(name) for name in back["name"]] == ["first", "second", "third"]


def test_parquet_holds_the_masses(masses, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    back = parquet.read_table(write_masses(masses, tmp_path / "masses.parquet"))
    assert back.column_names == masses.colnames
    np.testing.assert_array_equal(back["mass"], masses["mass"].value)


@pytest.mark.parametrize("ending", [".fits", ".ecsv", ".vot", ".parquet"])
def test_two_writings_are_equal(masses, tmp_path, ending):
    one, other = (write_masses(masses, tmp_path / name / f"m{ending}") for name in ("one", "other"))
    assert one.read_bytes() == other.read_bytes()


def test_fits_header_tells_where_masses_come_from(masses, tmp_path):
    source = tmp_path / "field.fits"
    source.write_bytes(b"maps")
    record_inputs(masses.meta, [source])
    path = write_masses(masses, tmp_path / "masses.fits")
    with fits.open(path, checksum=True) as hdus:
        header = hdus["MASSES"].header
        assert header["LABELS"] == "sink"
        assert header["LEVELS"] == "0.68 0.99"
        assert header["INPUT1"] == "field.fits"
        assert header["INSHA1"] == hashlib.sha256(b"maps").hexdigest()
        assert '"pooling": ["rings"]' in header["OPTIONS"]
        assert "DATE" not in header
        assert "CHECKSUM" in header
        assert header[f"TUNIT{masses.colnames.index('mass') + 1}"] == "solMass"


def test_fits_does_not_differ_from_itself(masses, tmp_path):
    path = write_masses(masses, tmp_path / "masses.fits")
    assert fits.FITSDiff(path, path).identical


def test_ecsv_keeps_all_meta_data(masses, tmp_path):
    back = QTable.read(write_masses(masses, tmp_path / "masses.ecsv"))
    assert {key: back.meta[key] for key in masses.meta} == dict(masses.meta)


def test_votable_keeps_meta_data_as_info(masses, tmp_path):
    text = write_masses(masses, tmp_path / "masses.vot").read_text()
    assert '<INFO ID="label_kind" name="label_kind" value="sink"/>' in text or 'name="label_kind" value="sink"' in text


def test_date_only_from_the_environment(fitted_model, cloud, monkeypatch):
    assert "date" not in fitted_model.provenance()
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")
    assert fitted_model.provenance()["date"] == "1970-01-01T00:00:00"


def test_true_masses_are_not_passed_off_as_estimates(masses, field_with_stars):
    _, stars = field_with_stars()
    assert not np.allclose(masses["mass"].value, stars["mass"].value, rtol=1e-6)


@pytest.mark.parametrize("name", ["masses.csv", "masses", "masses.fits.gz"])
def test_unknown_endings(masses, tmp_path, name):
    with pytest.raises(MapError, match=r"choose from \.fits"):
        write_masses(masses, tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_existing_tables_are_kept(masses, tmp_path):
    path = write_masses(masses, tmp_path / "masses.ecsv")
    with pytest.raises(OutputExistsError):
        write_masses(masses, path)
    write_masses(masses[:1], path, overwrite=True)
    assert len(QTable.read(path)) == 1


def test_level_names():
    assert [level_name(level) for level in (0.68, 0.95, 0.955, 0.5)] == ["68", "95", "95p5", "50"]


def test_columns_have_units_and_descriptions(masses):
    assert masses["mass"].unit == u.solMass
    for name in ("mass", "log_mass_error", "coverage", "ood", "flags"):
        assert masses[name].info.description
