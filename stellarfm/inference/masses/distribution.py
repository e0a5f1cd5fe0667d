"""Predicted distributions of log mass on a common grid.

All masses are log10 of the mass in solMass; probabilities are those of log mass, so that a density is per dex.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from stellarfm.exceptions import ModelError

__all__ = ["MassDistribution"]

#: Number of steps of probability in which intervals are constructed.
STEPS = 200

#: Probability beyond either end of the support.
TAIL = 1e-4

#: Probability of the interval from which the others grow and shrink.
FIRST_LEVEL = 0.68


@dataclass(frozen=True, eq=False, repr=False)
class MassDistribution:
    """Distributions of log10 mass of Q stars.

    Intervals are the shortest ones that are nested: the shortest interval of probability 0.68, from which the larger
    ones grow, and the smaller ones shrink, at the side that makes the difference in length smallest or largest. Nesting
    is what makes the smallest level whose interval holds a value a conformal score.

    Parameters
    ----------
    grid : ndarray
        Centers of the bins of log10 mass, equally spaced, shape (G,).
    probability : ndarray
        Probability of each bin, shape (Q, G); rows are scaled to sum to 1.
    predicted : ndarray, optional
        Point prediction of the head, log10 mass, shape (Q,); by default the means.
    calibrated_level : callable, optional
        Function from a probability to the probability, shape (Q,), that an uncalibrated interval must have to hold as
        often. Values above 1 extend the support by as many dex; infinity gives an infinite interval.

    Raises
    ------
    ModelError
        If shapes do not fit or a row has no probability.

    Examples
    --------
    >>> import numpy as np
    >>> grid = np.linspace(-3, 3, 601)
    >>> normal = MassDistribution(grid, np.exp(-0.5 * (grid / 0.3) ** 2)[None])
    >>> lower, upper = normal.interval(0.68)
    >>> print(f"{normal.mean()[0]:.2f} {lower[0]:.2f} {upper[0]:.2f}")
    0.00 -0.30 0.30
    """

    grid: np.ndarray
    probability: np.ndarray
    predicted: np.ndarray | None = None
    calibrated_level: Callable[[float], np.ndarray] | None = None

    def __post_init__(self) -> None:
        """Check the shapes and scale the rows."""
        if self.probability.ndim != 2 or self.probability.shape[1] != len(self.grid):
            raise ModelError(
                f"probabilities of shape {self.probability.shape} on a grid of {len(self.grid)}; expected (Q, G)"
            )
        total = self.probability.sum(axis=1, keepdims=True)
        if not np.all((total > 0) & np.isfinite(total)):
            raise ModelError(
                "a distribution has no probability anywhere on the grid; give finite weights, some positive"
            )
        object.__setattr__(self, "probability", self.probability / total)

    def __len__(self) -> int:
        """Return the number of stars."""
        return len(self.probability)

    def __repr__(self) -> str:
        """Return the number of stars and the range of their medians."""
        if not len(self):
            return "MassDistribution(0 stars)"
        median = 10 ** self.median()
        return f"MassDistribution({len(self)} stars, medians {median.min():.3g} to {median.max():.3g} solMass)"

    @property
    def step(self) -> float:
        """Width of a bin, dex."""
        return float(self.grid[1] - self.grid[0])

    @cached_property
    def _edges(self) -> np.ndarray:
        """Edges of the bins, shape (G + 1,)."""
        return np.append(self.grid - self.step / 2, self.grid[-1] + self.step / 2)

    @cached_property
    def _cumulative(self) -> np.ndarray:
        """Cumulative probability at the edges, shape (Q, G + 1)."""
        cumulative = np.zeros((len(self), len(self._edges)))
        np.cumsum(self.probability, axis=1, out=cumulative[:, 1:])
        return np.clip(cumulative, 0, 1)

    def mean(self) -> np.ndarray:
        """Return the mean log10 mass, shape (Q,)."""
        return self.probability @ self.grid

    def median(self) -> np.ndarray:
        """Return the median log10 mass, shape (Q,)."""
        return self.quantile(0.5)

    def quantile(self, probability: float | np.ndarray) -> np.ndarray:
        """Return log10 masses below which `probability` lies, shape (Q,) or (Q, len(probability))."""
        wanted = np.asarray(probability, dtype=np.float64)
        if np.any((wanted < 0) | (wanted > 1)):
            raise ModelError(f"quantile {probability} is not between 0 and 1")
        rows = [np.interp(wanted, cumulative, self._edges) for cumulative in self._cumulative]
        return np.array(rows).reshape(len(self), *wanted.shape)

    def cdf(self, log_mass: float | np.ndarray) -> np.ndarray:
        """Return the probability of masses up to `log_mass`, a number or one per star, shape (Q,)."""
        at = np.broadcast_to(np.asarray(log_mass, dtype=np.float64), (len(self),))
        return np.array([np.interp(x, self._edges, row) for x, row in zip(at, self._cumulative, strict=True)])

    def pdf(self, log_mass: float | np.ndarray) -> np.ndarray:
        """Return the density per dex at `log_mass`, a number or one per star, shape (Q,)."""
        at = np.broadcast_to(np.asarray(log_mass, dtype=np.float64), (len(self),))
        return np.array(
            [np.interp(x, self.grid, row, left=0, right=0) for x, row in zip(at, self.probability / self.step)]
        )

    def sample(self, n: int, *, seed: int = 0) -> np.ndarray:
        """Return `n` log10 masses drawn from each distribution, shape (Q, n)."""
        drawn = np.random.default_rng(seed).uniform(size=(len(self), n))
        rows = [np.interp(u, row, self._edges) for u, row in zip(drawn, self._cumulative, strict=True)]
        return np.array(rows).reshape(len(self), n)

    def interval(self, level: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the ends of the shortest interval of probability `level`, log10 mass, each of shape (Q,).

        The interval is calibrated where the distribution comes from a calibrated head; -inf and inf are returned where
        too few reference stars are known for `level`.
        """
        if not 0 < level < 1:
            raise ModelError(f"interval level {level} is not between 0 and 1; give 0.68 for 68 %")
        nominal = np.full(len(self), level) if self.calibrated_level is None else self.calibrated_level(level)
        lower, upper = self._nested
        inner = np.clip(nominal, 0, 1)
        beyond = np.maximum(nominal - 1, 0)
        return _at_level(lower, inner) - beyond, _at_level(upper, inner) + beyond

    def score(self, log_mass: np.ndarray) -> np.ndarray:
        """Return the smallest uncalibrated level whose interval holds `log_mass`, both of shape (Q,).

        Beyond the support the score is 1 plus the distance in dex.
        """
        lower, upper = self._nested
        log_mass = np.asarray(log_mass, dtype=np.float64)
        score = np.maximum(_first_level(upper, log_mass), _first_level(-lower, -log_mass))
        return score + np.maximum(log_mass - upper[:, -1], 0) + np.maximum(lower[:, -1] - log_mass, 0)

    @cached_property
    def _nested(self) -> tuple[np.ndarray, np.ndarray]:
        """Ends of nested intervals of probability 0, 1 / STEPS, ..., 1, each of shape (Q, STEPS + 1)."""
        quantiles = self.quantile(np.clip(np.arange(STEPS + 1) / STEPS, TAIL, 1 - TAIL))
        rows, first = np.arange(len(self)), round(FIRST_LEVEL * STEPS)
        start = (quantiles[:, first:] - quantiles[:, : STEPS + 1 - first]).argmin(axis=1)
        lower, upper = np.empty_like(quantiles), np.empty_like(quantiles)
        padded = np.pad(quantiles, ((0, 0), (1, 1)), constant_values=((0, 0), (-np.inf, np.inf)))
        left = start.copy()  # `padded` is shifted by one: quantile j is in column j + 1
        for width in range(first, STEPS + 1):
            lower[:, width], upper[:, width] = quantiles[rows, left], quantiles[rows, left + width]
            to_left = padded[rows, left + 1] - padded[rows, left]
            to_right = padded[rows, left + width + 2] - padded[rows, left + width + 1]
            left = left - (to_left < to_right)
        left = start.copy()
        for width in range(first, -1, -1):
            lower[:, width], upper[:, width] = quantiles[rows, left], quantiles[rows, left + width]
            if width:
                from_left = quantiles[rows, left + 1] - quantiles[rows, left]
                from_right = quantiles[rows, left + width] - quantiles[rows, left + width - 1]
                left = left + (from_left >= from_right)
        return lower, upper

    def reweight(self, ratio: Callable[[np.ndarray], np.ndarray]) -> MassDistribution:
        """Return the distributions multiplied by `ratio`, a function of log10 mass, and scaled.

        With ``ratio = new_prior / old_prior`` this is Bayes' theorem. Levels stay those of the old prior;
        `CalibratedHead.predict` also calibrates under the new one.
        """
        return replace(self, probability=self.probability * ratio(self.grid), predicted=None)

    def crps(self, log_mass: np.ndarray) -> np.ndarray:
        """Return the continuous ranked probability score for true `log_mass`, dex, both of shape (Q,).

        The integral of ``(F(x) - [x >= log_mass])**2`` (Gneiting & Raftery 2007, JASA 102, 359); smaller is better.
        """
        log_mass = np.asarray(log_mass, dtype=np.float64)
        inside = np.clip(log_mass, self._edges[0], self._edges[-1])
        below = _integral_of_square(self._cumulative, self._edges, inside)
        above = _integral_of_square(1 - self._cumulative[:, ::-1], -self._edges[::-1], -inside)
        return below + above + np.abs(log_mass - inside)

    def __getitem__(self, index: Any) -> MassDistribution:
        """Return the distributions at a slice, a boolean array or an index array."""
        level = self.calibrated_level
        return MassDistribution(
            self.grid,
            self.probability[index],
            None if self.predicted is None else self.predicted[index],
            None if level is None else lambda probability: level(probability)[index],
        )


def _at_level(ends: np.ndarray, level: np.ndarray) -> np.ndarray:
    """Return ends of intervals (Q, STEPS + 1) at levels (Q,) between 0 and 1, by linear interpolation."""
    position = level * STEPS
    before = np.minimum(position.astype(int), STEPS - 1)
    rows, fraction = np.arange(len(ends)), position - before
    return ends[rows, before] * (1 - fraction) + ends[rows, before + 1] * fraction


def _first_level(upper: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Return the smallest levels at which non-decreasing ends (Q, STEPS + 1) reach `value` (Q,); at most 1."""
    after = (upper < value[:, None]).sum(axis=1)
    inside = (after > 0) & (after <= STEPS)
    row, k = np.flatnonzero(inside), after[inside]
    low, high = upper[row, k - 1], upper[row, k]
    fraction = np.zeros(len(upper))
    fraction[row] = (value[row] - low) / (high - low) - 1
    return np.clip((after + fraction) / STEPS, 0, 1)


def _integral_of_square(values: np.ndarray, edges: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Return the integral from the first edge to `end` (Q,) of the squared piecewise linear `values` (Q, G + 1)."""
    steps = np.diff(edges)
    a, b = values[:, :-1], values[:, 1:]
    whole = np.zeros_like(values)
    np.cumsum(steps * (a**2 + a * b + b**2) / 3, axis=1, out=whole[:, 1:])
    k = np.clip(np.searchsorted(edges, end, side="right") - 1, 0, len(steps) - 1)
    rows, length = np.arange(len(values)), end - edges[k]
    first = values[rows, k]
    last = first + (values[rows, k + 1] - first) * length / steps[k]
    return whole[rows, k] + length * (first**2 + first * last + last**2) / 3
