"""The variations compiled by numba, each as one loop over the lanes of a group, so that it is vectorized."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from stellarfm.fractals.genomes.portable_math import arctangent, bind, sine_cosine
from stellarfm.fractals.genomes.variations import FORMULAS
from stellarfm.fractals.rendering.chaos_game import LANES

__all__ = ["OPTIONS", "add_variation"]

#: Division by zero yields infinity; products and sums are not contracted (numba does so only with fastmath).
OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "forceinline": True}


@njit(**OPTIONS)
def _where(condition, one, other):
    """Return `one` if `condition` is true, else `other`."""
    return one if condition else other


@njit(**OPTIONS)
def _divide(one, other):
    """Return the quotient of two numbers."""
    return one / other


def _compiled_formulas() -> list[Callable]:
    """Return scalar functions (x, y, turn) -> (x, y)."""
    operations = {"where": _where, "divide": _divide, "sqrt": np.sqrt, "floor": np.floor}
    functions = (sine_cosine, arctangent, *FORMULAS)
    bound = bind(functions, operations, number=lambda value: value, compiler=njit(**OPTIONS))
    return [bound[formula.__name__] for formula in FORMULAS]


def _over_lanes(formula: Callable) -> Callable:
    """Return a function that adds ``weight * formula`` of 32 points to their sums; bit `lane` of `word` is the sign."""

    @njit(**OPTIONS)
    def add(weight, word, work):
        for lane in range(LANES):
            turn = np.float32(1 - 2 * ((word >> lane) & 1))
            x, y = formula(work[0, lane], work[1, lane], turn)
            work[2, lane] += weight * x
            work[3, lane] += weight * y

    return add


(
    _linear,
    _sinusoidal,
    _spherical,
    _swirl,
    _horseshoe,
    _polar,
    _handkerchief,
    _heart,
    _disc,
    _spiral,
    _hyperbolic,
    _diamond,
    _julia,
    _eyefish,
    _bubble,
    _cylinder,
) = (_over_lanes(formula) for formula in _compiled_formulas())


@njit(**OPTIONS | {"forceinline": False})
def add_variation(code, weight, word, work):
    """Add variation number `code` of the points ``work[:2]`` of a group, times `weight`, to ``work[2:]``."""
    if code == 0:
        _linear(weight, word, work)
    elif code == 1:
        _sinusoidal(weight, word, work)
    elif code == 2:
        _spherical(weight, word, work)
    elif code == 3:
        _swirl(weight, word, work)
    elif code == 4:
        _horseshoe(weight, word, work)
    elif code == 5:
        _polar(weight, word, work)
    elif code == 6:
        _handkerchief(weight, word, work)
    elif code == 7:
        _heart(weight, word, work)
    elif code == 8:
        _disc(weight, word, work)
    elif code == 9:
        _spiral(weight, word, work)
    elif code == 10:
        _hyperbolic(weight, word, work)
    elif code == 11:
        _diamond(weight, word, work)
    elif code == 12:
        _julia(weight, word, work)
    elif code == 13:
        _eyefish(weight, word, work)
    elif code == 14:
        _bubble(weight, word, work)
    elif code == 15:
        _cylinder(weight, word, work)
