import numpy as np
import pytest
from stellarfm_example import RandomFields
from stellarfm_example.slope import Slope

from stellarfm import registry
from stellarfm.cli.main import main
from stellarfm.testing import CommandConformance, DatasetConformance


class TestRandomFields(DatasetConformance):
    plugin = RandomFields


class TestSlope(CommandConformance):
    plugin = Slope


def test_is_registered():
    assert registry.get("datasets", "example.random-fields") is RandomFields
    assert registry.get("commands", "example.slope") is Slope


def test_command_measures_the_slope(capsys):
    assert main(["example.slope", "example.random-fields", "--count", "50"]) == 0
    assert float(capsys.readouterr().out) == pytest.approx(-3.0, abs=0.25)


def test_command_names_an_unknown_dataset_in_one_line(capsys):
    assert main(["example.slope", "example.random-field"]) == 1
    assert "did you mean example.random-fields" in capsys.readouterr().err


@pytest.mark.parametrize("slope", [2.0, 3.0, 4.0])
def test_spectrum_has_the_given_slope(slope):
    dataset = RandomFields(size=64, channels=1, slope=slope)
    images = np.stack([dataset.image(index)[0] for index in range(50)])
    power = (np.abs(np.fft.fft2(images)) ** 2).mean(axis=0)
    k = np.arange(2, 32)
    measured = np.polyfit(np.log(k), np.log(power[0, k]), 1)[0]
    assert measured == pytest.approx(-slope, abs=0.25)
