"""Nonlinear variations of the fractal-flame algorithm: maps of the plane to itself.

Names and formulas are those of Draves & Reckase (2008), *The Fractal Flame Algorithm*, appendix. There the angle is
measured from the y axis, ``theta = atan2(x, y)``, and ``r`` is the distance to the origin.

`variation` is compiled into the chaos game of `render_cpu`. numba's cache does not look through modules: who changes
a formula here must touch that module too.
"""

from __future__ import annotations

import math

from numba import njit

__all__ = ["VARIATIONS", "variation"]

#: Names of the variations; the position of a name is its code in compiled genomes.
VARIATIONS: tuple[str, ...] = (
    "linear",
    "sinusoidal",
    "spherical",
    "swirl",
    "horseshoe",
    "polar",
    "handkerchief",
    "heart",
    "disc",
    "spiral",
    "hyperbolic",
    "diamond",
    "julia",
    "eyefish",
    "bubble",
    "cylinder",
)


@njit(cache=True, nogil=True, error_model="numpy")
def variation(code: int, x: float, y: float, half_turn: int) -> tuple[float, float]:
    """Image of the point (x, y) under variation number `code`.

    Parameters
    ----------
    code : int
        Position of the variation in `VARIATIONS`.
    x, y : float
        The point.
    half_turn : int
        0 or 1: which of the two square roots ``julia`` takes (its random angle, 0 or pi).

    Returns
    -------
    tuple of float
        The new point; infinite or NaN where the formula is singular.
    """
    if code == 0:
        return x, y
    if code == 1:
        return math.sin(x), math.sin(y)
    square = x * x + y * y
    if code == 2:
        return x / square, y / square
    if code == 3:
        sine, cosine = math.sin(square), math.cos(square)
        return x * sine - y * cosine, x * cosine + y * sine
    if code == 14:
        factor = 4.0 / (square + 4.0)
        return factor * x, factor * y
    if code == 15:
        return math.sin(x), y
    return _radial_variation(code, x, y, math.sqrt(square), half_turn)


@njit(cache=True, nogil=True, error_model="numpy")
def _radial_variation(code: int, x: float, y: float, r: float, half_turn: int) -> tuple[float, float]:
    """The variations that need the distance `r` to the origin."""
    if code == 4:
        return (x - y) * (x + y) / r, 2.0 * x * y / r
    if code == 9:
        return (y / r + math.sin(r)) / r, (x / r - math.cos(r)) / r
    if code == 10:
        return x / (r * r), y
    if code == 11:
        return x / r * math.cos(r), y / r * math.sin(r)
    if code == 13:
        factor = 2.0 / (r + 1.0)
        return factor * x, factor * y
    if code == 12:
        sign = 1.0 - 2.0 * half_turn
        cosine, sine = math.sqrt(max(0.5 * (r + y), 0.0)), math.sqrt(max(0.5 * (r - y), 0.0))
        return sign * cosine, math.copysign(sine, sign * x)
    return _angular_variation(code, r, math.atan2(x, y))


@njit(cache=True, nogil=True, error_model="numpy")
def _angular_variation(code: int, r: float, theta: float) -> tuple[float, float]:
    """The variations that need the distance `r` and the angle `theta` itself."""
    if code == 5:
        return theta / math.pi, r - 1.0
    if code == 6:
        return r * math.sin(theta + r), r * math.cos(theta - r)
    if code == 7:
        return r * math.sin(theta * r), -r * math.cos(theta * r)
    return theta / math.pi * math.sin(math.pi * r), theta / math.pi * math.cos(math.pi * r)
