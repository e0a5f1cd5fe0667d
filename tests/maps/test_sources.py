import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import MaskedColumn, QTable, Table
from astropy.utils.masked import Masked

from stellarfm.exceptions import MapError
from stellarfm.maps import normalize_sources, sky_coordinates

RA, DEC = 246.55, -24.5


@pytest.mark.parametrize(
    "names",
    [("ra", "dec"), ("RA", "Dec"), ("_RAJ2000", "_DEJ2000"), ("RAJ2000", "DEJ2000"), ("ra_deg", "dec_deg"),
     ("RA_ICRS", "DE_ICRS"), ("RAdeg", "DEdeg"), ("ALPHA_J2000", "DELTA_J2000"), ("right_ascension", "declination"),
     ("RA (deg)", "Dec (deg)")],
)  # fmt: skip
def test_usual_names(names):
    table = Table({"ID": ["a"], names[0]: [RA], names[1]: [DEC], "flux": [1.0]})
    sources = normalize_sources(table)
    assert sources.colnames == ["star", "ra", "dec", "ID", "flux"]
    np.testing.assert_allclose([sources["ra"][0].value, sources["dec"][0].value], [RA, DEC])
    assert sources["ra"].unit == u.deg


@pytest.mark.parametrize(
    "table",
    [
        Table({"ra": ["16:26:12.0"], "dec": ["-24:30:00"]}),
        Table({"ra": [b"16 26 12.0"], "dec": [b"-24 30 00"]}),
        QTable({"ra": [RA / 15] * u.hourangle, "dec": [DEC * 60] * u.arcmin}),
        QTable({"where": SkyCoord([RA] * u.deg, [DEC] * u.deg)}),
        QTable({"where": SkyCoord([RA] * u.deg, [DEC] * u.deg).galactic}),
        SkyCoord(RA, DEC, unit="deg"),
        SkyCoord([RA], [DEC], unit="deg").fk5,
    ],
)
def test_units_text_and_coordinates(table):
    coordinates = sky_coordinates(table)
    assert coordinates.shape == (1,)
    np.testing.assert_allclose([coordinates.ra.deg[0], coordinates.dec.deg[0]], [RA, DEC], atol=1e-4)
    assert len(normalize_sources(table)) == 1


def test_masked_positions_are_missing():
    ra = MaskedColumn([RA, 1.0], mask=[False, True])
    masked = Masked([RA, 1.0] * u.deg, mask=[False, True])
    for table in (Table({"ra": ra, "dec": [DEC, DEC]}), QTable({"ra": masked, "dec": [DEC, DEC] * u.deg})):
        np.testing.assert_array_equal(np.isnan(sky_coordinates(table).ra.deg), [False, True])


def test_stars_keep_their_numbers():
    table = Table({"star": [4, 2], "ra": [1.0, 2.0], "dec": [0.0, 0.0]})
    np.testing.assert_array_equal(normalize_sources(table)["star"], [4, 2])
    np.testing.assert_array_equal(normalize_sources(table["ra", "dec"])["star"], [1, 2])


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (Table({"x": [1.0], "y": [2.0]}), "columns x, y hold no position; expected ra and dec"),
        (Table({"ra": [1.0]}), "hold no position"),
        (Table({"ra": [], "dec": []}), "empty"),
        (Table({"ra": [1.0], "dec": [100.0]}), "are not positions on the sky"),
        (Table({"ra": ["here"], "dec": ["there"]}), "are not positions on the sky"),
        (QTable({"ra": [1.0] * u.pc, "dec": [1.0] * u.pc}), "are not positions on the sky"),
    ],
)
def test_tables_at_fault(table, words):
    with pytest.raises(MapError, match=words):
        sky_coordinates(table)
