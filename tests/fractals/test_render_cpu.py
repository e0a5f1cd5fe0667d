import hashlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from stellarfm.exceptions import FractalError
from stellarfm.fractals import FlameMap, Genome, Transform, sample_genome
from stellarfm.fractals.render_cpu import FIXED_WINDOW, Window, choose_window, compile_genome, orbit, render

UNIT = Window(0.0, 0.0, 1.0)


def contraction(scale, x, y, **fields):
    return FlameMap(affine=(scale, 0.0, (1 - scale) * x, 0.0, scale, (1 - scale) * y), **fields)


def programme(*maps, final=None):
    return compile_genome(Genome(maps=maps, final=final))


SIERPINSKI = programme(contraction(0.5, 0, 0), contraction(0.5, 1, 0), contraction(0.5, 0, 1))
# No sine, logarithm or power: what is left (+ - * / and the square root) is rounded alike by every IEEE machine, so the
# counts are the same everywhere. With sines, two libraries may differ in the last bit, and chaos does the rest.
EXACT = Genome(
    maps=(
        FlameMap(affine=(0.6, -0.4, 0.3, 0.5, 0.5, -0.2), variations=(("spherical", 0.4), ("linear", 0.6)), colour=0.0),
        FlameMap(affine=(-0.7, 0.2, 0.1, 0.3, 0.8, 0.4), variations=(("bubble", 1.0),), probability=0.7, colour=0.5),
        FlameMap(affine=(0.9, 0.1, -0.5, -0.2, 0.6, 0.3), variations=(("julia", 0.8),), colour=1.0),
    ),
    final=Transform(affine=(1.1, 0.0, 0.1, 0.0, 1.1, 0.0), variations=(("eyefish", 0.9),)),
)
EXACT_HASH = "ca4b24cfe79e3a9649ab6b13ca73fd1ba4bf1215766742a0c6ce3cacc5fd1ac6"


def test_a_genome_from_json_renders_to_the_same_counts_for_ever():
    program = compile_genome(Genome.from_json(EXACT.to_json()))
    histogram = render(program, FIXED_WINDOW, size=48, points=20_000)
    assert histogram.dtype == np.int64
    assert hashlib.sha256(histogram.astype("<i8").tobytes()).hexdigest() == EXACT_HASH


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


def test_colour_moves_half_way_to_that_of_the_map():
    program = programme(contraction(0.0, 0.25, 0.5, colour=0.0), contraction(0.0, 0.75, 0.5, colour=1.0))
    n, total, square = np.moveaxis(render(program, UNIT, size=2, points=100_000)[1], -1, 0)
    mean = total / n / 4095
    np.testing.assert_allclose(mean, [0.25, 0.75], atol=0.01)
    # uniform in [0, 1/2] and [1/2, 1]: the binary digits of the colour are the maps taken
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
