"""Lines of sight, windows, the table that comes with them; and what is refused."""

import logging
from dataclasses import replace

import numpy as np
import pytest
from astropy import units as u

from stellarfm.exceptions import SnapshotError, UnitsError
from stellarfm.maps import MapSet
from stellarfm.simulations import project
from stellarfm.simulations.lines_of_sight import axis_frames, direction_frames
from stellarfm.simulations.windows import Box, Windows


def test_axes_keep_the_order_of_the_others():
    for frame, order in zip(axis_frames("xyz"), ([1, 2, 0], [0, 2, 1], [0, 1, 2]), strict=True):
        np.testing.assert_array_equal(frame, np.eye(3)[order])


def test_directions_are_right_handed_with_z_up():
    frames = direction_frames(50, seed=1)
    np.testing.assert_allclose(frames @ frames.transpose(0, 2, 1), np.broadcast_to(np.eye(3), (50, 3, 3)), atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(frames), 1)
    np.testing.assert_allclose(frames[:, 0, 2], 0, atol=1e-12)
    assert np.all(frames[:, 1, 2] > 0)
    np.testing.assert_array_equal(direction_frames([[5, 0, 0], [0, 0, 2]], seed=0), axis_frames("xz"))
    np.testing.assert_array_equal(direction_frames([[0, 1, 0]], seed=0)[0], axis_frames("y")[0] * [[-1], [1], [1]])


def test_random_directions_are_uniform_and_repeatable():
    sights = direction_frames(4000, seed=3)[:, 2]
    np.testing.assert_allclose(sights.mean(axis=0), 0, atol=0.04)
    np.testing.assert_allclose((sights**2).mean(axis=0), 1 / 3, atol=0.02)
    np.testing.assert_array_equal(direction_frames(5, seed=3)[:, 2], sights[:5])
    assert not np.allclose(direction_frames(5, seed=4)[:, 2], sights[:5])


def test_regions_are_cut_at_periodic_borders_only():
    windows = Windows(np.array([(0.1, 2.0, 3.9)]), axis_frames("z"), 1.0, 1.0, 8)
    periodic = windows.regions(Box(np.zeros(3), np.full(3, 4.0), np.full(3, 4.0)))
    assert len(periodic) == 4
    assert sum(np.prod(region.upper - region.lower) for region in periodic) == pytest.approx(1)
    (closed,) = windows.regions(Box(np.zeros(3), np.full(3, 4.0), np.zeros(3)))
    np.testing.assert_allclose(closed, [(0, 1.5, 3.4), (0.6, 2.5, 4)])
    for region in (*periodic, closed):
        assert np.all(region.lower >= 0)
        assert np.all(region.upper <= 4)


def test_the_table_says_what_each_window_is(snapshot_of, uniform_block):
    maps = project(snapshot_of(uniform_block(4)), pixels=4, axes="zx")
    assert list(maps.stars["star"]) == [1, 1, 2, 2]
    assert list(maps.stars["axis"]) == ["z", "x", "z", "x"]
    assert list(maps.stars["los_z"]) == [1, 0, 1, 0]
    assert list(maps.stars["snapshot"]) == [7] * 4
    assert set(maps.stars["simulation"]) == {"made"}
    np.testing.assert_array_equal(maps.stars["time"].to_value(u.Myr), 0.5)
    np.testing.assert_array_equal(maps.stars["coverage"], 1)
    assert (maps.label_kind, maps.simulation, maps.mass_per_hydrogen) == ("sink", "made", 1.4)
    assert "code: none" in maps.provenance
    oblique = project(snapshot_of(uniform_block(4)), pixels=4, directions=2, seed=9)
    assert list(oblique.stars["axis"]) == ["0", "1", "0", "1"]
    np.testing.assert_array_equal(oblique.stars["los_y"][:2], direction_frames(2, seed=9)[:, 2, 1])


def test_maps_are_written_and_read_with_their_cell_sizes(snapshot_of, uniform_block, tmp_path):
    maps = project(snapshot_of(uniform_block(4)), pixels=4, directions=1, thermal=True)
    maps.write(tmp_path / "maps.h5")
    again = MapSet.read(tmp_path / "maps.h5")
    np.testing.assert_array_equal(again.cell_size, maps.cell_size)
    np.testing.assert_array_equal(again.column_density, maps.column_density)
    assert again.stars.colnames == [*sorted(set(maps.stars.colnames) - {"simulation"}), "simulation"]
    assert project(snapshot_of(uniform_block(4)), pixels=4, cell_size=False).cell_size is None


def test_positions_instead_of_stars(snapshot_of, uniform_block):
    maps = project(snapshot_of(uniform_block(4)), positions=[[1, 1, 1], [0, 4000, 2000]] * u.pc / 1000, pixels=4)
    assert len(maps) == 6
    assert maps.label_kind is None
    assert "mass" not in maps.stars.colnames
    assert list(maps.stars["star"]) == [1, 1, 1, 2, 2, 2]


def test_stars_without_a_mass_are_left_out(snapshot_of, uniform_block, caplog):
    snapshot = snapshot_of(uniform_block(4))
    snapshot.stars["mass"][1] = 0 * u.solMass
    with caplog.at_level(logging.WARNING, logger="stellarfm"):
        maps = project(snapshot, pixels=4)
    assert set(maps.stars["star"]) == {1}
    assert "left out: 2" in caplog.text
    snapshot.stars["mass"][0] = np.nan * u.solMass
    with pytest.raises(SnapshotError, match="none of its 2 stars has a positive mass"):
        project(snapshot, pixels=4)


def test_beyond_a_closed_box_is_missing(snapshot_of, uniform_block):
    """Pixels of which a part lies outside on the sky are missing; gas is counted as far as there is any in depth."""
    snapshot = snapshot_of(uniform_block(8), periodic=False, stars=[(0.15, 2.0, 2.0)])
    maps = project(snapshot, pixels=10, width="1 pc", axes="xz")
    depth, sky = maps
    assert not depth.mask.any()
    np.testing.assert_allclose(depth.column_density / sky.column_density[0, -1, -1], 0.65, rtol=1e-5)
    np.testing.assert_array_equal(sky.mask[0], np.broadcast_to(np.arange(10)[:, None] < 4, (10, 10)))
    assert np.ptp(sky.column_density[0, 4:].value) < 1e-5 * sky.column_density[0, 4, 4].value
    np.testing.assert_allclose(maps.stars["coverage"], [0.65, 0.7], rtol=1e-6)


def test_a_window_larger_than_a_closed_box_holds_all_of_it(snapshot_of, uniform_block):
    snapshot = snapshot_of(uniform_block(4), periodic=False, stars=[(2.0, 2.0, 2.0)])
    maps = project(snapshot, pixels=3, width="12 pc", axes="y")
    assert np.flatnonzero(~maps.mask).tolist() == [4]
    np.testing.assert_allclose(maps.stars["coverage"], 1 / 27)


def test_beyond_a_closed_box_in_an_oblique_direction(snapshot_of, uniform_block):
    snapshot = snapshot_of(uniform_block(8), periodic=False, stars=[(0.0, 0.0, 0.0)])
    maps = project(snapshot, pixels=16, width="1 pc", directions=[[1, 1, 1], [1, -1, 0]])
    assert np.all(np.isnan(maps.cell_size.value) == maps.mask)
    assert 0.1 < maps.mask[0].mean() < 0.9
    assert np.all(maps.stars["coverage"] < 0.6)


def test_a_pixel_without_gas_is_missing(snapshot_of, uniform_block):
    block = uniform_block(8)
    snapshot = snapshot_of(block[block.position[:, 0] < 2], stars=[(2.0, 1.0, 1.0)])
    maps = project(snapshot, pixels=8, axes="z")
    np.testing.assert_array_equal(maps.mask[0], np.broadcast_to(np.arange(8)[:, None] >= 4, (8, 8)))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"width": "5 pc"}, "more than the periodic box of 4 pc"),
        ({"depth": "4.1 pc"}, "along x, more than the periodic box"),
        ({"width": "3 pc", "directions": [[1, 1, 1]]}, "gas would count twice"),
        ({"width": 0 * u.pc}, "expected one positive length"),
        ({"width": "0.5 km/s"}, "is not a length"),
        ({"width": 0.5}, "is not a length"),
        ({"depth": -1 * u.pc}, "expected one positive length"),
        ({"pixels": 0}, "pixels=0; expected an integer >= 1"),
        ({"pixels": 6.5}, "pixels=6.5"),
        ({"pixels": True}, "pixels=True"),
        ({"axes": "xw"}, "expected letters out of 'xyz'"),
        ({"axes": "xx"}, "at most once"),
        ({"axes": ""}, "expected letters out of 'xyz'"),
        ({"directions": [1, 0, 0]}, "directions of shape"),
        ({"directions": [[0, 0, 0]]}, "has length zero"),
        ({"directions": [[np.nan, 0, 1]]}, "finite"),
        ({"directions": "up"}, "expected vectors"),
        ({"directions": 0}, "expected directions >= 1"),
        ({"directions": True}, "expected directions >= 1"),
        ({"positions": [[5, 1, 1]] * u.pc}, "1 of 1 positions lie outside the box"),
        ({"positions": [[1, 1]] * u.pc}, r"expected finite lengths, shape \(K, 3\)"),
        ({"positions": np.empty((0, 3)) * u.pc}, "expected finite lengths"),
        ({"positions": np.ones((1, 3))}, "positions has no unit"),
        ({"positions": [[1, 1, 1]] * u.s}, "positions is in s"),
        ({"threads": 0}, "threads=0"),
    ],
)
def test_wishes_that_make_no_sense(snapshot_of, uniform_block, options, words):
    with pytest.raises((SnapshotError, UnitsError), match=words):
        project(snapshot_of(uniform_block(4)), **options)


def test_snapshots_that_cannot_be_projected(snapshot_of, uniform_block):
    with pytest.raises(SnapshotError, match="snapshot 7 of made contains no gas"):
        project(snapshot_of(None))
    empty = snapshot_of(uniform_block(4))
    with pytest.raises(SnapshotError, match="contains no stars; give the centers"):
        project(replace(empty, stars=empty.no_stars))
    with pytest.raises(SnapshotError, match="no thermal velocities"):
        project(snapshot_of(replace(uniform_block(4), thermal=None)), thermal=True)
