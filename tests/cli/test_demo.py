import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import QTable

import stellarfm.data
import stellarfm.plotting
from stellarfm.cli.main import main
from stellarfm.data import EXAMPLE_FIELD
from stellarfm.maps import GasMaps


@pytest.fixture
def small_field(field_with_stars, tmp_path, monkeypatch):
    """A small field in place of the bundled one."""
    path = tmp_path / "small.fits"
    maps, stars = field_with_stars()
    maps.write(path)
    table = fits.table_to_hdu(stars)
    table.name = "STARS"
    fits.append(path, table.data, table.header)
    monkeypatch.setattr(stellarfm.data, "EXAMPLE_FIELD", path)
    return path


def demo(model, output, *options):
    return main(["demo", "--model", str(model), "--output", str(output), *options])


def test_demo_prints_masses_beside_the_truth_and_writes_all(small_field, model_directory, tmp_path, capsys):
    assert demo(model_directory, tmp_path / "demo") == 0
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert lines[0] == "masses in solar masses"
    assert lines[1].split()[:3] == ["star", "true", "median"]
    assert [line.split()[0] for line in lines[2:5]] == ["3", "2", "1"]
    assert [line.split()[1] for line in lines[2:5]] == ["6.00", "1.00", "0.20"]
    assert {path.name for path in (tmp_path / "demo").iterdir()} == {
        ".stellarfm.json",
        "masses.fits",
        "segments.fits",
        "overview.png",
    }
    masses = QTable.read(tmp_path / "demo" / "masses.fits", hdu="MASSES")
    assert list(masses["star"]) == [1, 2, 3]
    true = np.array([0.2, 1.0, 6.0])
    for line, column, level in ((6, 0, 68), (7, 1, 95)):
        inside = (true >= masses[f"mass_lower_{level}"].value) & (true <= masses[f"mass_upper_{level}"].value)
        assert lines[line].startswith(f"inside the {level} % interval: {inside.sum()} of 3; expected")
        words = [[w for w in row.split() if w in ("yes", "no")][column] for row in lines[4:1:-1]]
        assert words == ["yes" if one else "no" for one in inside]
    assert "scatter of the true masses: 0.60 dex" in lines[8]
    assert "of the 24 reference stars are heavier than 3 solar masses" in lines[9]
    assert "simulated" in lines[10]
    assert fits.getheader(tmp_path / "demo" / "masses.fits", "MASSES")["INPUT1"] == "small.fits"


def test_without_matplotlib_all_but_the_figure_is_written(small_field, model_directory, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(stellarfm.plotting, "find_spec", lambda name: None)
    assert demo(model_directory, tmp_path / "demo") == 0
    assert {path.name for path in (tmp_path / "demo").glob("[!.]*")} == {"masses.fits", "segments.fits"}
    assert "stellarfm[plots]" in capsys.readouterr().err


def test_an_existing_folder_is_kept(small_field, model_directory, tmp_path, capsys):
    (tmp_path / "demo").mkdir()
    assert demo(model_directory, tmp_path / "demo") == 1
    assert "pass --overwrite" in capsys.readouterr().err


def test_a_failure_leaves_nothing(small_field, tmp_path, capsys):
    assert demo(tmp_path / "no-model", tmp_path / "demo") == 1
    assert not (tmp_path / "demo").exists()


def test_the_bundled_field_is_small_whole_and_knows_its_stars():
    assert EXAMPLE_FIELD.stat().st_size < 3_000_000
    maps, stars = GasMaps.read(EXAMPLE_FIELD), QTable.read(EXAMPLE_FIELD, hdu="STARS")
    x, y = maps.wcs.world_to_pixel(SkyCoord(stars["ra"], stars["dec"]))
    assert len(stars) == 25
    assert np.all((np.minimum(x, y) >= 32) & (np.maximum(x, y) <= maps.shape[0] - 32))
    assert maps.pixel_scale.to_value("pc") == pytest.approx(4 / 512, rel=1e-3)
    assert not maps.mask.any()
    with fits.open(EXAMPLE_FIELD, checksum=True) as hdus:
        assert "periodic" in str(hdus[0].header["HISTORY"])


def test_the_stars_of_the_bundled_field_sit_on_peaks_of_its_gas():
    maps, stars = GasMaps.read(EXAMPLE_FIELD), QTable.read(EXAMPLE_FIELD, hdu="STARS")
    x, y = (np.rint(axis).astype(int) for axis in maps.wcs.world_to_pixel(SkyCoord(stars["ra"], stars["dec"])))
    column = maps.column_density.value
    assert np.median(column[y, x]) > 3 * np.median(column)
