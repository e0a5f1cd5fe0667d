import hashlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from stellarfm.exceptions import FractalError
from stellarfm.fractals import FlameMap, Genome, Transform, sample_genome
from stellarfm.fractals.rendering import FIXED_WINDOW, Window, choose_window, compile_genome, cpu, orbit, render

UNIT = Window(0.0, 0.0, 1.0)


def contraction(scale, x, y, **fields):
    return FlameMap(affine=(scale, 0.0, (1 - scale) * x, 0.0, scale, (1 - scale) * y), **fields)


def programme(*maps, final=None):
    return compile_genome(Genome(maps=maps, final=final))


SIERPINSKI = programme(contraction(0.5, 0, 0), contraction(0.5, 1, 0), contraction(0.5, 0, 1))
# Made of operations that every IEEE machine rounds alike: the counts are the same everywhere, for ever.
KEPT = Genome(
    maps=(
        FlameMap(affine=(0.6, -0.4, 0.3, 0.5, 0.5, -0.2), variations=(("spherical", 0.4), ("linear", 0.6)), color=0.0),
        FlameMap(
            affine=(-0.7, 0.2, 0.1, 0.3, 0.8, 0.4),
            variations=(("heart", 0.7), ("bubble", 0.3)),
            probability=0.7,
            color=0.5,
        ),
        FlameMap(affine=(0.9, 0.1, -0.5, -0.2, 0.6, 0.3), variations=(("julia", 0.8),), color=1.0),
    ),
    final=Transform(affine=(1.1, 0.0, 0.1, 0.0, 1.1, 0.0), variations=(("swirl", 0.9),)),
)
KEPT_HASH = "d44c699967328456a7c62c8f83f30a4177c04b8a55a79d1c4300a9556d626934"


def test_a_genome_from_json_renders_to_the_same_counts_for_ever():
    program = compile_genome(Genome.from_json(KEPT.to_json()))
    histogram = render(program, FIXED_WINDOW, size=48, points=20_000)
    assert histogram.dtype == np.int64
    assert hashlib.sha256(histogram.astype("<i8").tobytes()).hexdigest() == KEPT_HASH


def test_sierpinski_points_lie_on_the_attractor():
    """Below the attractor's scale of 2^-10, x and y in binary have no digit 1 in common."""
    points = orbit(SIERPINSKI, 5000)
    digits = np.floor(points * 2**10).astype(int)
    assert (digits[:, 0] & digits[:, 1] == 0).all()


def test_sierpinski_counts_are_even_and_leave_the_middle_empty():
    n_points = 90_000
    counts = render(SIERPINSKI, UNIT, size=2, points=n_points)[..., 0]
    assert counts[1, 1] == 0
    np.testing.assert_allclose(counts[[0, 0, 1], [0, 1, 0]], n_points / 3, rtol=0.02)
    assert counts.sum() == n_points


def test_equal_contractions_converge_to_their_fixed_point():
    points = orbit(programme(contraction(0.2, 0.3, -0.6), contraction(0.2, 0.3, -0.6)), 100)
    np.testing.assert_allclose(points, np.tile([0.3, -0.6], (100, 1)), atol=1e-12)


def test_probabilities_are_followed():
    left, right = contraction(0.0, 0.25, 0.5, probability=3.0), contraction(0.0, 0.75, 0.5, probability=1.0)
    counts = render(programme(left, right), UNIT, size=2, points=100_000)[1, :, 0]
    np.testing.assert_allclose(counts, [75_000, 25_000], rtol=0.02)


def test_color_moves_half_way_to_that_of_the_map():
    program = programme(contraction(0.0, 0.25, 0.5, color=0.0), contraction(0.0, 0.75, 0.5, color=1.0))
    n, total, square = np.moveaxis(render(program, UNIT, size=2, points=100_000)[1], -1, 0)
    mean = total / n / 4095
    np.testing.assert_allclose(mean, [0.25, 0.75], atol=0.01)
    # uniform in [0, 1/2] and [1/2, 1]: the binary digits of the color are the maps taken
    np.testing.assert_allclose(np.sqrt(square / n / 4095**2 - mean**2), 0.5 / np.sqrt(12), rtol=0.02)


def test_the_final_map_moves_what_is_drawn():
    shift = Transform(affine=(1.0, 0.0, 2.0, 0.0, 1.0, -3.0))
    maps = (contraction(0.5, 0, 0), contraction(0.5, 1, 0), contraction(0.5, 0, 1))
    moved = orbit(SIERPINSKI, 500) + np.array([2.0, -3.0])
    np.testing.assert_allclose(orbit(programme(*maps, final=shift), 500), moved)


def test_a_post_map_acts_after_the_variations():
    flip = (0.0, 1.0, 0.0, 1.0, 0.0, 0.5)
    maps = [FlameMap(affine=(0, 0, 0.2, 0, 0, 0.1), post=flip)] * 2
    np.testing.assert_allclose(orbit(programme(*maps), 3), np.tile([0.1, 0.7], (3, 1)))


def test_divergence_is_started_again_and_drawn_nowhere():
    maps = [
        FlameMap(affine=(1e6, 0, 1, 0, 1e6, 1)),
        FlameMap(affine=(0, 0, 0, 0, 0, 0), variations=(("spherical", 1.0),)),
    ]
    histogram = render(programme(*maps), FIXED_WINDOW, size=16, points=20_000)
    assert histogram[..., 0].sum() == 0
    points = orbit(programme(*maps), 1000)
    assert not np.isinf(points).any()


def test_counts_do_not_depend_on_threads():
    programs = [compile_genome(sample_genome("flames", seed=1, index=i)) for i in range(8)]

    def play(program):
        return render(program, FIXED_WINDOW, size=32, points=5000)

    with ThreadPoolExecutor(4) as pool:
        threaded = list(pool.map(play, programs))
    np.testing.assert_array_equal(threaded, [play(program) for program in programs])


def test_seeds_are_independent_samples_of_one_picture():
    one, two = (render(SIERPINSKI, UNIT, size=8, points=50_000, seed=seed)[..., 0] for seed in (0, 1))
    assert (one != two).any()
    np.testing.assert_allclose(one, two, atol=6 * np.sqrt(one.max()))


def test_windows():
    box = choose_window(SIERPINSKI, "box")
    np.testing.assert_allclose(box, UNIT, atol=0.01)
    inner = choose_window(SIERPINSKI, "quantile", quantile=0.1)
    assert inner.side < box.side
    assert choose_window(SIERPINSKI, "fixed") == FIXED_WINDOW
    with pytest.raises(FractalError, match="unknown window 'round'; the windows are fixed, quantile, box"):
        choose_window(SIERPINSKI, "round")


def test_the_box_of_one_point_is_not_empty():
    point = programme(contraction(0.0, 0.5, 0.5), contraction(0.0, 0.5, 0.5))
    window = choose_window(point, "box")
    assert window.side > 0
    assert render(point, window, size=8, points=100)[..., 0].sum() == 100


@pytest.mark.parametrize(("size", "points"), [(0, 10), (8, 0), (8, -1)])
def test_no_size_or_no_points(size, points):
    with pytest.raises(FractalError, match="at least 1"):
        render(SIERPINSKI, UNIT, size=size, points=points)


@pytest.mark.parametrize("window", [(np.nan, 0, 1), (0, 0, 0), (0, 0, -1), (0, np.inf, 1), (0, 0, 1e-60), (1e60, 0, 1)])
def test_a_window_that_is_not_a_square(window):
    with pytest.raises(FractalError, match="window"):
        render(SIERPINSKI, Window(*window), size=8, points=100)


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_a_seed_of_more_than_64_bits(seed):
    with pytest.raises(FractalError, match="seed is"):
        render(SIERPINSKI, UNIT, size=8, points=100, seed=seed)


@pytest.mark.parametrize("points", [1, 255, 257, 5000, 70_000, 131_073])
def test_as_many_points_are_drawn_as_asked_for(points):
    assert render(SIERPINSKI, UNIT, size=1, points=points)[0, 0, 0] == points


def test_without_color_the_counts_are_the_same():
    program = compile_genome(sample_genome("flames", seed=1, index=3))
    counts = render(program, FIXED_WINDOW, size=32, points=70_000, color=False)
    assert counts.shape == (32, 32, 1)
    np.testing.assert_array_equal(counts, render(program, FIXED_WINDOW, size=32, points=70_000)[..., :1])


def test_packed_sums_do_not_overflow(monkeypatch):
    """All points in one pixel, of the highest color; sums are unpacked after each ensemble or at the end."""
    program = programme(*[contraction(0.0, 0.5, 0.5, color=1.0)] * 2)
    whole = render(program, UNIT, size=1, points=300_000)
    np.testing.assert_array_equal(whole[0, 0], 300_000 * np.array([1, 4095, 4095**2]))
    monkeypatch.setattr(cpu, "PACKED_ENSEMBLES", 1)
    np.testing.assert_array_equal(render(program, UNIT, size=1, points=300_000), whole)


def test_walkers_that_escape_come_back():
    """One map in ten throws a point away; the rest of the time the orbit is on the left half."""
    away = FlameMap(affine=(1e20, 0, 1e20, 0, 1e20, 1e20), probability=1.0)
    histogram = render(programme(contraction(0.5, 0.2, 0.5, probability=99.0), away), UNIT, size=2, points=200_000)
    assert histogram[:, 1, 0].sum() == 0
    share = histogram[..., 0].sum() / 200_000
    assert 0.7 < share < 0.9  # a visit to the burn-in of 20 steps every hundred
