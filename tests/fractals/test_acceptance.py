import numpy as np

from stellarfm.fractals import FlameMap, Genome, sample_genome
from stellarfm.fractals.acceptance import MINIMUM_CONTRAST, accepted_histogram, contrast, coverage
from stellarfm.fractals.render_cpu import FIXED_WINDOW, compile_genome, render


def quarter(x, y):
    return FlameMap(affine=(0.5, 0.0, x, 0.0, 0.5, y))


#: Four half-size copies tile [-1, 1]^2: a full and perfectly flat frame.
FLAT = Genome(maps=tuple(quarter(x, y) for x in (-0.5, 0.5) for y in (-0.5, 0.5)))


def test_coverage_counts_touched_pixels():
    assert coverage(np.array([[0, 3], [1, 0]])) == 0.5


def test_contrast_tells_noise_from_structure():
    noise = np.random.default_rng(0).poisson(15, (64, 64))
    assert contrast(noise) < 0.1
    ramp = noise * np.exp(np.linspace(0, 4, 64)).astype(int)
    assert contrast(ramp) > 2 * MINIMUM_CONTRAST


def test_contrast_of_a_size_that_is_no_multiple_of_four():
    assert contrast(np.full((10, 10), 7)) == 0


def accept(genome, threshold=0.8):
    return accepted_histogram(compile_genome(genome), FIXED_WINDOW, size=64, points=60_000, threshold=threshold)


def test_a_full_but_flat_frame_is_refused():
    counts = render(compile_genome(FLAT), FIXED_WINDOW, size=64, points=60_000)[..., 0]
    assert coverage(counts) > 0.99
    assert accept(FLAT) is None


def test_an_empty_frame_is_refused():
    point = FlameMap(affine=(0.0, 0.0, 0.1, 0.0, 0.0, 0.1))
    assert accept(Genome(maps=(point, point))) is None


def test_what_is_accepted_is_covered_and_is_what_render_gives():
    for attempt in range(100):
        genome = sample_genome("flames", seed=0, index=0, attempt=attempt)
        histogram = accept(genome)
        if histogram is not None:
            break
    assert coverage(histogram[..., 0]) >= 0.8
    np.testing.assert_array_equal(histogram, render(compile_genome(genome), FIXED_WINDOW, size=64, points=60_000))


def test_the_coarse_test_rarely_refuses_what_the_full_one_accepts():
    lost = kept = 0
    for index in range(60):
        genome = sample_genome("flames", seed=11, index=index)
        counts = render(compile_genome(genome), FIXED_WINDOW, size=64, points=60_000)[..., 0]
        if coverage(counts) >= 0.8 and contrast(counts) >= MINIMUM_CONTRAST:
            kept += 1
            lost += accept(genome) is None
    assert kept > 5
    assert lost <= 0.1 * kept
