"""Mass functions that can replace the one of the reference set.

The distribution of a predicted mass is a posterior: it contains the mass distribution of the reference stars as its
prior. It is replaced by multiplying with the ratio of the new prior to the old one. All densities are per dex of mass.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stellarfm.exceptions import ModelError

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["PRIORS", "MassPrior", "ReferencePrior", "kernel_density"]

#: Smallest density that a ratio of priors divides by, as a fraction of a uniform one.
FLOOR = 0.05

Density = Callable[[np.ndarray], np.ndarray]


def _flat(log_mass: np.ndarray) -> np.ndarray:
    """Return a constant."""
    return np.ones_like(log_mass)


def _kroupa(log_mass: np.ndarray) -> np.ndarray:
    """Return the canonical mass function per dex of Kroupa (2001, MNRAS 322, 231), equations 1 and 2."""
    mass = 10**log_mass
    return np.select(
        [mass < 0.08, mass < 0.5],
        [(0.08 ** (-1.3 + 0.3)) * mass**0.7, mass**-0.3],
        0.5 * mass**-1.3,
    )


def _chabrier(log_mass: np.ndarray) -> np.ndarray:
    """Return the mass function per dex of single stars of Chabrier (2003, PASP 115, 763), equation 17 and table 1."""
    peak = np.log10(0.079)
    lognormal = np.exp(-0.5 * ((log_mass - peak) / 0.69) ** 2)
    return 0.158 * np.where(log_mass < 0, lognormal, np.exp(-0.5 * (peak / 0.69) ** 2) * 10 ** (-1.3 * log_mass))


#: Named mass functions per dex, not normalized; ``"reference"`` leaves the distribution as it is.
PRIORS: dict[str, Density | None] = {"reference": None, "flat": _flat, "kroupa": _kroupa, "chabrier": _chabrier}


@dataclass(frozen=True)
class MassPrior:
    """Prior of log mass, up to a factor.

    Parameters
    ----------
    name : str
        Name for the records of a result.
    density : callable or None
        Density per dex, a function of log10 mass [solMass]; None stands for the prior of the reference set.

    Examples
    --------
    >>> import numpy as np
    >>> prior = MassPrior.resolve("kroupa")
    >>> prior.density(np.log10([0.1, 1.0])).round(2)
    array([2. , 0.5])
    """

    name: str
    density: Density | None

    @classmethod
    def resolve(cls, prior: str | os.PathLike | Table | MassPrior) -> MassPrior:
        """Return the prior of this name, or of a table with the column ``mass`` and ``pdf`` or ``weight``.

        Parameters
        ----------
        prior : str, path, Table or MassPrior
            A key of `PRIORS`, or a table or its file. With a column ``pdf``, the density per dex at ``mass`` [solMass],
            interpolated linearly in log mass and zero outside; otherwise ``mass`` is a sample of stars, with optional
            ``weight``, whose density is estimated.

        Raises
        ------
        ModelError
            If the name is unknown, or columns are missing or invalid.
        """
        if isinstance(prior, MassPrior):
            return prior
        if isinstance(prior, str) and prior in PRIORS:
            return cls(prior, PRIORS[prior])
        if isinstance(prior, str | os.PathLike):
            return _from_table(_read_table(prior), Path(prior).name)
        return _from_table(prior, "table")


def _read_table(path: str | os.PathLike) -> Table:
    """Read a table in a format that astropy recognizes."""
    from astropy.table import Table

    if not Path(path).exists():
        raise ModelError(f"unknown prior {str(path)!r}; choose {', '.join(PRIORS)}, or the file of a table of masses")
    try:
        return Table.read(path)
    except Exception as error:  # astropy raises errors of many kinds
        raise ModelError(f"{path}: cannot be read as a table ({error}); give .ecsv, .csv, .fits or .vot") from error


def _from_table(table: Table, name: str) -> MassPrior:
    """Return the prior that a table describes."""
    if "mass" not in table.colnames:
        raise ModelError(f"prior {name}: no column 'mass' among {', '.join(table.colnames)}; add one in solMass")
    mass = np.asarray(table["mass"], dtype=np.float64)
    kind = "pdf" if "pdf" in table.colnames else "weight"
    values = np.asarray(table[kind], dtype=np.float64) if kind in table.colnames else np.ones(len(mass))
    if len(mass) < 2 or not np.all(mass > 0) or not np.all(values >= 0) or not np.sum(values) > 0:
        raise ModelError(f"prior {name}: needs two or more positive masses, and no negative {kind}, some positive")
    order = np.argsort(mass)
    log_mass, values = np.log10(mass[order]), values[order]
    if kind == "pdf":
        return MassPrior(name, lambda x: np.interp(x, log_mass, values, left=0, right=0))
    return MassPrior(name, kernel_density(log_mass, values))


def kernel_density(log_mass: np.ndarray, weights: np.ndarray) -> Density:
    """Return the density per dex of weighted log masses (N,), a function; reflected at the smallest and largest mass.

    The bandwidth is that of Silverman (1986), equation 3.31, for the effective number of masses.
    """
    weights = weights / weights.sum()
    mean = weights @ log_mass
    deviation = np.sqrt(weights @ (log_mass - mean) ** 2)
    order = np.argsort(log_mass)
    quartiles = np.interp([0.25, 0.75], np.cumsum(weights[order]), log_mass[order])
    scale = min(deviation, np.diff(quartiles)[0] / 1.34) or deviation
    bandwidth = max(0.9 * scale * np.sum(weights**2) ** 0.2, 0.02)
    low, high = log_mass.min(), log_mass.max()
    fine = np.linspace(low, high, 400)
    atoms = np.concatenate([log_mass, 2 * low - log_mass, 2 * high - log_mass])
    kernel = np.exp(-0.5 * ((fine[:, None] - atoms) / bandwidth) ** 2) / (bandwidth * np.sqrt(2 * np.pi))
    values = kernel @ np.tile(weights, 3)
    return lambda x: np.interp(x, fine, values, left=0, right=0)


@dataclass(frozen=True)
class ReferencePrior:
    """Mass distribution of the reference stars, each of weight one.

    Parameters
    ----------
    log_mass, weights : ndarray
        Log10 masses of the windows [solMass], and their weights, equal in sum for all stars, shape (N,).
    """

    log_mass: np.ndarray
    weights: np.ndarray

    def density(self, log_mass: np.ndarray) -> np.ndarray:
        """Return the density per dex at these log10 masses, zero outside the range of the reference masses."""
        return kernel_density(self.log_mass, self.weights)(log_mass)

    def ratio(self, prior: MassPrior) -> Density | None:
        """Return the ratio of a prior to that of the reference set, a function of log10 mass; None if they are equal.

        Outside the range of the reference masses, about which nothing is known, the ratio is that at the end of the
        range. The density of the reference is at least a twentieth of a uniform one, which limits the ratio.

        Raises
        ------
        ModelError
            If the prior is zero wherever there are reference stars.
        """
        if prior.density is None:
            return None
        low, high = self.log_mass.min(), self.log_mass.max()
        fine = np.linspace(low, high, 400)
        reference = np.maximum(self.density(fine), FLOOR / max(high - low, 1e-3))
        values = prior.density(fine) / reference
        if not np.all(np.isfinite(values)) or not np.any(values > 0):
            raise ModelError(
                f"prior {prior.name} is zero or not finite from {10**low:.3g} to {10**high:.3g} solMass, where the "
                "reference stars are; give a prior that overlaps them"
            )
        return lambda x: np.interp(x, fine, values / values.max())
