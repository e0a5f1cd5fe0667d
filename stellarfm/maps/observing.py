"""Maps as an instrument would observe them: beam, pixels, noise, zero level, limits and missing pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeVar

import numpy as np
from astropy import units as u
from scipy.ndimage import gaussian_filter

from stellarfm.exceptions import MapError, UnitsError
from stellarfm.maps.gas_maps import GasMaps
from stellarfm.maps.map_set import MapSet
from stellarfm.maps.regridding import VALID_AREA, regrid
from stellarfm.maps.units import COLUMN_UNIT, VELOCITY_UNIT, parse_length, require_unit

__all__ = ["Observation"]

Maps = TypeVar("Maps", GasMaps, MapSet)

#: Full width at half maximum of a Gaussian of standard deviation 1.
FWHM = 2 * np.sqrt(2 * np.log(2))


class _Arrays(NamedTuple):
    """The three maps in cm-2 and km/s, shape (..., ny, nx), NaN where missing."""

    column: np.ndarray
    velocity: np.ndarray
    dispersion: np.ndarray


@dataclass(frozen=True, kw_only=True, eq=False)
class Observation:
    r"""What an observation does to maps, in this order: beam, pixels, zero level, noise, limits, missing pixels.

    The beam and larger pixels act on the mass N and its moments N v and N (s^2 + v^2), where N is the column density,
    v the velocity and s the dispersion. With <x> the convolution (or mean over a new pixel), the result is N' = <N>,
    v' = <N v> / <N> and s'^2 = <N (s^2 + v^2)> / <N> - v'^2: a velocity gradient across the beam becomes dispersion.

    Parameters
    ----------
    beam : Quantity or str, optional
        Full width at half maximum of the Gaussian that the maps are convolved with, an angle or a length. The maps'
        own resolution is not removed: the final width is the root of the sum of squares.
    pixel_scale : Quantity or str, optional
        Side of the new pixels, an angle or a length, at least that of the maps.
    column_noise : Quantity or float, optional
        Standard deviation of Gaussian noise per pixel, in units of column density, or relative to the column density.
    velocity_noise, dispersion_noise : Quantity, optional
        Standard deviation of Gaussian noise per pixel, units of velocity. Pixels whose dispersion becomes negative are
        missing.
    zero_level : Quantity, optional
        Column density added to all pixels; negative if extended emission is lost.
    column_limits : tuple of two Quantity, optional
        Lowest and highest column density that can be measured; None for no limit. Pixels beyond are missing in all
        maps.
    missing : float or numpy.ndarray, optional
        Fraction of pixels that are missing at random, or a boolean array, shape (ny, nx), True where missing.
    distance : Quantity or str, optional
        Distance of the observed object, which relates angles to lengths. By default that of a `GasMaps`.

    Raises
    ------
    MapError, UnitsError
        If a value has the wrong unit or is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy import units as u
    >>> from astropy.table import QTable
    >>> from stellarfm.maps import MapSet, Observation
    >>> column = np.full((1, 64, 64), 1e21)
    >>> velocity = np.broadcast_to(np.linspace(-3.2, 3.1, 64), column.shape)  # 0.1 km/s per pixel
    >>> windows = MapSet(
    ...     column / u.cm**2, velocity * u.km / u.s, 0.2 * np.ones_like(column) * u.km / u.s,
    ...     stars=QTable({"star": [1]}), pixel_scale=0.01 * u.pc,
    ... )
    >>> observed = Observation(beam=0.08 * u.pc).apply(windows)
    >>> print(np.round(observed.velocity_dispersion[0, 32, 32], 2))
    0.39 km / s
    """

    beam: u.Quantity | str | None = None
    pixel_scale: u.Quantity | str | None = None
    column_noise: u.Quantity | float | None = None
    velocity_noise: u.Quantity | None = None
    dispersion_noise: u.Quantity | None = None
    zero_level: u.Quantity | None = None
    column_limits: tuple[u.Quantity | None, u.Quantity | None] = (None, None)
    missing: float | np.ndarray | None = None
    distance: u.Quantity | str | None = None

    def __post_init__(self) -> None:
        """Check units and ranges."""
        for name in ("beam", "pixel_scale"):
            if getattr(self, name) is not None:
                self._set(name, _size(getattr(self, name), name))
        if self.distance is not None:
            self._set("distance", parse_length(self.distance, what="distance"))
        if self.column_noise is not None:
            noise = u.Quantity(self.column_noise)
            self._set(
                "column_noise", noise if noise.unit == u.one else require_unit(noise, COLUMN_UNIT, "column_noise")
            )
        for name, unit in (
            ("velocity_noise", VELOCITY_UNIT),
            ("dispersion_noise", VELOCITY_UNIT),
            ("zero_level", COLUMN_UNIT),
        ):
            if getattr(self, name) is not None:
                self._set(name, require_unit(getattr(self, name), unit, name))
        for name in ("column_noise", "velocity_noise", "dispersion_noise"):
            value = getattr(self, name)
            if value is not None and not (value.isscalar and value >= 0):
                raise MapError(f"{name} is {value}; expected one number that is not negative")
        limits: Any = tuple(
            x if x is None else require_unit(x, COLUMN_UNIT, "column_limits") for x in self.column_limits
        )
        if len(limits) != 2 or (None not in limits and not limits[0] < limits[1]):
            raise MapError(f"column_limits are {self.column_limits}; expected (lowest, highest), or None for no limit")
        self._set("column_limits", limits)
        missing: Any = self.missing
        if missing is not None and np.ndim(missing) == 0 and not 0 <= float(missing) < 1:
            raise MapError(f"missing is {missing}; expected a fraction from 0 to below 1, or a boolean array")

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def apply(self, maps: Maps, *, seed: int = 0) -> Maps:
        """Return `maps` as observed.

        Missing pixels stay missing, and are left out of the convolution and of the means over new pixels. Standard
        errors of a `GasMaps` are dropped. Larger pixels of a `MapSet` are centered on the star, whose pixel has again
        the index ``n // 2``; windows then cover slightly less, because new pixels at the edge that are not covered
        wholly are left out.

        Parameters
        ----------
        maps : GasMaps or MapSet
            A field, or windows. Angles need a distance, here or of the field.
        seed : int
            Seed of the noise and of the missing pixels.

        Returns
        -------
        GasMaps or MapSet
            Of the type of `maps`.

        Raises
        ------
        MapError
            If a distance is needed and not known, new pixels are smaller than those of the maps, or `missing` has
            another shape than the observed maps.
        """
        if isinstance(maps, GasMaps):
            return self._field(maps, np.random.default_rng(seed))
        return self._windows(maps, np.random.default_rng(seed))

    def _field(self, maps: GasMaps, rng: np.random.Generator) -> GasMaps:
        """Observe a field."""
        if maps.distance is None and self.distance is not None:
            maps = replace(maps, distance=self.distance)
        distance = maps.distance if self.distance is None else self.distance
        arrays, meta = _arrays(maps), dict(maps.meta)
        if self.beam is not None:
            beam = u.Quantity(self.beam)
            if distance is None and beam.unit.is_equivalent(u.rad):
                width = (beam / maps.pixel_angle).to_value(u.one)
            else:
                width = (_length(beam, distance, "beam") / maps.pixel_scale).to_value(u.one)
            arrays = _convolved(arrays, width)
            own = meta.get("beam")
            if own is not None:
                added = width * maps.pixel_angle.to_value(u.deg)
                meta["beam"] = (float(np.hypot(own[0], added)), float(np.hypot(own[1], added)), *own[2:])
        field = _field_of(maps, arrays, meta)
        if self.pixel_scale is not None:
            target = _length(self.pixel_scale, distance, "pixel_scale")
            _check_larger(target, field.pixel_scale)
            field = regrid(field, target)
        return _field_of(field, self._measured(_arrays(field), rng), meta)

    def _windows(self, windows: MapSet, rng: np.random.Generator) -> MapSet:
        """Observe windows."""
        arrays, scale = _arrays(windows), windows.pixel_scale
        if self.beam is not None:
            width = (_length(self.beam, self.distance, "beam") / scale).to_value(u.one)
            arrays = _convolved(arrays, width)
        cell_size = windows.cell_size
        if self.pixel_scale is not None:
            target = _length(self.pixel_scale, self.distance, "pixel_scale")
            _check_larger(target, scale)
            arrays, scale, cell_size = _larger_pixels(arrays, (target / scale).to_value(u.one)), target, None
        arrays = self._measured(arrays, rng)
        return replace(windows, **_quantities(arrays), pixel_scale=scale, cell_size=cell_size)

    def _measured(self, arrays: _Arrays, rng: np.random.Generator) -> _Arrays:
        """Add zero level and noise, and remove pixels that are not measured."""
        column, velocity, dispersion = arrays
        if self.zero_level is not None:
            column = column + self.zero_level.value
        if self.column_noise is not None:
            noise = u.Quantity(self.column_noise)
            size = np.abs(column) if noise.unit == u.one else 1.0
            column = column + noise.value * size * rng.normal(size=column.shape)
        if self.velocity_noise is not None:
            velocity = velocity + self.velocity_noise.value * rng.normal(size=column.shape)
        if self.dispersion_noise is not None:
            dispersion = dispersion + self.dispersion_noise.value * rng.normal(size=column.shape)
            dispersion = np.where(dispersion < 0, np.nan, dispersion)
        lowest, highest = (
            default if limit is None else limit.value
            for limit, default in zip(self.column_limits, (-np.inf, np.inf), strict=True)
        )
        blank = (column < lowest) | (column > highest)
        missing: Any = self.missing
        if missing is not None and np.ndim(missing):
            shape = column.shape[-2:]
            if np.shape(missing) != shape:
                raise MapError(f"missing has shape {np.shape(missing)}; expected {shape}, that of the observed maps")
            blank = blank | np.asarray(missing, dtype=bool)
        elif missing is not None:
            blank = blank | (rng.uniform(size=column.shape) < missing)
        return _Arrays(*(np.where(blank, np.nan, values) for values in (column, velocity, dispersion)))


def _size(value: u.Quantity | str, name: str) -> u.Quantity:
    """Return a positive angle or length."""
    try:
        size = u.Quantity(value)
    except (TypeError, ValueError) as error:
        raise UnitsError(f"{name} {value!r} is not an angle or length; expected for instance '10 arcsec'") from error
    if not (size.unit.is_equivalent(u.rad) or size.unit.is_equivalent(u.pc)) or size.unit == u.one:
        raise UnitsError(f"{name} is {size}; expected an angle or a length, for instance '10 arcsec'")
    if not (size.isscalar and np.isfinite(size) and size > 0):
        raise UnitsError(f"{name} is {size}; expected one positive angle or length, for instance '10 arcsec'")
    return size


def _length(size: u.Quantity, distance: u.Quantity | None, name: str) -> u.Quantity:
    """Return an angle or length as a length at `distance`, pc."""
    if size.unit.is_equivalent(u.pc):
        return size.to(u.pc)
    if distance is None:
        raise MapError(f"{name} is an angle, {size}, but the distance is not known; set distance or give a length")
    return (size.to_value(u.rad) * distance).to(u.pc)


def _check_larger(target: u.Quantity, scale: u.Quantity) -> None:
    if target < scale * (1 - 1e-6):
        raise MapError(f"pixel_scale is {target}, smaller than that of the maps, {scale}; expected larger pixels")


def _arrays(maps: GasMaps | MapSet) -> _Arrays:
    quantities = (maps.column_density, maps.velocity, maps.velocity_dispersion)
    return _Arrays(*(quantity.value.astype(float) for quantity in quantities))


def _quantities(arrays: _Arrays) -> dict[str, u.Quantity]:
    return {
        "column_density": arrays.column * COLUMN_UNIT,
        "velocity": arrays.velocity * VELOCITY_UNIT,
        "velocity_dispersion": arrays.dispersion * VELOCITY_UNIT,
    }


def _field_of(maps: GasMaps, arrays: _Arrays, meta: dict) -> GasMaps:
    """Return a field of new arrays on the grid of `maps`, without standard errors."""
    return GasMaps(**_quantities(arrays), wcs=maps.wcs, distance=maps.distance, meta=meta)


def _convolved(arrays: _Arrays, width: float) -> _Arrays:
    """Return the maps after a Gaussian beam of `width` pixels (FWHM); pixels without a value keep none."""
    sigma = [0.0] * (arrays.column.ndim - 2) + [width / FWHM] * 2
    observed = _averaged(arrays, lambda values: gaussian_filter(values, sigma, mode="constant"), 0)
    return _Arrays(*(np.where(np.isfinite(old), new, np.nan) for old, new in zip(arrays, observed, strict=True)))


def _larger_pixels(arrays: _Arrays, factor: float) -> _Arrays:
    """Return windows on pixels `factor` times as large."""
    rows, columns = (_overlaps(length, factor) for length in arrays.column.shape[-2:])
    return _averaged(arrays, lambda values: rows @ values @ columns.T, VALID_AREA)


def _overlaps(length: int, factor: float) -> np.ndarray:
    """Return the share of each old pixel in each new one, shape (new, length), centered on old pixel length // 2."""
    center = length // 2 + 0.5
    before = int(center / factor - 0.5 + 1e-9)
    after = int((length - center) / factor - 0.5 + 1e-9)
    before, after = min(before, after + 1), min(before, after)
    lower = center + (np.arange(-before, after + 1) - 0.5) * factor
    old = np.arange(length)
    overlap = np.minimum(lower[:, None] + factor, old + 1) - np.maximum(lower[:, None], old)
    return np.maximum(overlap, 0) / factor


def _averaged(arrays: _Arrays, mean: Callable[[np.ndarray], np.ndarray], least_area: float) -> _Arrays:
    """Return the column-weighted moments after a linear `mean` over pixels, NaN where less than an area is valid."""
    column, velocity, dispersion = arrays
    measured = np.isfinite(column)
    usable = measured & np.isfinite(velocity) & np.isfinite(dispersion) & (np.nan_to_num(column) > 0)
    weight = np.where(usable, column, 0.0)
    total = weight.sum(axis=(-2, -1), keepdims=True)
    offset = (weight * np.nan_to_num(velocity)).sum(axis=(-2, -1), keepdims=True) / np.where(total > 0, total, 1)
    relative = np.where(usable, velocity - offset, 0.0)  # keeps v^2 near s^2 in the sums
    square = np.where(usable, dispersion, 0.0) ** 2 + relative**2
    measured_area, usable_area, mass = mean(measured.astype(float)), mean(usable.astype(float)), mean(weight)

    def ratio(numerator: np.ndarray, denominator: np.ndarray, area: np.ndarray) -> np.ndarray:
        valid = (area > 0) & (area >= least_area - 1e-9) & (denominator > 0)
        return np.divide(numerator, denominator, out=np.full(numerator.shape, np.nan), where=valid)

    new_column = ratio(mean(np.where(measured, column, 0.0)), measured_area, measured_area)
    new_velocity = ratio(mean(weight * relative), mass, usable_area)
    new_square = ratio(mean(weight * square), mass, usable_area)
    return _Arrays(new_column, new_velocity + offset, np.sqrt(np.maximum(new_square - new_velocity**2, 0)))
