import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import QTable

from stellarfm.exceptions import InputNotFoundError, MapError, ReaderError, UnitsError
from stellarfm.readers.tables import read_positions, read_sources

TABLE = {"RAJ2000": [246.5, 246.6] * u.deg, "DEJ2000": [-24.5, -24.4] * u.deg, "name": ["a", "b"]}
FORMATS = {
    "t.csv": "ascii.csv",
    "t.ecsv": "ascii.ecsv",
    "t.fits": "fits",
    "t.vot": "votable",
    "t.xml": "votable",
    "t.txt": "ascii.basic",
}


@pytest.mark.parametrize("name", FORMATS)
def test_formats(tmp_path, name):
    QTable(TABLE).write(tmp_path / name, format=FORMATS[name])
    sources = read_sources(tmp_path / name)
    assert sources.colnames == ["star", "ra", "dec", "name"]
    np.testing.assert_allclose(sources["ra"].to_value("deg"), [246.5, 246.6])
    np.testing.assert_allclose(sources["dec"].to_value("deg"), [-24.5, -24.4])


def test_sky_coordinates_in_ecsv(tmp_path):
    QTable({"where": SkyCoord([246.5], [-24.5], unit="deg"), "n": [3]}).write(tmp_path / "t.ecsv")
    sources = read_sources(tmp_path / "t.ecsv")
    assert sources.colnames == ["star", "ra", "dec", "n"]
    assert sources["ra"][0].to_value("deg") == pytest.approx(246.5)


def test_the_table_of_stars_among_others(tmp_path):
    other = fits.BinTableHDU(QTable({"x": [1.0]}).as_array(), name="SEGMENTS")
    stars = fits.BinTableHDU(QTable({"star": [7], "ra": [1.0], "dec": [2.0]}).as_array(), name="STARS")
    fits.HDUList([fits.PrimaryHDU(), other, stars]).writeto(tmp_path / "field.fits")
    np.testing.assert_array_equal(read_sources(tmp_path / "field.fits")["star"], [7])


def write(path, content):
    path.write_bytes(content)
    return path


def test_files_at_fault(tmp_path):
    with pytest.raises(InputNotFoundError, match="absent.csv: no such file"):
        read_sources(tmp_path / "absent.csv")
    with pytest.raises(ReaderError, match="t.pkl: not a known format of tables"):
        read_sources(write(tmp_path / "t.pkl", b"x"))
    with pytest.raises(ReaderError, match="t.fits: cannot be read as fits"):
        read_sources(write(tmp_path / "t.fits", b"not FITS"))
    with pytest.raises(ReaderError, match="t.xml: cannot be read as votable"):
        read_sources(write(tmp_path / "t.xml", b"<a></b>"))
    with pytest.raises(MapError, match="t.csv: columns x, y hold no position"):
        read_sources(write(tmp_path / "t.csv", b"x,y\n1,2\n"))
    with pytest.raises(MapError, match="empty.csv: the table of sources is empty"):
        read_sources(write(tmp_path / "empty.csv", b"ra,dec\n"))
    fits.PrimaryHDU(np.ones((9, 9))).writeto(tmp_path / "image.fits")
    with pytest.raises(ReaderError, match="image.fits: has no table"):
        read_sources(tmp_path / "image.fits")


@pytest.mark.shared_data
def test_real_tables(shared_data):
    assert len(read_sources(shared_data / "observed" / "L1688" / "L1688_YSO_catalog.csv")) == 69
    stars = read_sources(shared_data / "fields" / "cloud-c_z.fits")
    assert len(stars) == 28
    assert stars["mass"].unit == u.solMass


def test_positions_in_a_box(tmp_path):
    (tmp_path / "places.csv").write_text("name,x,y,z\nhere,1,2,3\nthere,4,5,6\n")
    table = read_positions(tmp_path / "places.csv")
    assert table.colnames == ["star", "x", "y", "z", "name"]
    assert list(table["star"]) == [1, 2]
    assert u.allclose(table["y"], [2, 5] * u.pc)
    named = QTable({"star": ["a"], **{axis: [206264.806] * u.AU for axis in "xyz"}})
    named.write(tmp_path / "places.ecsv")
    assert u.allclose(read_positions(tmp_path / "places.ecsv")["z"], 1 * u.pc)


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("x,y\n1,2\n", MapError, "no column z among x, y"),
        ("x,y,z\n", MapError, "the table is empty"),
        ("x,y,z\n1,2,far\n", MapError, "column 'z' does not hold numbers"),
    ],
)
def test_tables_without_positions_in_a_box(tmp_path, text, error, message):
    (tmp_path / "places.csv").write_text(text)
    with pytest.raises(error, match=f"places.csv: {message}"):
        read_positions(tmp_path / "places.csv")


def test_positions_must_be_lengths(tmp_path):
    QTable({axis: [1.0] * u.deg for axis in "xyz"}).write(tmp_path / "sky.ecsv")
    with pytest.raises(UnitsError, match=r"sky.ecsv: column 'x' is in deg"):
        read_positions(tmp_path / "sky.ecsv")
    with pytest.raises(InputNotFoundError):
        read_positions(tmp_path / "absent.csv")
