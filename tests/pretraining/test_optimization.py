"""Schedules against their formulas."""

import math
from itertools import pairwise

import numpy as np
import pytest

from stellarfm.pretraining.optimization import cosine, linear, warmup_cosine


def test_linear():
    values = [linear(step, start=0.04, end=0.07, steps=10) for step in (0, 5, 10, 99)]
    assert values == pytest.approx([0.04, 0.055, 0.07, 0.07])
    assert linear(0, start=1.0, end=2.0, steps=0) == 2.0


@pytest.mark.parametrize(("start", "end"), [(0.992, 1.0), (0.4, 0.04)])
def test_cosine(start, end):
    for step in range(101):
        expected = end + (start - end) * (1 + math.cos(math.pi * step / 100)) / 2
        assert cosine(step, start=start, end=end, steps=100) == pytest.approx(expected, abs=1e-12)
    assert cosine(1000, start=start, end=end, steps=100) == end


def official(base: float, final: float, steps: int, warmup: int = 0, start: float = 0.0) -> np.ndarray:
    """``CosineScheduler`` of the DINOv2 code."""
    rest = np.arange(steps - warmup)
    falling = final + 0.5 * (base - final) * (1 + np.cos(np.pi * rest / len(rest)))
    return np.concatenate([np.linspace(start, base, warmup), falling])


def test_schedules_are_those_of_the_official_code():
    """Apart from the warm-up's first step, whose learning rate is 0 there."""
    steps = range(1000)
    assert [cosine(i, start=0.04, end=0.4, steps=1000) for i in steps] == pytest.approx(official(0.04, 0.4, 1000))
    rates = [warmup_cosine(i, peak=4e-3, end=1e-6, warmup_steps=100, steps=1000) for i in steps]
    assert rates == pytest.approx(official(4e-3, 1e-6, 1000, warmup=100), abs=4e-3 / 100 + 1e-9)
    assert rates[100:] == pytest.approx(official(4e-3, 1e-6, 1000, warmup=100)[100:])
    warmed = [linear(i, start=0.04, end=0.07, steps=300) for i in range(300)]
    assert warmed == pytest.approx(official(0.07, 0.07, 300, warmup=300, start=0.04), abs=0.03 / 299)


def test_warmup_rises_to_the_peak_and_falls_to_the_end():
    rates = [warmup_cosine(step, peak=1e-3, end=1e-6, warmup_steps=10, steps=100) for step in range(101)]
    assert rates[0] == pytest.approx(1e-4)
    assert max(rates) == rates[9] == rates[10] == pytest.approx(1e-3)
    assert rates[100] == 1e-6
    assert all(a >= b for a, b in pairwise(rates[10:]))


def test_without_warmup():
    assert warmup_cosine(0, peak=1.0, end=0.0, warmup_steps=0, steps=5) == 1.0


def test_a_warmup_longer_than_the_run():
    assert warmup_cosine(3, peak=1.0, end=0.0, warmup_steps=10, steps=5) == pytest.approx(0.4)
