import numpy as np
import pytest
from astropy.io import fits
from astropy.table import MaskedColumn, Table
from PIL import Image
from stellarfm_galaxyzoo.catalogue import Catalogue
from stellarfm_galaxyzoo.dataset import GalaxyZoo
from stellarfm_galaxyzoo.exceptions import CatalogueError, ImageError
from stellarfm_galaxyzoo.images import asinh_stretch, read_image
from stellarfm_galaxyzoo.schema import Schema

from stellarfm.exceptions import InputNotFoundError
from stellarfm.testing import DatasetConformance

SMOOTH, FEATURED = (f"smooth-or-featured-dr5_{answer}" for answer in ("smooth", "featured-or-disk"))


class TestGalaxyZoo(DatasetConformance):
    plugin = GalaxyZoo
    options = {"size": 32}


@pytest.fixture
def table():
    return Table(
        {"id_str": ["a", "b", "c"], "file_loc": ["a.png", "b.png", "c.png"], SMOOTH: [3, 0, 7], FEATURED: [1, 0, 2]}
    )


@pytest.fixture
def schema():
    return Schema.load("dr5")


@pytest.mark.parametrize("ending", ["csv", "fits", "parquet", "vot", "ecsv"])
def test_any_table_will_do(table, schema, tmp_path, ending):
    path = tmp_path / f"catalogue.{ending}"
    table.write(path, format={"vot": "votable", "csv": "ascii.csv"}.get(ending))
    found = Catalogue.read(path, schema)
    assert found.ids.tolist() == ["a", "b", "c"]
    assert found.paths[2] == tmp_path / "c.png"
    assert found.votes[:, :2].tolist() == [[3, 1], [0, 0], [7, 2]]
    assert found.labelled.tolist() == [True, False, True]
    assert not found.votes[:, 2:].any()


def test_masked_votes_are_no_votes(table, schema):
    table[SMOOTH] = MaskedColumn([3, 5, 7], mask=[False, True, False])
    assert Catalogue(table, schema).votes[:, 0].tolist() == [3, 0, 7]


def test_parts_keep_their_votes(table, schema):
    part = Catalogue(table, schema)[np.array([True, False, True])]
    assert part.ids.tolist() == ["a", "c"]
    assert part.votes[1, 0] == 7


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        (SMOOTH, [3, np.nan, 1], "_smooth of row 1 .nan. is not a number; write 0 where a question was not asked"),
        (SMOOTH, [3, 0.25, 1], "_smooth of row 1 .0.25. is a fraction of a vote; expected counts"),
        (SMOOTH, [3, 1, -2], "_smooth of row 2 .-2. is negative"),
        (SMOOTH, ["3", "x", "1"], "_smooth is not numeric"),
        ("id_str", ["a", "b", "a"], "id_str a occurs twice"),
    ],
)
def test_votes_that_cannot_be_are_refused(table, schema, column, values, message):
    table[column] = values
    with pytest.raises(CatalogueError, match=message):
        Catalogue(table, schema, name="cat.csv")


def test_missing_columns_and_rows(table, schema):
    with pytest.raises(CatalogueError, match="cat has no column file_loc"):
        Catalogue(table["id_str", SMOOTH], schema, name="cat")
    with pytest.raises(CatalogueError, match="cat is empty"):
        Catalogue(table[:0], schema, name="cat")


def test_files_that_are_no_tables(tmp_path, schema):
    with pytest.raises(InputNotFoundError, match="no such catalogue"):
        Catalogue.read(tmp_path / "none.csv", schema)
    (tmp_path / "bad.fits").write_text("nothing")
    with pytest.raises(CatalogueError, match="bad.fits cannot be read as a table"):
        Catalogue.read(tmp_path / "bad.fits", schema)


def test_missing_images_are_counted(table, schema, tmp_path):
    table.write(tmp_path / "catalogue.csv")
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    with pytest.raises(InputNotFoundError, match=r"2 of 3 images are missing, first .*b.png; check"):
        GalaxyZoo(catalogue=str(tmp_path / "catalogue.csv"), size=8)


def test_budgets_and_subsets(survey_folder):
    options = {"catalogue": str(survey_folder / "catalogue.csv"), "size": 16, "schema": ("dr5", "rings")}
    whole, some = GalaxyZoo(**options), GalaxyZoo(**options, subset="labelled", count=5)
    assert (len(whole), len(some)) == (40, 5)
    assert all(some.label(index).sum() > 0 for index in range(5))
    larger = GalaxyZoo(**options, subset="labelled", count=9)
    assert larger.catalogue.ids[:5].tolist() == some.catalogue.ids.tolist()
    with pytest.raises(CatalogueError, match="count is 1000, but .* has .* galaxies"):
        GalaxyZoo(**options, count=1000)


@pytest.mark.parametrize(("ending", "error"), [("png", 1e-6), ("jpg", 0.06)])
def test_pictures(tmp_path, ending, error):
    y, x = np.mgrid[:32, :40] / 40
    pixels = np.round(255 * np.stack([x, y, (x + y) / 2], axis=2)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / f"a.{ending}")
    image = read_image(tmp_path / f"a.{ending}")
    assert image.shape == (3, 32, 32)
    assert image == pytest.approx(np.moveaxis(pixels[:, 4:36] / 255, 2, 0), abs=error)
    assert read_image(tmp_path / f"a.{ending}", size=16, channels=1).shape == (1, 16, 16)


@pytest.mark.parametrize("form", ["cube", "extensions"])
def test_fits_of_many_bands(tmp_path, form):
    bands = np.random.default_rng(0).uniform(0, 4, (5, 16, 16))
    bands[2, 3, 3] = np.nan
    hdus = [fits.PrimaryHDU(bands)] if form == "cube" else [fits.PrimaryHDU(), *(fits.ImageHDU(band) for band in bands)]
    fits.HDUList(hdus).writeto(tmp_path / "a.fits")
    image = read_image(tmp_path / "a.fits", channels=5, scales=(4.0,) * 5)
    assert image.shape == (5, 16, 16)
    assert np.isfinite(image).all()
    assert image[2, 3, 3] == 0.0
    assert image == pytest.approx(asinh_stretch(np.nan_to_num(bands), scales=(4.0,) * 5))


def test_stretch_keeps_colours_and_lifts_what_is_faint():
    bands = np.array([0.02, 0.01, 0.005])[:, None, None] * np.ones((3, 4, 4))
    image = asinh_stretch(bands, scales=(1.0, 1.0, 1.0))
    assert image[0] / image[1] == pytest.approx(np.full((4, 4), 2.0), rel=1e-5)
    assert (image > 2 * bands).all()
    assert asinh_stretch(np.full((1, 2, 2), 1.0), scales=(1.0,)) == pytest.approx(np.ones((1, 2, 2)))
    assert asinh_stretch(2 * bands, scales=(2.0, 2.0, 2.0)) == pytest.approx(image)  # scales are fluxes


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (None, InputNotFoundError, "a.png: no such image"),
        (b"nothing", ImageError, "a.png cannot be read as an image"),
        (b"\x89PNG\r\n\x1a\n", ImageError, "a.png cannot be read as an image"),
    ],
)
def test_bad_pictures(tmp_path, content, error, message):
    if content is not None:
        (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(error, match=message):
        read_image(tmp_path / "a.png")


def test_bad_fits(tmp_path):
    (tmp_path / "a.fits").write_bytes(b"nothing")
    with pytest.raises(ImageError, match="a.fits cannot be read as FITS"):
        read_image(tmp_path / "a.fits")
    fits.PrimaryHDU(np.ones((4, 8, 8))).writeto(tmp_path / "b.fits")
    with pytest.raises(ImageError, match="has 4 channels; expected 3: set the option channels = 4"):
        read_image(tmp_path / "b.fits")
    with pytest.raises(ImageError, match="scales are"):
        read_image(tmp_path / "b.fits", channels=4, scales=(1.0, 2.0))


@pytest.mark.shared_data
def test_real_galaxies(shared_data):
    dataset = GalaxyZoo(catalogue=str(shared_data / "galaxies" / "catalogue.csv"), size=64, schema=("dr5",))
    assert len(dataset) == 470
    assert sum(dataset.label(index).sum() > 0 for index in range(470)) == 28
    assert dataset.image(0).std() > 0
