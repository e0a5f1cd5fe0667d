"""Where the mass of one element lands, against sums over many points of it."""

import numpy as np
import pytest

from stellarfm.simulations.deposition.cell import aligned_cube, oblique_cube
from stellarfm.simulations.deposition.cell_edges import cube_by_edges, edges_of, is_general
from stellarfm.simulations.deposition.cell_faces import MOST_VERTICES, N_POLYGONS, cube_by_faces
from stellarfm.simulations.deposition.footprint import shadow
from stellarfm.simulations.deposition.sph_kernel import kernel_tables, particle
from stellarfm.simulations.lines_of_sight import direction_frames

N = 12
WORKSPACE = np.empty((N_POLYGONS, MOST_VERTICES, 3))
TILTED = [(1.0, tilt, tilt / 3) for tilt in (1e-15, 1e-12, 1e-9, 1e-6, 1e-3)]
DIRECTIONS = [(1, 2, 3), (-1, 0.3, 0.2), (1, 1, 1), (0, 1, 1), (1, 1, 1e-7), *TILTED]


def full(footprint, *arguments, n=N):
    """The whole map of an element; what is not said to be filled is not taken."""
    fraction = np.full((n, n), np.nan)
    i0, i1, j0, j1 = footprint(fraction, np.empty(n + 1), *arguments)
    result = np.zeros((n, n))
    result[i0:i1, j0:j1] = fraction[i0:i1, j0:j1]
    return result


def cube_map(frame, *place):
    return full(oblique_cube, WORKSPACE, *place, frame, edges_of(frame))


def particle_map(*place, n=N):
    return full(particle, *place, *kernel_tables(), n=n)


def stratified(n=100):
    """Points of the cube [-1, 1]^3, one at a random place in each n-th of its sides."""
    corner = np.stack(np.meshgrid(*3 * [np.arange(n)]), axis=-1).reshape(-1, 3)
    return 2 * (corner + np.random.default_rng(0).random(corner.shape)) / n - 1


def histogram(points, half_depth, weight):
    keep = np.abs(points[:, 2]) < half_depth
    return np.histogramdd(points[keep, :2], bins=2 * [np.arange(N + 1)], weights=weight[keep])[0]


def sampled_cube(frame, x, y, depth, half, half_depth):
    points = stratified()
    return histogram(half * points @ frame.T + (x, y, depth), half_depth, np.full(len(points), 1 / len(points)))


@pytest.mark.parametrize("direction", DIRECTIONS, ids=str)
@pytest.mark.parametrize("half", [1e-3, 0.4, 1.7])
def test_a_cell_inside_the_window_lands_there_whole(direction, half):
    frame = direction_frames([direction], seed=0)[0]
    for x, y in ((5.0, 6.0), (4.321, 6.789), (5.5, 5.5)):
        result = cube_map(frame, x, y, 0.3, half, 50.0)
        assert np.all(result >= 0)
        assert result.sum() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("direction", [(1, 2, 3), (-1, 0.3, 0.2), (0, 1, 1), (1, 1, 1e-7)], ids=str)
@pytest.mark.parametrize(
    ("x", "y", "depth", "half_depth"),
    [(5.3, 6.1, 0.2, 50.0), (0.4, 11.5, 0.0, 50.0), (5.3, 6.1, 2.3, 2.0), (5.3, 6.1, -0.1, 0.7), (6.0, 0.2, -1.5, 2.0)],
)
def test_a_cell_is_cut_as_many_points_of_it_are(direction, x, y, depth, half_depth):
    frame = direction_frames([direction], seed=0)[0]
    exact = cube_map(frame, x, y, depth, 1.7, half_depth)
    np.testing.assert_allclose(exact, sampled_cube(frame, x, y, depth, 1.7, half_depth), atol=3e-4)


@pytest.mark.parametrize("axis", range(3))
def test_oblique_and_aligned_cells_agree_along_the_axes(axis):
    frame = direction_frames(np.eye(3)[[axis]], seed=0)[0]
    for place in ((5.3, 6.1, 0.2), (-0.3, 6.0, 2.5), (11.9, 0.0, -3.9)):
        aligned = full(aligned_cube, *place, 1.3, 3.0)
        np.testing.assert_allclose(cube_map(frame, *place, 1.3, 3.0), aligned, atol=1e-14)


@pytest.mark.parametrize("seed", range(20))
def test_edges_and_faces_agree(seed):
    """Two ways to one map; random cells, some over the border of the window."""
    rng = np.random.default_rng(seed)
    frame = next(frame for frame in direction_frames(50, seed=seed) if is_general(frame))
    x, y, half = rng.uniform(0, N), rng.uniform(0, N), 10 ** rng.uniform(-2, 1)
    one, two = np.empty((2, N, N))
    cube_by_edges(one, np.empty(N + 1), 0, N, 0, N, x, y, half, edges_of(frame), shadow(frame, 1))
    cube_by_faces(two, WORKSPACE, 0, N, 0, N, x, y, half, frame, -2 * half, 2 * half)
    np.testing.assert_allclose(one, two, atol=1e-12)
    assert one.any()


def test_most_directions_are_general():
    """Edges are ten times as fast as faces: near-edge-on faces must be rare, and are taken by faces."""
    general = [is_general(frame) for frame in direction_frames(2000, seed=0)]
    assert np.mean(general) > 0.95
    assert not is_general(np.eye(3))


def test_the_depth_of_windows_cuts_cells_without_loss():
    """Slabs that tile the line of sight hold a cell together."""
    frame = direction_frames([(3, -2, 1)], seed=0)[0]
    slabs = [cube_map(frame, 5.3, 6.1, 0.3 - middle, 1.7, 0.5) for middle in np.arange(-5.0, 6.0)]
    np.testing.assert_allclose(sum(slabs), cube_map(frame, 5.3, 6.1, 0.3, 1.7, 50.0), atol=1e-14)
    assert sum(slab.any() for slab in slabs) > 3


def test_cells_elsewhere_land_nowhere():
    frame = direction_frames([(1, 2, 3)], seed=0)[0]
    for x, y, depth in ((-3.0, 5.0, 0.0), (5.0, 15.0, 0.0), (5.0, 5.0, 9.0), (5.0, 5.0, -9.0)):
        assert not cube_map(frame, x, y, depth, 1.0, 5.0).any()


def cubic_spline(q):
    """Written out anew, from Monaghan & Lattanzio (1985), with support 1."""
    return 8 / np.pi * np.where(q < 0.5, 1 - 6 * q**2 + 6 * q**3, np.where(q < 1, 2 * np.clip(1 - q, 0, None) ** 3, 0))


def sampled_particle(x, y, depth, radius, half_depth):
    points = stratified()
    weight = 8 / len(points) * cubic_spline(np.linalg.norm(points, axis=1))
    return histogram(radius * points + (x, y, depth), half_depth, weight)


@pytest.mark.parametrize("radius", [1e-4, 0.3, 1.0, 2.7, 5.0])
def test_a_particle_inside_the_window_lands_there_whole(radius):
    for x, y in ((6.0, 6.0), (5.5, 5.5), (6.123, 5.987)):
        result = particle_map(x, y, 0.0, radius, 50.0)
        assert np.all(result >= 0)
        assert result.sum() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize(("x", "y", "radius"), [(6.0, 6.0, 5.0), (5.3, 6.4, 2.7), (0.2, 11.0, 3.1), (6.5, 6.2, 0.6)])
def test_a_particle_is_spread_as_its_kernel(x, y, radius):
    np.testing.assert_allclose(
        particle_map(x, y, 0.0, radius, 50.0), sampled_particle(x, y, 0.0, radius, 50.0), atol=1e-3
    )


@pytest.mark.parametrize("depth", [-3.0, -1.5, 0.4, 2.9])
def test_the_part_of_a_particle_inside_the_depth_is_exact(depth):
    result = particle_map(6.0, 6.0, depth, 2.0, 2.0)
    assert result.sum() == pytest.approx(sampled_particle(6.0, 6.0, depth, 2.0, 2.0).sum(), abs=1e-3)
    rest = particle_map(6.0, 6.0, depth - 4, 2.0, 2.0) + particle_map(6.0, 6.0, depth + 4, 2.0, 2.0)
    assert (result + rest).sum() == pytest.approx(1, abs=1e-12)


def test_the_table_is_fine_enough():
    """Pixels a third of the kernel wide: the table's steps of 1 / 256 stay below 1e-4 of the mass."""
    edges = np.linspace(-1, 1, 7)
    node, weight = np.polynomial.legendre.leggauss(24)
    x = (edges[1:, None] + edges[:-1, None]) / 2 + node / 6
    z = np.linspace(-1, 1, 401)
    kernel = cubic_spline(np.sqrt(x.ravel()[:, None, None] ** 2 + x.ravel()[None, :, None] ** 2 + z**2))
    plane = np.trapezoid(kernel, z, axis=2).reshape(6, 24, 6, 24)
    exact = np.einsum("iajb,a,b->ij", plane, weight / 6, weight / 6)
    fraction = particle_map(3.0, 3.0, 0.0, 3.0, 50.0, n=6)
    np.testing.assert_allclose(fraction, exact, atol=1e-4)
    assert kernel_tables()[0][-1, -1] == 0.25
