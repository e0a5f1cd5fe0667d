"""Sines and arctangents that are bit-equal on every machine.

A chaotic map amplifies the smallest rounding difference, and libraries round their sines differently. The renderers
therefore use none of them: the functions here, and the formulas of `variations`, consist of the operations that IEEE
754 rounds uniquely (+ - * / and the square root), in 32 bits.

They are written once, in terms of four operations: `where`, `divide`, `sqrt` and `floor`. In this module these are the
functions of numpy, so that the formulas can be called on float32 arrays; `bind` replaces them (by those of numba, torch
or Triton) and applies a compiler. A product and a sum must never be contracted into one operation; constants stand to
the right of variables, as the interpreter of Triton requires.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterable
from types import FunctionType
from typing import Any

import numpy as np

__all__ = ["arctangent", "bind", "sine_cosine"]

where, divide, sqrt, floor = np.where, np.divide, np.sqrt, np.floor

ZERO, HALF, ONE, TWO, THREE = (np.float32(number) for number in (0.0, 0.5, 1.0, 2.0, 3.0))
QUARTER, FOUR = np.float32(0.25), np.float32(4.0)
PI, HALF_PI, QUARTER_PI = (np.float32(np.pi / number) for number in (1, 2, 4))
TWO_OVER_PI, ONE_OVER_PI = np.float32(2 / np.pi), np.float32(1 / np.pi)
# pi / 2 in three parts; the first two have nine bits, so that n times them is exact for |n| < 2^15.
HALF_PI_HIGH, HALF_PI_MIDDLE, HALF_PI_LOW = map(np.float32, (1.5703125, 4.8351287841796875e-4, 3.1391647326017846e-7))

# Minimax polynomials (Lawson's algorithm): errors below 2e-9, 1e-10 and 2e-9.
S1, S2, S3 = map(np.float32, (-1.6666650772e-1, 8.3319758996e-3, -1.9495292509e-4))
C1, C2, C3 = map(np.float32, (4.1666645557e-2, -1.3887364184e-3, 2.4438089895e-5))
A1, A2, A3 = map(np.float32, (-3.3333262801e-1, 1.9997620583e-1, -1.4255462587e-1))
A4, A5, A6 = map(np.float32, (1.0910274833e-1, -8.2897484303e-2, 5.6127164513e-2))
A7, A8, A9 = map(np.float32, (-2.9446335509e-2, 1.0025539435e-2, -1.6024120850e-3))


def sine_cosine(angle):
    """Return sine and cosine of float32 angles, within 2e-7 for angles up to 10,000 and within [-1, 1] + 2e-7.

    Reduction to [-pi/4, pi/4] after Cody & Waite (1980). For angles above about 50,000, whose phase is poorly resolved
    in 32 bits, the result is reproducible but inaccurate. NaN and infinity yield NaN.
    """
    quadrant = floor(angle * TWO_OVER_PI + HALF)
    r = ((angle - quadrant * HALF_PI_HIGH) - quadrant * HALF_PI_MIDDLE) - quadrant * HALF_PI_LOW
    r = where(r < -ONE, -ONE, where(r > ONE, ONE, r))
    z = r * r
    sine = (z * (z * (z * S3 + S2) + S1)) * r + r
    cosine = (z * (z * C3 + C2) + C1) * (z * z) + (z * -HALF + ONE)
    quadrant = quadrant - floor(quadrant * QUARTER) * FOUR
    odd = (quadrant == ONE) | (quadrant == THREE)
    s = where(odd, cosine, sine)
    c = where(odd, sine, cosine)
    return where(quadrant >= TWO, -s, s), where((quadrant == ONE) | (quadrant == TWO), -c, c)


def arctangent(y, x):
    """Return the angle of (x, y) in [-pi, pi], like `numpy.arctan2`, within 4e-7; 0 at the origin for all signs."""
    width = where(x < ZERO, -x, x)
    height = where(y < ZERO, -y, y)
    steep = height > width
    large = where(steep, height, width)
    a = divide(where(steep, width, height), where(large > ZERO, large, ONE))
    z = a * a
    high = (((z * A9 + A8) * z + A7) * z + A6) * z + A5
    angle = ((((high * z + A4) * z + A3) * z + A2) * z + A1) * z * a + a
    angle = where(steep, -angle + HALF_PI, angle)
    angle = where(x < ZERO, -angle + PI, angle)
    return where(y < ZERO, -angle, angle)


def bind(
    functions: Iterable[Callable], operations: dict[str, Any], *, number: Callable, compiler: Callable
) -> dict[str, Callable]:
    """Compile functions of this module with other definitions of their operations.

    Parameters
    ----------
    functions : iterable of function
        Functions to compile; each may call those before it by name.
    operations : dict
        Definitions of ``where``, ``divide``, ``sqrt``, ``floor`` and other names that the functions use.
    number : callable
        Conversion of a float32 constant of this module to a constant of the target language.
    compiler : callable
        Compiler applied to each function.

    Returns
    -------
    dict
        Compiled functions by name.

    Examples
    --------
    >>> operations = {"where": np.where, "divide": np.divide, "sqrt": np.sqrt, "floor": np.floor}
    >>> bound = bind([sine_cosine], operations, number=lambda value: value, compiler=lambda function: function)
    >>> sine, cosine = bound["sine_cosine"](np.zeros(1, np.float32))
    >>> float(cosine[0])
    1.0
    """
    constants = {name: number(value) for name, value in globals().items() if isinstance(value, np.float32)}
    scope = {"__name__": __name__, "__builtins__": builtins, **constants, **operations}
    bound = {}
    for function in functions:
        scope[function.__name__] = bound[function.__name__] = compiler(FunctionType(function.__code__, scope))
    return bound
