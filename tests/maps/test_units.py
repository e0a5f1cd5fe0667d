import numpy as np
import pytest
from astropy import units as u

from stellarfm.exceptions import UnitsError
from stellarfm.maps import units


@pytest.mark.parametrize(
    "text",
    ["cm-2", "cm^-2", "cm**-2", "1/cm2", "H2 cm-2", "cm-2 (H2)", "H cm^{-2}", "HI cm-2", "H I cm-2", "N(H2) [cm-2]",
     "atoms/cm^2", "molecules cm-2", "H2/cm^2", "1 / cm2", "NH3 cm-2", "CM-2"],
)  # fmt: skip
def test_spellings_of_a_column_density(text):
    assert units.clean_unit(text) == u.cm**-2


@pytest.mark.parametrize("text", ["km/s", "km s-1", "km s^-1", "km.s-1", "KM/S", "km s^{-1}"])
def test_spellings_of_a_velocity(text):
    assert units.clean_unit(text) == u.km / u.s


@pytest.mark.parametrize("text", ["dex(cm-2)", "log10(cm-2)", "[log10 cm^-2]", "log cm-2", "log10(H2 cm-2)"])
def test_spellings_of_a_logarithm(text):
    assert units.clean_unit(text) == u.dex(u.cm**-2)


@pytest.mark.parametrize("text", ["", "H2", "H", "furlongs per fortnight", "dex", "H H"])
def test_what_is_no_unit_is_refused(text):
    with pytest.raises(UnitsError, match="is not a unit"):
        units.clean_unit(text)


@pytest.mark.parametrize(
    ("text", "species"), [("H2 cm-2", "H2"), ("cm-2", None), ("HI cm-2", "H"), ("H_2 cm-2", "H2"), ("km/s", None),
                          ("N(H2) cm-2", "H2"), ("NH3 cm-2", "NH3"), ("cm-2 (H2)", "H2")]
)  # fmt: skip
def test_species_named_by_a_unit(text, species):
    assert units.named_species(text) == species


def test_no_henry_ever():
    for text in ("H2 cm-2", "H cm-2", "H2/cm2"):
        assert units.clean_unit(text).physical_type != (u.H**2 / u.cm**2).physical_type


def test_scaled_units_are_kept():
    values = np.array([3.0])
    assert units.column_density(values, "1e22 cm-2", where="x").to_value("cm-2") == pytest.approx(3e22)
    assert units.column_density(values, "m-2", where="x").to_value("cm-2") == pytest.approx(3e-4)


def test_logarithms_are_undone():
    column = units.column_density(np.array([22.0, np.nan]), "dex(cm-2)", where="x")
    assert column.unit == u.cm**-2
    np.testing.assert_allclose(column.value, [1e22, np.nan])


@pytest.mark.parametrize(
    ("unit", "words"),
    [("MJy/sr", "brightness.*column_unit='cm-2' and column_species='H2'"), ("K km s-1", "integrated intensity"),
     ("mag", "extinction"), ("g cm-2", "surface density"), ("Msun pc-2", "surface density"),
     ("km/s", "something else")],
)  # fmt: skip
def test_what_is_no_column_density_is_refused(unit, words):
    with pytest.raises(UnitsError, match=f"map.fits: unit .*{words}"):
        units.column_density(np.ones(3), unit, where="map.fits")


def test_velocity_units():
    assert units.velocity(np.array([1500.0]), "m/s", where="x").to_value("km/s") == 1.5
    with pytest.raises(UnitsError, match="v.fits: unit 'km2 s-2' is a variance"):
        units.velocity(np.ones(3), "km2 s-2", where="v.fits")
    with pytest.raises(UnitsError, match="v.fits: unit 'K' is not a velocity"):
        units.velocity(np.ones(3), "K", where="v.fits")


def test_hydrogen_nuclei_of_a_named_species():
    column = [1.0] * u.cm**-2
    assert units.hydrogen_column(column)[0].value == 1
    assert units.hydrogen_column(column, species="H2")[0].value == 2
    assert units.hydrogen_column(column, species="NH3", abundance=1e-8)[0].value == pytest.approx(2e8)


@pytest.mark.parametrize(
    ("species", "abundance", "words"),
    [("NH3", None, "needs the abundance"), ("NH3", 0.0, "between 0 and 1"), ("NH3", -1e-8, "between 0 and 1"),
     ("NH3", np.nan, "between 0 and 1"), ("NH3", 2.0, "between 0 and 1"), ("H2", 1e-4, "applies to other species")],
)  # fmt: skip
def test_impossible_abundances(species, abundance, words):
    with pytest.raises(UnitsError, match=words):
        units.hydrogen_column([1.0] * u.cm**-2, species=species, abundance=abundance)


@pytest.mark.parametrize("value", [14.0, 1e14, 1e28])
def test_implausible_columns_are_refused(value):
    with pytest.raises(UnitsError, match=r"map.fits: the median hydrogen column .*dex\(cm-2\)"):
        units.check_plausible(np.array([value, np.nan]) * u.cm**-2, where="map.fits")


def test_plausible_and_empty_columns_pass():
    units.check_plausible([1e22, np.nan] * u.cm**-2, where="map.fits")
    units.check_plausible([np.nan] * u.cm**-2, where="map.fits")


def test_lengths():
    assert units.parse_length("140 pc", what="distance") == 140 * u.pc
    assert units.parse_length(0.3 * u.kpc, what="distance").to_value("pc") == pytest.approx(300)


@pytest.mark.parametrize("value", ["140", 140, "far", 3 * u.deg, "-140 pc", "nan pc", "0 pc", [1, 2] * u.pc, ""])
def test_impossible_lengths(value):
    with pytest.raises(UnitsError, match="distance"):
        units.parse_length(value, what="distance")
