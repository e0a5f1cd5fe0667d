"""Hand-made statistics of star-centered windows in concentric rings: 121 numbers per window, without an encoder.

All statistics are unchanged if a window is rotated by 90 degrees or mirrored about the star, if the sign of the
velocity changes, or if a constant is added to the velocity. Only numpy and astropy are needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from astropy import constants
from astropy import units as u

if TYPE_CHECKING:
    from stellarfm.maps import MapSet

__all__ = ["RING_EDGES", "STATISTIC_NAMES", "ring_numbers", "window_statistics"]

#: Edges of the rings as fractions of half the side of a window: 0.8, 1.6, ... 32 pixels if the side is 64 pixels.
RING_EDGES = np.array([0, 0.8, 1.6, 2.6, 3.8, 5.3, 7.3, 10, 13.5, 18, 24, 32]) / 32

N_RINGS = len(RING_EDGES) - 1

#: Statistics of one ring, in the order of the columns.
RING_STATISTICS = (
    "log_column_mean",
    "log_column_max",
    "log_column_std",
    "log_dispersion",
    "log_dispersion_max",
    "log_velocity_scatter",
    "log_enclosed_mass",
    "log_enclosed_dynamical_mass",
    "log_ring_dynamical_mass",
    "log_column_excess",
    "velocity_shift",
)

#: Names of the columns of `window_statistics`: the eleven statistics of ring 0 (innermost), then of ring 1, and so on.
STATISTIC_NAMES = tuple(f"{name}_{ring}" for ring in range(N_RINGS) for name in RING_STATISTICS)

#: Rings whose velocity defines that of the center (0.119 of half the side: 3.8 of 32 pixels).
CENTRAL_RINGS = 4

#: Outer rings whose median column density is the background.
BACKGROUND_RINGS = 2

#: Lower limit of the column density, cm-2; keeps logarithms and weights finite where noise makes it negative.
COLUMN_FLOOR = 1e17

#: Dispersion added in quadrature, or to a maximum, before a logarithm is taken, km/s.
DISPERSION_FLOOR = 0.01

#: Isothermal sound speed of molecular gas at 10 K, km/s.
SOUND_SPEED = 0.188

#: Lower limit of the relative excess of the column density over the background.
EXCESS_FLOOR = 1e-3

#: Mass of a hydrogen atom.
HYDROGEN_MASS = 1.00782503 * u.u

#: Windows computed at a time, which bounds the memory.
_BATCH = 256


class _Pixels(NamedTuple):
    """Maps of B windows as arrays (B, ny * nx) in cm-2 and km/s, zero where not `valid`."""

    column: np.ndarray
    velocity: np.ndarray
    dispersion: np.ndarray
    valid: np.ndarray


def ring_numbers(shape: tuple[int, int]) -> np.ndarray:
    """Return the ring of each pixel of a window of `shape`, shape (ny, nx); pixels beyond the last edge have -1.

    The distance is measured from the pixel of the star, (ny // 2, nx // 2), to the center of the pixel, and divided
    by half the smaller side, ``min(ny, nx) // 2``. Inner rings hold no pixel in windows of much fewer than 64 pixels.

    Examples
    --------
    >>> ring_numbers((64, 64))[32, 30:35]
    array([2, 1, 0, 1, 2])
    """
    rows, columns = np.indices(shape)
    distance = np.hypot(rows - shape[0] // 2, columns - shape[1] // 2) / max(1, min(shape) // 2)
    ring = np.digitize(distance, RING_EDGES) - 1
    return np.where(ring < N_RINGS, ring, -1)


def window_statistics(windows: MapSet) -> np.ndarray:
    r"""Return the 121 statistics of the gas around the star of each window: eleven in each of eleven rings.

    The rings (`RING_EDGES`) are concentric about the pixel of the star. A pixel is used if all three maps have a
    value. In ring k, with column density N (at least 1e17 cm-2), velocity v relative to the column-weighted mean of
    all rings, dispersion s, <x> the mean over pixels and <x>_N = <N x> / <N> the column-weighted mean:

    - ``log_column_mean``, ``log_column_max``, ``log_column_std``: mean, maximum and standard deviation of log10 N;
    - ``log_dispersion`` = 1/2 log10(<s^2>_N + 0.01^2);
    - ``log_dispersion_max`` = log10(max s + 0.01);
    - ``log_velocity_scatter`` = 1/2 log10(<v^2>_N - <v>_N^2 + 0.01^2);
    - ``log_enclosed_mass`` = log10 of the sum of N mu m_H A over all pixels within the outer radius r of the ring, with
      the area A of a pixel and the gas mass mu per hydrogen nucleus;
    - ``log_enclosed_dynamical_mass`` = log10((<s^2>_N + <v^2>_N - <v>_N^2 + 0.188^2) r / G), means within r;
    - ``log_ring_dynamical_mass`` = log10((<s^2>_N + 0.01^2) r / G);
    - ``log_column_excess`` = log10(max(<N> / N_b - 1, 0.001)), where log10 N_b is the median of log10 N in the outer
      two rings (of the mean of the outermost ring with data, if these have none);
    - ``velocity_shift`` = \|<v>_N - v_0\|, where v_0 is the column-weighted mean velocity of the inner four rings.

    Velocities are in km/s, N in cm-2 and masses in solMass. Missing pixels are assumed to be like the others of their
    ring; a ring without any valid pixel is assumed to be like the next one inside it that has some, or else outside.
    All statistics of a window without any valid pixel are NaN.

    Parameters
    ----------
    windows : MapSet
        N star-centered windows, shape (N, ny, nx).

    Returns
    -------
    numpy.ndarray
        Shape (N, 121), float32, columns as in `STATISTIC_NAMES`.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy import units as u
    >>> from astropy.table import QTable
    >>> from stellarfm.maps import MapSet
    >>> ones = np.ones((2, 64, 64))
    >>> windows = MapSet(
    ...     1e22 * ones / u.cm**2, 3 * ones * u.km / u.s, ones * u.km / u.s,
    ...     stars=QTable({"star": [1, 2]}), pixel_scale=0.01 * u.pc,
    ... )
    >>> statistics = window_statistics(windows)
    >>> statistics.shape
    (2, 121)
    >>> float(statistics[0, STATISTIC_NAMES.index("log_column_mean_5")])
    22.0
    """
    result = np.full((len(windows), len(STATISTIC_NAMES)), np.nan, dtype=np.float32)
    shape = windows.column_density.shape[1:]
    ring = ring_numbers(shape).ravel()
    scales = {"pixel_scale": windows.pixel_scale, "mass_per_hydrogen": windows.mass_per_hydrogen}
    for start in range(0, len(windows), _BATCH):
        chosen = windows[start : start + _BATCH]
        values = _ring_statistics(_pixels(chosen), ring, half_side=max(1, min(shape) // 2), **scales)
        result[start : start + _BATCH] = values.reshape(len(chosen), -1)
    return result


def _pixels(windows: MapSet) -> _Pixels:
    """Return the maps as arrays, with the column density limited from below."""
    valid = ~windows.mask
    maps = (windows.column_density.value, windows.velocity.value, windows.velocity_dispersion.value)
    column, velocity, dispersion = (np.where(valid, values, 0).astype(float).reshape(len(valid), -1) for values in maps)
    valid = valid.reshape(len(valid), -1)
    return _Pixels(np.where(valid, np.maximum(column, COLUMN_FLOOR), 0), velocity, dispersion, valid)


def _ring_statistics(
    pixels: _Pixels, ring: np.ndarray, *, half_side: int, pixel_scale: u.Quantity, mass_per_hydrogen: float
) -> np.ndarray:
    """Return the statistics of B windows, shape (B, N_RINGS, 11)."""
    column, velocity, dispersion, valid = pixels
    membership = (ring[:, None] == np.arange(N_RINGS)).astype(float)
    source = _nearest_filled(np.asarray(valid @ membership) > 0)

    def ring_sum(values: np.ndarray) -> np.ndarray:
        return np.take_along_axis(values @ membership, source, axis=1)

    def ring_maximum(values: np.ndarray) -> np.ndarray:
        largest = [np.max(values[:, ring == k], axis=1, initial=0) for k in range(N_RINGS)]
        return np.take_along_axis(np.stack(largest, axis=1), source, axis=1)

    with np.errstate(invalid="ignore", divide="ignore"):
        count = ring_sum(valid)
        log_column = np.log10(np.where(valid, column, 1))
        center = log_column.sum(axis=1, keepdims=True) / valid.sum(axis=1, keepdims=True)
        deviation = np.where(valid, log_column - center, 0)  # near zero, so that squares lose no precision
        mean_deviation = ring_sum(deviation) / count
        log_variance = np.maximum(ring_sum(deviation**2) / count - mean_deviation**2, 0)

        weight = np.where(ring >= 0, column, 0)
        systemic = (weight * velocity).sum(axis=1, keepdims=True) / weight.sum(axis=1, keepdims=True)
        velocity = velocity - systemic
        moments = [ring_sum(column * values) for values in (1, velocity, velocity**2, dispersion**2)]
        mass, mean_velocity, scatter, variance = _column_weighted(*moments)
        mean_column = mass / count
        background = _median(np.where(valid, log_column, np.nan)[:, ring >= N_RINGS - BACKGROUND_RINGS])
        background = np.where(np.isnan(background), np.log10(mean_column[:, -1:]), background)
        all_pixels = membership.sum(axis=0) / count  # scales sums over the valid pixels of a ring to all its pixels
        within = [np.cumsum(moment * all_pixels, axis=1) for moment in moments]
        enclosed, enclosed_velocity, enclosed_scatter, enclosed_variance = _column_weighted(*within)

        pixel_mass = (mass_per_hydrogen * HYDROGEN_MASS * pixel_scale**2 / u.cm**2).to_value(u.solMass)
        radius = RING_EDGES[1:] * half_side * pixel_scale
        mass_of_variance = (radius / constants.G).to_value(u.solMass / (u.km / u.s) ** 2)
        statistics = [
            center + mean_deviation,
            np.log10(ring_maximum(column)),
            np.sqrt(log_variance),
            np.log10(variance + DISPERSION_FLOOR**2) / 2,
            np.log10(ring_maximum(dispersion) + DISPERSION_FLOOR),
            np.log10(scatter + DISPERSION_FLOOR**2) / 2,
            np.log10(enclosed * pixel_mass),
            np.log10((enclosed_variance + enclosed_scatter + SOUND_SPEED**2) * mass_of_variance),
            np.log10((variance + DISPERSION_FLOOR**2) * mass_of_variance),
            np.log10(np.maximum(mean_column / 10**background - 1, EXCESS_FLOOR)),
            np.abs(mean_velocity - enclosed_velocity[:, CENTRAL_RINGS - 1, None]),
        ]
    return np.where(np.isfinite(center)[:, :, None], np.stack(statistics, axis=2), np.nan)


def _column_weighted(
    mass: np.ndarray, momentum: np.ndarray, square: np.ndarray, dispersion: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the sum of N and, weighted by it, the mean of v, its variance and the mean of s^2, from the four sums."""
    mean = momentum / mass
    return mass, mean, np.maximum(square / mass - mean**2, 0), dispersion / mass


def _nearest_filled(filled: np.ndarray) -> np.ndarray:
    """Return for each ring (B, N_RINGS) its own number if filled, else the next filled one inside, or else outside."""
    inside = np.maximum.accumulate(np.where(filled, np.arange(N_RINGS), -1), axis=1)
    return np.where(inside >= 0, inside, filled.argmax(axis=1)[:, None])


def _median(values: np.ndarray) -> np.ndarray:
    """Return the median of each row (B, n) without NaN, shape (B, 1), NaN where nothing remains."""
    median: np.ndarray = np.median(values, axis=1, keepdims=True)
    for row in np.flatnonzero(np.isnan(median[:, 0])):
        finite = values[row][np.isfinite(values[row])]
        median[row] = np.median(finite) if finite.size else np.nan
    return median
