import numpy as np
import pytest

from stellarfm.exceptions import MapError
from stellarfm.readers.fits.line_mask import noise_in_channels, noise_map, signal_mask

CHANNELS = np.arange(60)[:, None, None]


@pytest.fixture
def noise():
    return np.random.default_rng(0).normal(0, 0.2, (60, 20, 20))


def line(peak, *, centre=30.0, width=4.0):
    return peak * np.exp(-(((CHANNELS - centre) / width) ** 2) / 2)


@pytest.mark.parametrize("peak", [0.0, 0.5, 20.0])
def test_noise_is_found_beside_lines(noise, peak):
    found = noise_map(noise + line(peak), where="x")
    assert np.isclose(np.median(found), 0.2, rtol=0.05)
    assert np.all(np.abs(found / 0.2 - 1) < 0.6)


def test_noise_may_vary_over_the_map(noise):
    noise[:, :, 10:] *= 3
    found = noise_map(noise + line(5.0), where="x")
    assert np.isclose(np.median(found[:, :10]), 0.2, rtol=0.07)
    assert np.isclose(np.median(found[:, 10:]), 0.6, rtol=0.07)


def test_pixels_full_of_lines_get_the_median(noise):
    noise[:, 5, 5] += 10
    found = noise_map(noise, where="x")
    assert found[5, 5] == np.median(np.delete(found.ravel(), 5 * 20 + 5))


def test_missing_voxels_do_not_count(noise):
    blank = noise.copy()
    blank[:30, 3] = np.nan
    assert np.allclose(noise_map(blank, where="x")[4:], noise_map(noise, where="x")[4:])
    assert np.isclose(np.median(noise_map(blank, where="x")[3]), 0.2, rtol=0.1)


def test_noise_that_cannot_be_told_is_asked_for(noise):
    with pytest.raises(MapError, match=r"cube.fits: too few negative values.*noise='0.1 K'"):
        noise_map(np.abs(noise), where="cube.fits")
    everywhere = noise + 10
    everywhere[:9, 0, 0] = -0.2
    with pytest.raises(MapError, match=r"cube.fits: no pixel has 8 line-free channels.*line_free="):
        noise_map(everywhere, where="cube.fits")


def test_noise_in_named_channels(noise):
    channels = CHANNELS.ravel() < 15
    found = noise_in_channels(noise + line(50) + 3.0, channels, where="x")
    assert np.isclose(np.median(found), 0.2, rtol=0.05)
    with pytest.raises(MapError, match="7 channels are line-free; expected at least 8"):
        noise_in_channels(noise, CHANNELS.ravel() < 7, where="x")


def test_the_mask_holds_two_bright_channels_and_what_they_touch():
    cube = np.zeros((12, 1, 3))
    cube[3:7, 0, 0] = [2.5, 5, 5, 2.5]
    cube[1, 0, 0] = 3  # apart
    cube[9, 0, 0] = 9  # alone
    cube[5, 0, 1] = 2.5  # beside the line
    cube[5, 0, 2] = 1.5
    mask = signal_mask(cube, np.ones((1, 3)))
    assert list(zip(*np.nonzero(mask), strict=True)) == [(3, 0, 0), (4, 0, 0), (5, 0, 0), (5, 0, 1), (6, 0, 0)]
    assert np.array_equal(signal_mask(2 * cube, np.full((1, 3), 2.0)), mask)


def test_noise_alone_makes_hardly_any_line(noise):
    assert signal_mask(noise, np.full((20, 20), 0.2)).mean() < 1e-3
