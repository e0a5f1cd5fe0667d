import sys

import numpy as np
import pytest
from astropy import units as u
from astropy.table import QTable

import stellarfm.plotting as plotting
from stellarfm.exceptions import MapError, StellarFMError
from stellarfm.plotting import held_out, overview


@pytest.fixture(scope="module")
def results(fitted_model, field_with_stars):
    maps, stars = field_with_stars(missing=4)
    return maps, fitted_model.segment(maps, segments=3), fitted_model.estimate(maps, sources=stars), stars["mass"]


@pytest.fixture(scope="module")
def predictions():
    rng = np.random.default_rng(0)
    table = QTable({"split": ["star"] * 12, "method": ["one"] * 6 + ["two"] * 6, "simulation": list("aabbcc") * 2})
    table["mass_true"], table["mass"] = 10 ** rng.normal(0, 0.5, (2, 12)) * u.solMass
    return table


def test_overview_has_six_panels_with_units(results, tmp_path):
    maps, segmentation, masses, truth = results
    figure = overview(maps, segmentation, masses, truth=truth)
    titles = [axes.get_title() for axes in figure.axes]
    for title in ("Column density and stars", "Line-of-sight velocity", "Velocity dispersion", "Segments"):
        assert title in titles
    assert any(title.startswith("Estimated and true masses") for title in titles)
    labels = " ".join(axes.get_ylabel() for axes in figure.axes)
    assert "cm$^{-2}$" in labels
    assert "km s$^{-1}$" in labels
    figure.savefig(tmp_path / "overview.png", dpi=50)
    assert (tmp_path / "overview.png").stat().st_size > 10_000


def test_stars_are_drawn_where_they_are(results):
    maps, segmentation, masses, truth = results
    panel = overview(maps, segmentation, masses, truth=truth).axes[0]
    drawn = panel.collections[0].get_offsets()
    np.testing.assert_allclose(drawn[:, 0], masses["ra"].to_value("deg"))
    x, y = maps.wcs.world_to_pixel_values(drawn[:, 0], drawn[:, 1])
    np.testing.assert_allclose(x, [20, 48, 70], atol=1e-6)
    np.testing.assert_allclose(y, [20, 60, 24], atol=1e-6)


def test_without_truth_the_masses_are_listed(results, tmp_path):
    maps, segmentation, masses, _ = results
    figure = overview(maps, segmentation, masses)
    assert "Estimated masses" in figure.axes[-1].get_title() or any(
        "Estimated masses" in axes.get_title() for axes in figure.axes
    )
    figure.savefig(tmp_path / "overview.pdf")


def test_a_map_without_distance_has_no_scale_bar(results):
    from dataclasses import replace

    maps, segmentation, masses, _ = results
    with_bar = overview(maps, segmentation, masses).axes[0]
    without = overview(replace(maps, distance=None), segmentation, masses).axes[0]
    assert [text.get_text() for text in with_bar.texts] == ["1", "2", "3", "0.1 pc"]
    assert [text.get_text() for text in without.texts] == ["1", "2", "3"]


def test_stars_are_numbered_beside_their_symbols_and_in_the_list(results):
    maps, segmentation, masses, truth = results
    figure = overview(maps, segmentation, masses, truth=truth)
    x, y = maps.wcs.world_to_pixel_values(masses["ra"].to_value("deg"), masses["dec"].to_value("deg"))
    for text, *star in zip(figure.axes[0].texts, x, y):
        assert 0 < np.hypot(*np.subtract(text.get_position(), star)) < 8
    last = next(axes for axes in figure.axes if axes.get_title().startswith("Estimated"))
    assert [label.get_text() for label in last.get_yticklabels()] == ["1", "2", "3"]  # by true mass


def test_intervals_and_true_masses_are_drawn_and_named(results):
    maps, segmentation, masses, truth = results
    figure = overview(maps, segmentation, masses, truth=truth)
    last = next(axes for axes in figure.axes if axes.get_title().startswith("Estimated"))
    labels = [text.get_text() for text in last.get_legend().get_texts()]
    for label in ("68 % interval", "95 % interval", "true mass"):
        assert label in labels
    drawn = {one.get_label(): one for one in last.collections}
    for level in ("68", "95"):
        ends = [segment[:, 0] for segment in drawn[f"{level} % interval"].get_segments()]
        expected = np.transpose([masses[f"mass_{end}_{level}"].value for end in ("lower", "upper")])
        bounded = np.isfinite(expected).all(axis=1)
        np.testing.assert_allclose(np.array(ends)[bounded], expected[bounded])
        assert level == "95" or bounded.all()
    np.testing.assert_allclose(drawn["true mass"].get_offsets()[:, 0], [0.2, 1.0, 6.0])


def test_unbounded_intervals_and_missing_masses_do_not_break_the_figure(results, tmp_path):
    maps, segmentation, masses, truth = results
    changed = masses.copy()
    for name in changed.colnames:
        if name.startswith("mass"):
            changed[name][1] = np.nan
    changed["mass_lower_95"][0], changed["mass_upper_95"][0] = 0 * u.solMass, np.inf * u.solMass
    figure = overview(maps, segmentation, changed, truth=truth)
    last = next(axes for axes in figure.axes if axes.get_title().startswith("Estimated"))
    assert [label.get_text() for label in last.get_yticklabels()] == ["1", "3"]
    figure.savefig(tmp_path / "overview.png", dpi=50)


def test_velocity_is_centred_on_the_column_weighted_mean(results):
    maps, segmentation, masses, _ = results
    drawn = overview(maps, segmentation, masses).axes[1].images[0]
    low, high = drawn.get_clim()
    assert low == -high
    assert np.ma.average(drawn.get_array(), weights=np.nan_to_num(maps.column_density.value)) == pytest.approx(
        0, abs=1e-9
    )


def test_a_segmentation_of_another_field_is_refused(results, field_with_stars):
    maps, segmentation, masses, _ = results
    from dataclasses import replace

    other = replace(segmentation, labels=segmentation.labels[:-1])
    with pytest.raises(MapError, match="expected the same"):
        overview(maps, other, masses)


def test_true_masses_of_other_stars_are_refused(results):
    maps, segmentation, masses, truth = results
    with pytest.raises(MapError, match="2 true masses for 3 estimates"):
        overview(maps, segmentation, masses, truth=truth[:2])


def test_held_out_has_a_panel_for_each_method(predictions, tmp_path):
    figure = held_out(predictions, split="star")
    assert [axes.get_title() for axes in figure.axes] == ["one", "two"]
    figure.savefig(tmp_path / "held_out.png")


def test_drawing_does_not_start_pyplot(predictions, monkeypatch):
    monkeypatch.delitem(sys.modules, "matplotlib.pyplot", raising=False)  # another test may have imported it
    held_out(predictions, split="star")
    assert "matplotlib.pyplot" not in sys.modules


def test_without_matplotlib_the_error_says_what_to_install(predictions, monkeypatch):
    monkeypatch.setattr(plotting, "find_spec", lambda name: None)
    with pytest.raises(StellarFMError, match=r"pip install 'stellarfm\[plots\]'"):
        held_out(predictions, split="star")
