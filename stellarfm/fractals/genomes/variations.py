"""Nonlinear variations of the fractal-flame algorithm: maps of the plane to itself.

Names and formulas are those of Draves & Reckase (2008), *The Fractal Flame Algorithm*, appendix. There the angle is
measured from the y axis, ``theta = atan2(x, y)``, and ``r`` is the distance to the origin; the angle is avoided where
possible (``sin theta = x / r``, ``cos theta = y / r``).

Every formula takes a point (x, y) and `turn`, 1 or -1, which selects the square root of ``julia`` (its random angle, 0
or pi). The functions of this module work on float32 arrays of numpy; `stellarfm.fractals.genomes.portable_math.bind`
compiles them for numba, torch and Triton. Where a formula is singular the result is infinite or NaN.
"""

from __future__ import annotations

from stellarfm.fractals.genomes.portable_math import (
    FOUR,
    HALF,
    ONE,
    ONE_OVER_PI,
    PI,
    TWO,
    ZERO,
    arctangent,
    divide,
    sine_cosine,
    sqrt,
    where,
)

__all__ = ["FORMULAS", "VARIATIONS"]


def linear(x, y, turn):
    """Return (x, y)."""
    return x, y


def sinusoidal(x, y, turn):
    """Return (sin x, sin y)."""
    sine_x, _ = sine_cosine(x)
    sine_y, _ = sine_cosine(y)
    return sine_x, sine_y


def spherical(x, y, turn):
    """Return (x, y) / r^2."""
    square = x * x + y * y
    return divide(x, square), divide(y, square)


def swirl(x, y, turn):
    """Return (x sin r^2 - y cos r^2, x cos r^2 + y sin r^2)."""
    sine, cosine = sine_cosine(x * x + y * y)
    return x * sine - y * cosine, x * cosine + y * sine


def horseshoe(x, y, turn):
    """Return ((x - y)(x + y), 2 x y) / r."""
    r = sqrt(x * x + y * y)
    return divide((x - y) * (x + y), r), divide((x + x) * y, r)


def polar(x, y, turn):
    """Return (theta / pi, r - 1)."""
    return arctangent(x, y) * ONE_OVER_PI, sqrt(x * x + y * y) - ONE


def handkerchief(x, y, turn):
    """Return r (sin(theta + r), cos(theta - r))."""
    sine, cosine = sine_cosine(sqrt(x * x + y * y))
    return x * cosine + y * sine, y * cosine + x * sine


def heart(x, y, turn):
    """Return r (sin(theta r), -cos(theta r))."""
    r = sqrt(x * x + y * y)
    sine, cosine = sine_cosine(arctangent(x, y) * r)
    return r * sine, -(r * cosine)


def disc(x, y, turn):
    """Return theta / pi (sin(pi r), cos(pi r))."""
    share = arctangent(x, y) * ONE_OVER_PI
    sine, cosine = sine_cosine(sqrt(x * x + y * y) * PI)
    return share * sine, share * cosine


def spiral(x, y, turn):
    """Return (cos theta + sin r, sin theta - cos r) / r."""
    r = sqrt(x * x + y * y)
    sine, cosine = sine_cosine(r)
    return divide(divide(y, r) + sine, r), divide(divide(x, r) - cosine, r)


def hyperbolic(x, y, turn):
    """Return (sin theta / r, r cos theta)."""
    return divide(x, x * x + y * y), y


def diamond(x, y, turn):
    """Return (sin theta cos r, cos theta sin r)."""
    r = sqrt(x * x + y * y)
    sine, cosine = sine_cosine(r)
    return divide(x, r) * cosine, divide(y, r) * sine


def julia(x, y, turn):
    """Return the square root of r, times (cos, sin) of theta / 2, or of theta / 2 + pi."""
    height = where(y < ZERO, -y, y)
    large = sqrt((sqrt(x * x + y * y) + height) * HALF)
    width = where(x < ZERO, -x, x)
    small = divide(width, where(large > ZERO, large + large, ONE))
    cosine = where(y < ZERO, small, large)
    sine = where(y < ZERO, large, small)
    return turn * cosine, turn * where(x < ZERO, -sine, sine)


def eyefish(x, y, turn):
    """Return 2 (x, y) / (r + 1)."""
    factor = divide(TWO, sqrt(x * x + y * y) + ONE)
    return factor * x, factor * y


def bubble(x, y, turn):
    """Return 4 (x, y) / (r^2 + 4)."""
    factor = divide(FOUR, (x * x + y * y) + FOUR)
    return factor * x, factor * y


def cylinder(x, y, turn):
    """Return (sin x, y)."""
    sine, _ = sine_cosine(x)
    return sine, y


#: Formulas of the variations; the position of a formula is its code in compiled genomes.
FORMULAS = (
    linear,
    sinusoidal,
    spherical,
    swirl,
    horseshoe,
    polar,
    handkerchief,
    heart,
    disc,
    spiral,
    hyperbolic,
    diamond,
    julia,
    eyefish,
    bubble,
    cylinder,
)

#: Names of the variations, in the order of `FORMULAS`.
VARIATIONS: tuple[str, ...] = tuple(formula.__name__ for formula in FORMULAS)
