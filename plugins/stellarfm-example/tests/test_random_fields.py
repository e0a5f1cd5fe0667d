import numpy as np
import pytest
from stellarfm_example import RandomFields

from stellarfm import registry
from stellarfm.testing import DatasetConformance


class TestRandomFields(DatasetConformance):
    plugin = RandomFields


def test_is_registered():
    assert registry.get("datasets", "example.random-fields") is RandomFields


@pytest.mark.parametrize("slope", [2.0, 3.0, 4.0])
def test_spectrum_has_the_slope_asked_for(slope):
    dataset = RandomFields(size=64, channels=1, slope=slope)
    images = np.stack([dataset.image(index)[0] for index in range(50)])
    power = (np.abs(np.fft.fft2(images)) ** 2).mean(axis=0)
    k = np.arange(2, 32)
    measured = np.polyfit(np.log(k), np.log(power[0, k]), 1)[0]
    assert measured == pytest.approx(-slope, abs=0.25)
