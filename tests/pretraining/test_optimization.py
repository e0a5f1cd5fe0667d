"""Schedules against their formulas."""

import math
from itertools import pairwise

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
