import numpy as np
import pytest
import torch

from stellarfm.fractals import FlameMap, Genome, sample_genome
from stellarfm.fractals.acceptance import MINIMUM_CONTRAST, Costs, contrast, coverage, stages
from stellarfm.fractals.candidate_search import try_frame
from stellarfm.fractals.rendering import FIXED_WINDOW, compile_genome, render


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
    program = compile_genome(genome)
    return try_frame(program, FIXED_WINDOW, size=64, points=60_000, threshold=threshold).histogram


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


def test_cheap_tests_come_first_and_have_as_many_points_a_pixel():
    *cheap, full = stages(size=336, points=1_000_000, threshold=0.8)
    assert full == (336, 1_000_000, 0.8)
    assert [stage.size for stage in cheap] == [42, 84]
    for stage in cheap:
        assert stage.points / stage.size**2 == pytest.approx(1_000_000 / 336**2, rel=1e-3)
        assert 0.8 <= stage.coverage < 1
        assert stage.work < 0.1 * full.work


def test_tests_that_would_be_burn_in_above_all_are_left_out():
    for size, expected in ((32, [32]), (64, [24, 64]), (96, [24, 96]), (336, [42, 84, 336])):
        assert [stage.size for stage in stages(size=size, points=15 * size**2, threshold=0.8)] == expected


def test_tests_have_points_that_pay_for_the_burn_in():
    for size in (48, 64, 96, 128, 336):
        *cheap, _ = stages(size=size, points=15 * size**2, threshold=0.8)
        assert all(stage.points >= 8192 and stage.work < 1.7 * stage.points for stage in cheap)


def test_work_is_points_and_burn_in():
    assert stages(size=64, points=60_000, threshold=0.8)[-1].work == pytest.approx(60_000 * 1.09, rel=0.01)


def test_a_threshold_of_one_asks_no_more_of_the_cheap_tests():
    assert {stage.coverage for stage in stages(size=64, points=60_000, threshold=1.0)} == {1.0}


def test_the_smallest_frame_has_stages_too():
    assert stages(size=1, points=1, threshold=0.5) == [(1, 1, 0.5)]


def test_refusing_early_is_cheap():
    point = FlameMap(affine=(0.0, 0.0, 0.1, 0.0, 0.0, 0.1))
    program = compile_genome(Genome(maps=(point, point)))
    trial = try_frame(program, FIXED_WINDOW, size=336, points=1_000_000, threshold=0.8)
    assert trial.histogram is None
    assert trial.work < 0.03 * stages(size=336, points=1_000_000, threshold=0.8)[-1].work


def test_without_color_there_are_only_counts():
    program = compile_genome(sample_genome("flames", seed=0, index=0))
    full = try_frame(program, FIXED_WINDOW, size=32, points=15_000, threshold=0.0)
    bare = try_frame(program, FIXED_WINDOW, size=32, points=15_000, threshold=0.0, color=False)
    assert bare.histogram.shape == (32, 32, 1)
    np.testing.assert_array_equal(bare.histogram[..., 0], full.histogram[..., 0])


def test_the_cheap_tests_rarely_refuse_what_the_full_one_accepts():
    lost, costs = 0, Costs()
    full = stages(size=64, points=60_000, threshold=0.8)[-1]
    for index in range(200):
        program = compile_genome(sample_genome("flames", seed=0, index=index))
        counts = render(program, FIXED_WINDOW, size=64, points=60_000)[..., 0]
        trial = try_frame(program, FIXED_WINDOW, size=64, points=60_000, threshold=0.8)
        costs.candidates += 1
        costs.renders += trial.work / full.work
        costs.images += trial.histogram is not None
        lost += trial.histogram is None and coverage(counts) >= 0.8 and contrast(counts) >= MINIMUM_CONTRAST
    assert costs.images > 50
    assert lost <= 0.05 * costs.images
    assert costs.renders / costs.images < 1.8


def test_costs_are_told_in_words():
    costs = Costs()
    costs.add(candidates=3, renders=1.5)
    costs.add(candidates=1, renders=1.1)
    assert str(costs) == "2 of 4 candidates accepted (50%), 1.30 renders per image"


@pytest.mark.parametrize("measure", [coverage, contrast])
def test_a_batch_of_tensors_is_measured_like_its_images(measure):
    counts = np.random.default_rng(2).poisson(0.7, (3, 18, 18))
    found = measure(torch.from_numpy(counts))
    np.testing.assert_allclose(found.numpy(), [measure(image) for image in counts], rtol=1e-6)
