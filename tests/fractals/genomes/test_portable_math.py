"""The elementary functions against numpy in 64 bits, and each backend against numpy in 32, to the last bit."""

import numpy as np
import pytest
import torch
from numba import njit

from stellarfm.fractals.genomes.portable_math import arctangent, sine_cosine
from stellarfm.fractals.genomes.variations import FORMULAS, VARIATIONS
from stellarfm.fractals.rendering.chaos_game import LANES
from stellarfm.fractals.rendering.numba_variations import add_variation
from stellarfm.fractals.rendering.torch_kernel import BOUND


@pytest.mark.parametrize("largest", [10.0, 1e4])
def test_sines_and_cosines(largest):
    angle = np.linspace(-largest, largest, 400_001, dtype=np.float32)
    sine, cosine = sine_cosine(angle)
    assert sine.dtype == cosine.dtype == np.float32
    np.testing.assert_allclose(sine, np.sin(angle.astype(np.float64)), rtol=0, atol=2e-7)
    np.testing.assert_allclose(cosine, np.cos(angle.astype(np.float64)), rtol=0, atol=2e-7)


def test_sines_of_small_angles_keep_their_relative_precision():
    angle = np.geomspace(1e-30, 1e-2, 1000, dtype=np.float32)
    np.testing.assert_allclose(sine_cosine(angle)[0], np.sin(angle.astype(np.float64)), rtol=2e-7)


def test_sines_of_huge_angles_stay_bounded():
    angle = np.array([1e5, 1e8, 1e20, -3e38], dtype=np.float32)
    assert (np.abs(sine_cosine(angle)) < 1 + 1e-6).all()
    with np.errstate(invalid="ignore"):
        assert np.isnan(sine_cosine(np.array([np.inf, np.nan], dtype=np.float32))).all()


def test_arctangents():
    y, x = np.random.default_rng(0).normal(size=(2, 400_000)).astype(np.float32)
    exact = np.arctan2(y.astype(np.float64), x)
    np.testing.assert_allclose(arctangent(y, x), exact, rtol=0, atol=4e-7)


def test_arctangents_on_the_axes():
    y, x = np.array([[0, 1, 0, -1, 0], [1, 0, -1, 0, 0]], dtype=np.float32)
    np.testing.assert_allclose(arctangent(y, x), np.array([0, 0.5, 1, -0.5, 0]) * np.pi, atol=1e-6)


@njit
def over_groups(code, points, word, result):
    work = np.empty((4, LANES), np.float32)
    for begin in range(0, points.shape[1], LANES):
        work[:2] = points[:, begin : begin + LANES]
        work[2:] = 0
        add_variation(code, np.float32(1), word, work)
        result[:, begin : begin + LANES] = work[2:]


@pytest.fixture(scope="module")
def points():
    """Near, far and very far points, and the origin."""
    generator = np.random.default_rng(1)
    scale = np.repeat([0.5, 3.0, 100.0, 1e7], 10_000 * LANES // 4)
    points = (generator.normal(size=(2, scale.size)) * scale).astype(np.float32)
    points[:, 0] = 0
    return points


@pytest.mark.filterwarnings("ignore:(divide by zero|invalid value|overflow):RuntimeWarning")
@pytest.mark.parametrize("name", VARIATIONS)
def test_numba_and_torch_agree_with_numpy_to_the_last_bit(points, name):
    word, code = 0x5A17C0DE, VARIATIONS.index(name)
    turn = np.tile([np.float32(1 - 2 * ((word >> lane) & 1)) for lane in range(LANES)], points.shape[1] // LANES)
    expected = np.stack(FORMULAS[code](*points, turn))
    by_numba = np.empty_like(points)
    over_groups(code, points, word, by_numba)
    np.testing.assert_array_equal(by_numba, expected)
    by_torch = torch.stack(BOUND[name](*torch.from_numpy(points), torch.from_numpy(turn)))
    np.testing.assert_array_equal(by_torch.numpy(), expected)
