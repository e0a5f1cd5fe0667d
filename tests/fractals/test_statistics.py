"""The pictures are those of a plain chaos game: one written here, in numpy, with independent walkers and 64 bits."""

import numpy as np
import pytest

from stellarfm.fractals import FlameMap, Genome, Transform
from stellarfm.fractals.rendering import FIXED_WINDOW, compile_genome, render
from stellarfm.fractals.rendering.chaos_game import COLOR_LEVELS

SIZE = 48


def sinusoidal(x, y):
    return np.sin(x), np.sin(y)


def swirl(x, y):
    square = x**2 + y**2
    return x * np.sin(square) - y * np.cos(square), x * np.cos(square) + y * np.sin(square)


def bubble(x, y):
    factor = 4 / (x**2 + y**2 + 4)
    return factor * x, factor * y


def affine(numbers, x, y):
    a, b, c, d, e, f = numbers
    return a * x + b * y + c, d * x + e * y + f


#: Shares are multiples of 1 / 4096, as in the table of choices; unequal, so that groups of eight cannot hit them.
GENOME = Genome(
    maps=(
        FlameMap(affine=(0.5, 0.2, 0.4, -0.2, 0.5, 0.3), variations=(("swirl", 1.0),), probability=1800, color=0.0),
        FlameMap(affine=(0.6, -0.1, -0.4, 0.2, 0.5, 0.3), probability=1200, color=0.2, post=(0, 1, 0.1, -1, 0, 0.2)),
        FlameMap(affine=(0.9, 0.3, 0.2, -0.3, 0.6, -0.4), variations=(("bubble", 1.0),), probability=796, color=0.7),
        FlameMap(
            affine=(1.7, 0.1, -0.2, 0.1, 1.5, -0.3), variations=(("sinusoidal", 0.8),), probability=300, color=1.0
        ),
    ),
    final=Transform(affine=(0.9, 0.1, 0.0, 0.0, 0.9, -0.1)),
)
MAPS = (
    lambda x, y: swirl(*affine(GENOME.maps[0].affine, x, y)),
    lambda x, y: affine(GENOME.maps[1].post, *affine(GENOME.maps[1].affine, x, y)),
    lambda x, y: bubble(*affine(GENOME.maps[2].affine, x, y)),
    lambda x, y: 0.8 * np.array(sinusoidal(*affine(GENOME.maps[3].affine, x, y))),
)
SHARES = np.array([m.probability for m in GENOME.maps]) / 4096
COLORS = np.array([m.color for m in GENOME.maps])


def plain_chaos_game(*, n_walkers, steps):
    """Histogram like that of `render`."""
    generator = np.random.default_rng(0)
    x, y = generator.uniform(-1, 1, (2, n_walkers))
    color, histogram = np.full(n_walkers, 0.5), np.zeros((SIZE * SIZE, 3))
    for step in range(40 + steps):
        choice = generator.choice(len(MAPS), n_walkers, p=SHARES)
        images = np.array([function(x, y) for function in MAPS])
        x, y = images[choice, :, np.arange(n_walkers)].T
        color = (color + COLORS[choice]) / 2
        if step >= 40:
            draw(histogram, *affine(GENOME.final.affine, x, y), color)
    return histogram.reshape(SIZE, SIZE, 3)


def draw(histogram, x, y, color):
    column, row = (np.floor((value + 1) * SIZE / 2).astype(int) for value in (x, y))
    inside = (column >= 0) & (column < SIZE) & (row >= 0) & (row < SIZE)
    pixel, level = (row * SIZE + column)[inside], np.rint(color[inside] * (COLOR_LEVELS - 1))
    for channel in range(3):
        histogram[:, channel] += np.bincount(pixel, level**channel, minlength=len(histogram))


@pytest.fixture(scope="module")
def plain():
    return plain_chaos_game(n_walkers=20_000, steps=100)


@pytest.fixture(scope="module")
def ours():
    """Sixteen images of 125,000 points: as many points as `plain` has, in the lengths of common images."""
    program = compile_genome(GENOME)
    return np.array([render(program, FIXED_WINDOW, size=SIZE, points=125_000, seed=seed) for seed in range(16)])


def test_counts_agree_within_the_noise_of_both(plain, ours):
    one, other = plain[..., 0], ours[..., 0].sum(axis=0)
    full = one + other > 50
    assert full.sum() > 500
    chi2 = ((one - other)[full] ** 2 / (one + other)[full]).mean()
    assert 0.8 < chi2 < 1.25  # 1 within 0.06 for a thousand pixels


def test_large_regions_agree(plain, ours):
    """Blocks of 12 x 12 pixels, hundreds of thousands of points: the shares of the maps come out right."""
    one, other = (h.reshape(4, 12, 4, 12).sum(axis=(1, 3)) for h in (plain[..., 0], ours[..., 0].sum(axis=0)))
    full = one > 1000
    np.testing.assert_allclose(one[full], other[full], rtol=0, atol=7 * np.sqrt(2 * one.max()))
    np.testing.assert_allclose(one.sum(), other.sum(), rtol=2e-3)


def test_colors_agree(plain, ours):
    one, other = (h.reshape(4, 12, 4, 12, 3).sum(axis=(1, 3)) for h in (plain, ours.sum(axis=0)))
    full = one[..., 0] > 2000
    for power in (1, 2):
        mean, our_mean = (h[full][:, power] / h[full][:, 0] / (COLOR_LEVELS - 1) ** power for h in (one, other))
        np.testing.assert_allclose(our_mean, mean, atol=0.02)


@pytest.mark.parametrize("points", [60_000, 300_000])
def test_the_noise_is_that_of_poisson(points):
    """Groups share their maps; neither pixels nor larger blocks scatter more than those of independent points."""
    program, n_seeds = compile_genome(GENOME), 100
    counts = np.array(
        [render(program, FIXED_WINDOW, size=64, points=points, seed=s, color=False) for s in range(n_seeds)]
    )
    assert 0.9 < noise(counts, block=1, points=points) < 1.15
    assert noise(counts, block=16, points=points) < 2.5


def noise(counts, *, block, points):
    """Variance over seeds, in units of that of independent points."""
    side = counts.shape[1] // block
    blocks = counts.reshape(len(counts), side, block, side, block).sum(axis=(2, 4)).astype(float)
    mean, variance = blocks.mean(axis=0), blocks.var(axis=0, ddof=1)
    full = mean > 5
    return variance[full].sum() / (mean * (1 - mean / points))[full].sum()
