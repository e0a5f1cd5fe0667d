import numpy as np
import pytest
import torch

from stellarfm.fractals import sample_genome
from stellarfm.fractals.rendering import FIXED_WINDOW, compile_genome, render
from stellarfm.fractals.rendering.chaos_game import COLOR_LEVELS
from stellarfm.fractals.tone_mapping import COLORS, log_density, moments, needs_color, smooth, tone


@pytest.fixture(scope="module")
def histogram():
    return render(compile_genome(sample_genome("flames", seed=0, index=3)), FIXED_WINDOW, size=64, points=60_000)


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("color", COLORS)
def test_images_are_float32_in_the_unit_interval(histogram, color, channels):
    image = tone(histogram, channels=channels, color=color, gamma=1.0)
    assert image.shape == (channels, 64, 64)
    assert image.dtype == np.float32
    assert image.min() >= 0
    assert image.max() <= 1


@pytest.mark.parametrize("color", COLORS)
def test_an_empty_histogram_makes_a_finite_image(color):
    assert np.isfinite(tone(np.zeros((16, 16, 3), np.int64), channels=3, color=color, gamma=1.0)).all()


def test_the_three_moments_differ(histogram):
    density, mean, deviation = tone(histogram, channels=3, color="moments", gamma=1.0)
    for one, other in [(density, mean), (mean, deviation), (density, deviation)]:
        assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.95


def test_moments_of_full_pixels_are_those_of_their_points():
    q = np.random.default_rng(0).integers(0, COLOR_LEVELS, (4, 4, 20_000))
    histogram = np.stack([np.full((4, 4), q.shape[-1]), q.sum(-1), (q**2).sum(-1)], axis=-1)
    mean, deviation = moments(histogram)
    np.testing.assert_allclose(mean, (q / (COLOR_LEVELS - 1)).mean(-1), atol=1e-3)
    np.testing.assert_allclose(deviation, (q / (COLOR_LEVELS - 1)).std(-1), atol=1e-3)


def test_smoothing_leaves_full_pixels_and_a_uniform_image_alone():
    full = np.full((8, 8, 3), 10_000)
    full[4, 4] = 50_000
    np.testing.assert_allclose(smooth(full), full, rtol=0.01)
    np.testing.assert_allclose(smooth(np.full((8, 8, 3), 2)), 2.0)


def test_gamma_brightens():
    counts = np.arange(64.0).reshape(8, 8)
    assert log_density(counts, gamma=2.0).mean() > log_density(counts, gamma=1.0).mean()


@pytest.mark.parametrize("gamma", [1.0, 2.2])
@pytest.mark.parametrize("color", COLORS)
def test_a_batch_of_tensors_is_toned_like_its_images(histogram, color, gamma):
    batch = np.stack([histogram, histogram.transpose(1, 0, 2) * 3, np.zeros_like(histogram)])
    found = tone(torch.from_numpy(batch), channels=3, color=color, gamma=gamma)
    assert found.dtype == torch.float32
    expected = [tone(image, channels=3, color=color, gamma=gamma) for image in batch]
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("color", COLORS)
def test_what_needs_no_color_is_the_same_without(histogram, color, channels):
    if not needs_color(color, channels=channels):
        bare = histogram * np.array([1, 0, 0])
        np.testing.assert_array_equal(
            tone(bare, channels=channels, color=color, gamma=1.0),
            tone(histogram, channels=channels, color=color, gamma=1.0),
        )
