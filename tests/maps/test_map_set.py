import h5py
import numpy as np
import pytest
from astropy import units as u
from astropy.table import MaskedColumn, QTable
from astropy.utils.masked import Masked

from stellarfm.exceptions import InputNotFoundError, MapError, OutputExistsError, ReaderError, UnitsError
from stellarfm.maps import MapSet

from .conftest import map_set


def changed(mapset, **fields):
    names = ("column_density", "velocity", "velocity_dispersion", "stars", "pixel_scale", "label_kind")
    return MapSet(**({name: getattr(mapset, name) for name in names} | fields))


def test_groups_keep_a_star_and_its_run_together():
    both = MapSet.concatenate([map_set(), map_set(simulation="other")])
    assert len(both) == 12
    assert both.simulation == "run+other"
    assert len(set(both.groups)) == 6
    assert both.groups[0] == "run/0"
    assert both.groups[6] == "other/0"
    assert both.depth == 0.5 * u.pc


def test_simulations_are_text():
    both = MapSet.concatenate([map_set(2), map_set(1, simulation="other")])
    assert both.simulations.tolist() == ["run", "run", "other"]
    assert both.simulations.dtype.kind == "U"


def test_repr_is_a_summary():
    lines = repr(map_set()).splitlines()
    assert lines[:4] == [
        "MapSet",
        "  windows     6 of 3 stars",
        "  shape       8 x 8 pixels, 0.0% missing",
        "  pixel_scale 0.00781 pc",
    ]
    assert "  label_kind  sink" in lines
    assert len(lines) < 8
    assert "0 of 0 stars" in repr(map_set()[[]])


@pytest.mark.parametrize(
    ("index", "expected"),
    [(slice(1, 4), [1, 2, 3]), (np.array([5, 0]), [5, 0]), ([2], [2]), (-1, [5]), (np.int64(3), [3]), ([], []),
     (np.array([True, False, True, False, False, False]), [0, 2])],
)  # fmt: skip
def test_indexing_gives_a_map_set(index, expected):
    whole, part = map_set(), map_set()[index]
    assert isinstance(part, MapSet)
    np.testing.assert_array_equal(part.velocity.value, whole.velocity.value[expected])
    np.testing.assert_array_equal(part.stars["mass"].value, whole.stars["mass"].value[expected])
    assert part.label_kind == "sink"


def test_iteration_ends():
    assert [len(window) for window in map_set(4)] == [1, 1, 1, 1]


def test_mask_is_true_where_anything_is_missing():
    values = map_set().velocity.value.copy()
    values[2, 3, 4] = np.nan
    mask = changed(map_set(), velocity=values * u.km / u.s).mask
    assert mask.sum() == 1
    assert mask[2, 3, 4]


def test_units_are_converted():
    whole = map_set()
    metric = changed(whole, velocity=whole.velocity.to(u.m / u.s), column_density=whole.column_density.to(u.m**-2))
    np.testing.assert_allclose(metric.velocity.value, whole.velocity.value, rtol=1e-6)
    np.testing.assert_allclose(metric.column_density.value, whole.column_density.value, rtol=1e-6)


@pytest.mark.parametrize("name", ["column_density", "velocity", "velocity_dispersion", "pixel_scale"])
def test_bare_numbers_and_wrong_units_are_refused(name):
    whole = map_set()
    with pytest.raises(UnitsError, match=f"{name} has no unit"):
        changed(whole, **{name: getattr(whole, name).value})
    with pytest.raises(UnitsError, match=f"{name} is in K"):
        changed(whole, **{name: getattr(whole, name).value * u.K})


def test_impossible_sets_are_refused():
    whole = map_set()
    with pytest.raises(MapError, match=r"shapes .*expected three of one shape"):
        changed(whole, velocity=whole.velocity[:, :4])
    with pytest.raises(MapError, match="6 windows but 5 rows"):
        changed(whole, stars=whole.stars[:5])
    with pytest.raises(MapError, match="no column 'star'"):
        changed(whole, stars=QTable({"mass": np.ones(6) * u.solMass}))
    with pytest.raises(MapError, match="negative"):
        changed(whole, velocity_dispersion=-whole.velocity_dispersion)
    with pytest.raises(MapError, match="label_kind is 'guess'"):
        changed(whole, label_kind="guess")
    with pytest.raises(MapError, match="no column 'mass'"):
        changed(whole, stars=QTable({"star": np.arange(6)}))
    with pytest.raises(MapError, match="not positive"):
        changed(whole, stars=QTable({"star": np.arange(6), "mass": np.zeros(6) * u.solMass}))
    with pytest.raises(UnitsError, match="mass has no unit"):
        changed(whole, stars=QTable({"star": np.arange(6), "mass": np.ones(6)}))
    with pytest.raises(MapError, match="pixel_scale"):
        changed(whole, pixel_scale=0 * u.pc)


def test_unlabelled_windows_need_no_mass():
    assert changed(map_set(), stars=QTable({"star": np.arange(6)}), label_kind=None).label_kind is None


def test_what_must_not_be_mixed():
    whole = map_set()
    with pytest.raises(MapError, match="differ in label kind: sink and star"):
        MapSet.concatenate([whole, map_set(label_kind="star")])
    with pytest.raises(MapError, match="differ in pixel scale"):
        MapSet.concatenate([whole, changed(whole, pixel_scale=0.01 * u.pc)])
    with pytest.raises(MapError, match="differ in window shape"):
        MapSet.concatenate([whole, map_set(side=10)])
    with pytest.raises(MapError, match="at least one"):
        MapSet.concatenate([])


@pytest.mark.parametrize("label_kind", ["sink", "star", None])
def test_round_trip(tmp_path, label_kind):
    whole = map_set(label_kind=label_kind)
    whole.write(tmp_path / "maps.h5")
    again = MapSet.read(tmp_path / "maps.h5")
    for name in ("column_density", "velocity", "velocity_dispersion"):
        np.testing.assert_array_equal(getattr(again, name), getattr(whole, name))
    for name in ("pixel_scale", "depth", "mass_per_hydrogen", "label_kind", "simulation", "provenance"):
        assert getattr(again, name) == getattr(whole, name)
    assert set(again.stars.colnames) == set(whole.stars.colnames)
    assert again.stars["mass"].unit == u.solMass
    np.testing.assert_array_equal(again.groups, whole.groups)


def test_round_trip_of_several_runs_and_of_none(tmp_path):
    both = MapSet.concatenate([map_set(), map_set(simulation="other")])
    both.write(tmp_path / "both.h5")
    np.testing.assert_array_equal(MapSet.read(tmp_path / "both.h5").groups, both.groups)
    both[[]].write(tmp_path / "none.h5")
    assert len(MapSet.read(tmp_path / "none.h5")) == 0


def test_writing_is_reproducible_and_never_overwrites_unasked(tmp_path):
    map_set().write(tmp_path / "one.h5")
    map_set().write(tmp_path / "two.h5")
    assert (tmp_path / "one.h5").read_bytes() == (tmp_path / "two.h5").read_bytes()
    with pytest.raises(OutputExistsError):
        map_set().write(tmp_path / "one.h5")
    map_set().write(tmp_path / "one.h5", overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.h5", "two.h5"]


def test_masked_entries_are_written_as_missing(tmp_path):
    whole = map_set()
    missing = np.arange(6) == 2
    whole.stars["count"] = MaskedColumn(np.arange(6), mask=missing)
    whole.stars["age"] = Masked(np.arange(6.0) * u.Myr, mask=missing)
    whole.stars["name"] = MaskedColumn(list("abcdef"), mask=missing)
    whole.write(tmp_path / "maps.h5")
    stars = MapSet.read(tmp_path / "maps.h5").stars
    np.testing.assert_array_equal(np.isnan(stars["count"]), missing)
    np.testing.assert_array_equal(np.isnan(stars["age"]), missing)
    assert list(stars["name"]) == ["a", "b", "", "d", "e", "f"]


def test_columns_that_hdf5_cannot_hold_leave_nothing_behind(tmp_path):
    whole = map_set()
    whole.stars["odd"] = np.array([{}] * 6, dtype=object)
    with pytest.raises(MapError, match="'odd'"):
        whole.write(tmp_path / "maps.h5")
    assert not list(tmp_path.iterdir())


@pytest.fixture
def edited(tmp_path):
    """Write a map set and change its file with a function of the open file."""

    def edit(change):
        path = tmp_path / "maps.h5"
        map_set().write(path)
        with h5py.File(path, "r+") as file:
            change(file)
        return path

    return edit


def replace(file, name, values, unit):
    del file[name]
    file[name] = values
    file[name].attrs["unit"] = unit


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (lambda f: f["velocity"].attrs.pop("unit"), UnitsError, "dataset 'velocity' has no unit"),
        (lambda f: f["velocity"].attrs.modify("unit", "K"), UnitsError, "dataset 'velocity' has unit 'K'"),
        (lambda f: f["velocity"].attrs.modify("unit", "knots!"), UnitsError, "dataset 'velocity': 'knots!' is not"),
        (lambda f: f["column_density"].attrs.modify("unit", "H2"), UnitsError, "dataset 'column_density'"),
        (lambda f: f.attrs.pop("pixel_scale_unit"), UnitsError, "attribute 'pixel_scale' has no unit"),
        (lambda f: f.attrs.modify("depth_unit", "s"), UnitsError, "'depth' is in s"),
        (lambda f: f.attrs.pop("pixel_scale"), ReaderError, "attribute 'pixel_scale' is missing"),
        (lambda f: f.attrs.modify("schema", "else"), ReaderError, "schema is 'else'"),
        (lambda f: f.attrs.modify("schema_version", 2), ReaderError, "update stellarfm"),
        (lambda f: f.pop("velocity"), ReaderError, "'velocity' is missing"),
        (lambda f: f.pop("stars"), ReaderError, "'stars' is missing"),
        (lambda f: f["stars"].pop("star"), MapError, "no column 'star'"),
        (lambda f: f["stars"].pop("mass"), MapError, "no column 'mass'"),
        (lambda f: f.attrs.modify("label_kind", "x"), MapError, "label_kind is 'x'"),
        (lambda f: replace(f, "velocity", np.ones((6, 8)), "km/s"), ReaderError, "expected an array of 3 dimensions"),
        (lambda f: replace(f, "velocity", np.ones((6, 8, 8), int), "km/s"), ReaderError, "type int64; expected"),
        (lambda f: replace(f, "column_density", np.full((6, 8, 8), 22.0), "cm-2"), UnitsError, "median hydrogen"),
    ],
)  # fmt: skip
def test_files_at_fault(edited, change, error, words):
    path = edited(change)
    with pytest.raises(error, match=words) as caught:
        MapSet.read(path)
    assert str(path) in str(caught.value)


def test_zeros_that_mean_missing(edited, caplog):
    def blank(file):
        file["velocity_dispersion"][0, 0, :3] = 0
        file["velocity"][1, 0, 0] = 0

    caplog.set_level("INFO", logger="stellarfm")
    read = MapSet.read(edited(blank))
    assert read.mask.sum() == 3
    assert "3 pixels are exactly zero" in caplog.text


def test_truncated_foreign_and_absent_files(tmp_path):
    map_set(40, 16).write(tmp_path / "maps.h5")
    whole = (tmp_path / "maps.h5").read_bytes()
    (tmp_path / "half.h5").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.h5").write_text("not HDF5")
    with h5py.File(tmp_path / "foreign.h5", "w") as file:
        file["data"] = np.ones(3)
    for name in ("half.h5", "text.h5", "foreign.h5"):
        with pytest.raises(ReaderError, match=name):
            MapSet.read(tmp_path / name)
    with pytest.raises(InputNotFoundError, match="no such file"):
        MapSet.read(tmp_path / "absent.h5")


@pytest.mark.shared_data
def test_clouds_are_read_and_written_in_the_same_form(shared_data, tmp_path):
    path = shared_data / "clouds" / "cloud-a.h5"
    clouds = MapSet.read(path)
    assert clouds.column_density.shape == (177, 64, 64)
    assert not clouds.mask.any()
    assert len(set(clouds.groups)) == 11
    clouds.write(tmp_path / "again.h5")
    with h5py.File(path) as old, h5py.File(tmp_path / "again.h5") as new:
        assert_same_form(old, new)


def assert_same_form(old, new):
    """Same names, attributes, types and values, all the way down."""
    assert dict(old.attrs) == dict(new.attrs)
    assert {name: type(value) for name, value in old.attrs.items()} == {k: type(v) for k, v in new.attrs.items()}
    if isinstance(old, h5py.Dataset):
        assert (old.dtype, old.chunks, old.compression, old.shuffle) == (
            new.dtype,
            new.chunks,
            new.compression,
            new.shuffle,
        )
        np.testing.assert_array_equal(old[()], new[()])
        return
    assert set(old) == set(new)
    for name in old:
        assert_same_form(old[name], new[name])


def test_cell_sizes_are_kept_cut_written_and_dropped_where_not_all_have_them(tmp_path):
    size = (np.arange(6 * 64, dtype=np.float32).reshape(6, 8, 8) + 1) * u.kpc
    sized = changed(map_set(), cell_size=size, depth=0.5 * u.pc, simulation="run")
    np.testing.assert_array_equal(sized[[4]].cell_size.value, 1000 * size.value[[4]])
    sized.write(tmp_path / "sized.h5")
    np.testing.assert_array_equal(MapSet.read(tmp_path / "sized.h5").cell_size, sized.cell_size)
    assert MapSet.concatenate([sized, sized]).cell_size.shape == (12, 8, 8)
    assert MapSet.concatenate([sized, map_set()]).cell_size is None
    with pytest.raises(MapError, match=r"cell_size has shape \(5, 8, 8\)"):
        changed(sized, cell_size=size[:5])
    with pytest.raises(UnitsError, match="cell_size is in s"):
        changed(sized, cell_size=size.value * u.s)


def test_text_and_numbers_of_one_column_become_text():
    """Stars that one code numbers and another names; axes as 0, 1, 2 and as letters."""
    named = map_set()
    named.stars["star"] = [f"s{i}" for i in range(len(named))]
    both = MapSet.concatenate([map_set(), named])
    assert list(both.stars["star"][[0, -1]]) == ["0", "s5"]
