"""Maps of gas that are known in closed form, and what must not change them."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from astropy import constants
from astropy import units as u

from stellarfm.simulations import GasBlock, InMemoryGas, project
from stellarfm.simulations.deposition.moments import gather
from stellarfm.simulations.lines_of_sight import axis_frames, direction_frames
from stellarfm.simulations.windows import Box, Windows

from .conftest import BOX, mesh

#: Along the axes, along a diagonal, within rounding of an axis, and any.
SIGHTS = [{"axes": "xyz"}, {"directions": [[1, 1, 1], [1, 1e-12, 0], [0, -1, 1]]}, {"directions": 3, "seed": 5}]
CENTRE = [(2.0, 2.0, 2.0)]


def column_of(density, length, mass_per_hydrogen=1.4):
    """Hydrogen nuclei per cm2 in a length (pc) of gas of some density (solMass / pc3)."""
    atom = constants.m_p + constants.m_e
    return (density * u.solMass / u.pc**3 * length * u.pc / (mass_per_hydrogen * atom)).to_value(u.cm**-2)


def same(one, two, **tolerance):
    """Assert that the maps of two sets agree."""
    for name in ("column_density", "velocity", "velocity_dispersion"):
        np.testing.assert_allclose(getattr(one, name).value, getattr(two, name).value, err_msg=name, **tolerance)


def sums_of(block, *, kind="cells", sight, width, depth, pixels=16, center=CENTRE, period=0.0):
    """The sums themselves, float64."""
    windows = Windows(np.array(center), _frames(sight), width, depth, pixels)
    box = Box(np.zeros(3), np.full(3, BOX), np.full(3, period))
    with ThreadPoolExecutor(1) as pool:
        return gather(InMemoryGas(block, kind), windows, box, thermal=False, sizes=True, pool=pool)


@pytest.mark.parametrize("sight", SIGHTS, ids=str)
@pytest.mark.parametrize("pixels", [1, 7, 32])
def test_uniform_gas(uniform_block, snapshot_of, sight, pixels):
    maps = project(snapshot_of(uniform_block()), pixels=pixels, depth="0.7 pc", **sight)
    assert maps.column_density.shape == (6, pixels, pixels)
    np.testing.assert_allclose(maps.column_density.value, column_of(1, 0.7), rtol=1e-6)
    np.testing.assert_allclose(maps.velocity.value, 0, atol=1e-9)
    np.testing.assert_allclose(maps.cell_size.value, BOX / 16, rtol=1e-6)
    assert maps.pixel_scale.value == pytest.approx(0.5 / pixels)
    assert maps.depth == 0.7 * u.pc


@pytest.mark.parametrize("sight", SIGHTS, ids=str)
@pytest.mark.parametrize("kind", ["cells", "particles"])
def test_mass_is_conserved(random_block, sight, kind):
    """All gas, in a window larger than the box."""
    block = random_block()
    sums, reference = sums_of(block, kind=kind, sight=sight, width=12.0, depth=12.0)
    mass = sums[..., 0].sum(axis=(2, 3))
    np.testing.assert_allclose(mass, block.mass.sum(), rtol=1e-12)
    momentum = sums[..., 1].sum(axis=(2, 3)) + reference[..., 0] * mass
    np.testing.assert_allclose(momentum[0], block.mass @ block.velocity @ _frames(sight)[:, 2].T, rtol=1e-9)
    np.testing.assert_allclose(sums[..., 3].sum(axis=(2, 3)), block.mass @ block.size, rtol=1e-12)


def _frames(sight):
    return axis_frames(sight["axes"]) if "axes" in sight else direction_frames(sight["directions"], seed=5)


@pytest.mark.parametrize("sight", SIGHTS, ids=str)
def test_a_window_of_uniform_gas_holds_its_volume(uniform_block, sight):
    """Cut at all six sides, through the borders of a periodic box."""
    sums, _ = sums_of(
        uniform_block(8), sight=sight, width=1.3, depth=0.9, pixels=9, center=[(0.1, 3.9, 2.0)], period=BOX
    )
    np.testing.assert_allclose(sums[..., 0], 0.9 * (1.3 / 9) ** 2, rtol=1e-12)


@pytest.mark.parametrize("sight", SIGHTS, ids=str)
def test_two_levels_are_one_mesh(uniform_block, snapshot_of, sight):
    """A region of fine cells in a coarse mesh, against the coarse mesh alone."""
    coarse = uniform_block(8, velocity=lambda position: np.sin(position * [1, 2, 3]))
    coarse = replace(coarse, mass=np.random.default_rng(1).random(len(coarse)))
    refined = np.all(np.abs(coarse.position - 1.75) < 0.6, axis=1)
    corner = np.array([(i, j, k) for i in (-1, 1) for j in (-1, 1) for k in (-1, 1)]) * BOX / 8 / 4
    fine = GasBlock(
        (coarse.position[refined][:, None] + corner).reshape(-1, 3),
        np.repeat(coarse.size[refined], 8) / 2,
        np.repeat(coarse.mass[refined], 8) / 8,
        np.repeat(coarse.velocity[refined], 8, axis=0),
    )
    two = GasBlock(*(np.concatenate([a, b]) for a, b in zip(_arrays(fine), _arrays(coarse[~refined]))))
    same(
        project(snapshot_of(two), pixels=20, width="1 pc", **sight),
        project(snapshot_of(coarse), pixels=20, width="1 pc", **sight),
        rtol=1e-6,
        atol=1e-6,
    )


def _arrays(block):
    return block.position, block.size, block.mass, block.velocity


@pytest.mark.parametrize("sight", SIGHTS, ids=str)
def test_uniform_sphere(snapshot_of, sight):
    """Column 2 rho sqrt(R^2 - b^2), to what cells of R / 16 can say."""
    position, size = mesh(40, lower=1.0, side=2.0)
    part = np.mean(
        [
            np.linalg.norm(position - 2 + size * np.array(offset), axis=1) < 0.8
            for offset in np.random.default_rng(0).random((200, 3)) - 0.5
        ],
        axis=0,
    )
    block = GasBlock(position, np.full(len(part), size), part * size**3, np.zeros_like(position))
    maps = project(snapshot_of(block, periodic=False, stars=CENTRE), width="2 pc", pixels=40, **sight)
    offset = (np.arange(40) - 19.5) * 0.05
    chord = 2 * np.sqrt(np.clip(0.64 - offset[:, None] ** 2 - offset**2, 0, None))
    difference = np.nan_to_num(maps.column_density.value) / column_of(1, 1) - chord
    assert np.sqrt(np.mean(difference**2, axis=(1, 2))).max() < 0.02
    assert np.abs(difference[:, chord > 0.8]).max() < 0.03
    mass = np.nansum(maps.column_density.value, axis=(1, 2)) * 0.05**2 / column_of(1, 1)
    np.testing.assert_allclose(mass, block.mass.sum(), rtol=1e-6)


@pytest.mark.parametrize(("axis", "first", "second"), [("x", 1, 2), ("y", 0, 2), ("z", 0, 1)])
def test_shear_flow_and_orientation(uniform_block, snapshot_of, axis, first, second):
    """A map's first index runs along the first of the two remaining axes, in the order x, y, z."""
    sight = "xyz".index(axis)

    def flow(position):
        velocity = np.zeros_like(position)
        velocity[:, sight] = 3 * position[:, first] - 5 * position[:, second]
        return velocity

    maps = project(snapshot_of(uniform_block(32, velocity=flow), stars=CENTRE), width="1 pc", pixels=8, axes=axis)
    offset = 2 + (np.arange(8) - 3.5) / 8
    np.testing.assert_allclose(maps.velocity.value[0], 3 * offset[:, None] - 5 * offset, rtol=1e-6)
    np.testing.assert_allclose(maps.velocity_dispersion.value, 0, atol=1e-6)


def test_shear_flow_from_any_side(uniform_block, snapshot_of):
    """A velocity gradient G makes the mean velocity n.G.x at the middle of the line of sight."""
    gradient = np.array([[0, 3, 0], [0, 0, -5], [2, 0, 0]])
    block = uniform_block(40, velocity=lambda position: position @ gradient.T)
    maps = project(snapshot_of(block, stars=CENTRE), width="1 pc", pixels=4, directions=4)
    for frame, velocity in zip(direction_frames(4, seed=0), maps.velocity.value, strict=True):
        offset = (np.arange(4) - 1.5) / 4
        place = 2 + offset[:, None, None] * frame[0] + offset[:, None] * frame[1]
        np.testing.assert_allclose(velocity, place @ gradient.T @ frame[2], atol=0.02)


@pytest.mark.parametrize("common", [0.0, 1e3])
def test_hubble_flow(uniform_block, snapshot_of, common):
    """Velocity H r: dispersion H D / sqrt(12) along a depth D, less what cells of one velocity cannot resolve."""
    block = uniform_block(32, velocity=lambda position: 0.04 * (position - 2) + common)
    maps = project(snapshot_of(block, stars=CENTRE), width="1 pc", depth="2 pc", pixels=8)
    expected = 0.04 * np.sqrt((4 - (BOX / 32) ** 2) / 12)
    np.testing.assert_allclose(maps.velocity_dispersion.value, expected, rtol=1e-6)
    np.testing.assert_allclose(maps.velocity.value, common, atol=1e-6 + 1e-7 * common)
    oblique = project(snapshot_of(block, stars=CENTRE), width="1 pc", depth="2 pc", pixels=8, directions=2)
    np.testing.assert_allclose(oblique.velocity_dispersion.value, expected, rtol=0.01)
    assert np.ptp(project(snapshot_of(block, stars=CENTRE), axes="x", thermal=True).velocity_dispersion.value) < 1e-6


def test_thermal_part_is_added_in_quadrature(random_block, snapshot_of):
    block = replace(random_block(), thermal=np.full(len(random_block()), 0.2))
    cold = project(snapshot_of(block), pixels=16)
    warm = project(snapshot_of(block), pixels=16, thermal=True)
    expected = np.hypot(cold.velocity_dispersion.value, 0.2)
    np.testing.assert_allclose(warm.velocity_dispersion.value, expected, rtol=1e-6)
    same(warm, replace(cold, velocity_dispersion=warm.velocity_dispersion), rtol=0)


@pytest.mark.parametrize("kind", ["cells", "particles"])
@pytest.mark.parametrize("sight", SIGHTS, ids=str)
def test_a_periodic_box_has_no_border(random_block, snapshot_of, kind, sight):
    block = random_block()
    shift = np.array([0.25, -1.0, 3.0])
    moved = replace(block, position=(block.position + shift) % BOX)
    stars = np.array([(0.2, 3.8, 1.1), (3.7, 0.9, 0.1)])
    options = {"width": "1.1 pc", "pixels": 11, **sight}
    here = project(snapshot_of(block, kind=kind, stars=stars), **options)
    there = project(snapshot_of(moved, kind=kind, stars=(stars + shift) % BOX), **options)
    same(here, there, rtol=1e-5, atol=1e-5)


def test_a_window_as_wide_as_the_box_holds_all_of_it(random_block, snapshot_of):
    """Particles at the border come in from both sides."""
    for kind in ("cells", "particles"):
        maps = project(snapshot_of(random_block(), kind=kind), width="4 pc", pixels=8)
        mass = maps.column_density.value.sum(axis=(1, 2), dtype=float) * 0.5**2 / column_of(1, 1)
        np.testing.assert_allclose(mass, random_block().mass.sum(), rtol=1e-6)


@pytest.mark.parametrize("kind", ["cells", "particles"])
def test_neither_threads_nor_blocks_change_a_bit(random_block, snapshot_of, kind):
    block, options = random_block(), {"width": "1 pc", "pixels": 16, "directions": 2}
    once = project(snapshot_of(block, kind=kind), threads=1, **options)
    again = project(snapshot_of(block, kind=kind, block_size=37), threads=3, **options)
    same(once, again, rtol=0)


def test_many_pairs_are_taken_in_parts(random_block, snapshot_of, monkeypatch):
    from stellarfm.simulations.deposition import neighbor_search

    once = project(snapshot_of(random_block()), pixels=8)
    monkeypatch.setattr(neighbor_search, "_CHUNK", 50)
    monkeypatch.setattr(neighbor_search, "_MOST_PAIRS", 10)
    same(once, project(snapshot_of(random_block()), pixels=8), rtol=0)


@pytest.mark.parametrize("pixels", [7, 8])
def test_snapped_windows(snapshot_of, random_block, pixels):
    """The star's cell is number pixels // 2 of either axis, and of the depth."""
    place = np.array((1.17, 3.93, 0.02))
    width = BOX / 64 * pixels
    snapped = project(snapshot_of(random_block(), stars=[place]), width=width * u.pc, pixels=pixels, snap=True)
    cell = np.floor(place * 16)
    center = (cell - pixels // 2 + pixels / 2) / 16 % BOX
    exact = project(
        snapshot_of(random_block()), positions=[center] * u.pc, width=width * u.pc, pixels=pixels, snap=False
    )
    same(snapped, exact, rtol=1e-6, atol=1e-6)
    assert snapped.pixel_scale.value == pytest.approx(BOX / 64)


def test_snapping_rounds_to_a_whole_number_of_pixels_in_the_box(snapshot_of, uniform_block):
    maps = project(snapshot_of(uniform_block()), width="0.51 pc", pixels=8, depth="0.3 pc", snap=True)
    assert maps.pixel_scale.value == pytest.approx(BOX / 63)
    assert maps.depth.value == pytest.approx(4 * BOX / 63)
    with pytest.raises(ValueError, match="oblique"):
        project(snapshot_of(uniform_block()), directions=2, snap=True)
