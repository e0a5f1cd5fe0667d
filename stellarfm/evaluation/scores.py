"""Tables of scores from a table of predictions."""

from __future__ import annotations

import numpy as np
from astropy import units as u
from astropy.table import QTable

from stellarfm.evaluation.metrics import (
    binomial_range,
    coverage,
    fifths,
    mean_by_star,
    mean_difference,
    r2,
    r2_difference,
    score,
)
from stellarfm.inference.masses.conformal import star_weights
from stellarfm.inference.masses.mass_table import interval_columns, level_name

__all__ = ["LEVELS", "compare", "score_table"]

#: Probabilities of the intervals.
LEVELS = (0.68, 0.95)

_CRPS_COLUMNS = ("crps_difference", "crps_low", "crps_high", "crps_probability")


def score_table(predictions: QTable) -> QTable:
    """Return the scores of each (split, method), over windows pooled over the held-out folds.

    Parameters
    ----------
    predictions : QTable
        Predictions as `stellarfm.evaluation.held_out_masses` returns them.

    Returns
    -------
    QTable
        A row for each (split, method), errors, widths and CRPS in dex:

        - ``r2`` and ``rmse`` of the median mass with the ends of a 95 % interval from resampling stars, ``bias``, and
          ``r2_mean`` of the column ``mass_mean``;
        - ``crps`` over windows and ``star_crps`` over stars (each of weight one, as in the calibration), with the ends
          of their 95 % intervals from resampling stars;
        - for the 68 % and 95 % intervals, ``coverage_68`` over windows, ``star_coverage_68`` over stars, and
          ``star_coverage_68_fifths``, shape (5,), in fifths of stars by predicted median; their 95 % binomial ranges
          ``star_coverage_68_low``, ``star_coverage_68_fifths_low``, ... for these numbers of stars and exact coverage;
          mean full widths ``width_68`` over windows and ``star_width_68`` over stars;
        - ``n_stars``, ``n_windows``.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy import units as u
    >>> from astropy.table import QTable
    >>> mass = np.array([0.1, 1.0, 10.0]) * u.solMass
    >>> predictions = QTable({"split": ["star"] * 3, "method": ["perfect"] * 3, "group": ["a/1", "a/2", "a/3"]})
    >>> predictions["mass_true"] = predictions["mass"] = predictions["mass_mean"] = mass
    >>> predictions["crps"] = np.zeros(3)
    >>> for level in (68, 95):
    ...     predictions[f"mass_lower_{level}"], predictions[f"mass_upper_{level}"] = mass / 2, mass * 2
    >>> scores = score_table(predictions)
    >>> print(scores["r2"][0], scores["star_coverage_68"][0], f"{scores['width_68'][0]:.2f}")
    1.0 1.0 0.60 dex
    """
    rows = []
    for by, name, part in _parts(predictions):
        stars, truth, median = part["group"], _log_mass(part, "mass_true"), _log_mass(part, "mass")
        crps, weights = mean_by_star(part["crps"].value, stars), star_weights(stars)
        row = {"split": by, "method": name, **score(truth, median, stars)._asdict()}
        row["r2_mean"] = r2(truth, _log_mass(part, "mass_mean"))
        row |= {"crps": crps.mean, "crps_low": crps.low, "crps_high": crps.high}
        row |= {"star_crps": crps.star_mean, "star_crps_low": crps.star_low, "star_crps_high": crps.star_high}
        fifth = fifths(median, stars)
        for level in LEVELS:
            lower, upper = (_log_mass(part, column) for column in interval_columns(level))
            row |= _interval_scores(level_name(level), level, truth, lower, upper, weights, fifth)
        row["n_stars"], row["n_windows"] = len(np.unique(stars)), len(part)
        rows.append(row)
    table = QTable(rows=rows)
    for column in table.colnames:
        if column.startswith(("rmse", "bias", "width", "star_width", "crps", "star_crps")):
            table[column].unit = u.dex
    return table


def _interval_scores(
    key: str,
    level: float,
    truth: np.ndarray,
    lower: np.ndarray,
    upper: np.ndarray,
    weights: np.ndarray,
    fifth: np.ndarray,
) -> dict[str, float | np.ndarray]:
    """Return coverage over windows, over stars and in fifths of stars, with binomial ranges, and widths."""
    inside = (truth >= lower) & (truth <= upper)
    n_stars = np.bincount(fifth, weights, minlength=5)
    with np.errstate(invalid="ignore"):  # a fifth without stars
        by_fifth = np.bincount(fifth, weights * inside, minlength=5) / n_stars
    low, high = binomial_range(np.rint(n_stars.sum()), level)
    fifths_low, fifths_high = binomial_range(np.rint(n_stars), level)
    return {
        f"coverage_{key}": coverage(truth, lower, upper),
        f"star_coverage_{key}": coverage(truth, lower, upper, weights=weights),
        f"star_coverage_{key}_low": float(low),
        f"star_coverage_{key}_high": float(high),
        f"star_coverage_{key}_fifths": by_fifth,
        f"star_coverage_{key}_fifths_low": fifths_low,
        f"star_coverage_{key}_fifths_high": fifths_high,
        f"width_{key}": float(np.mean(upper - lower)),
        f"star_width_{key}": float(np.average(upper - lower, weights=weights)),
    }


def compare(predictions: QTable, method: str) -> QTable:
    """Return R2 and CRPS of `method` minus those of each other method, from a paired bootstrap over stars.

    Parameters
    ----------
    predictions : QTable
        Predictions as `stellarfm.evaluation.held_out_masses` returns them.
    method : str
        Name of the method that the others are compared with.

    Returns
    -------
    QTable
        ``split``, ``method``, ``other``; ``difference`` of R2 over windows with a 95 % interval ``low`` to ``high``,
        and ``probability``, the fraction of the resamplings in which `method` is the better one;
        ``crps_difference``, ``crps_low``, ``crps_high`` and ``crps_probability`` of CRPS over stars [dex], of which
        negative differences are better.

    Examples
    --------
    >>> from astropy import units as u
    >>> from astropy.table import QTable
    >>> predictions = QTable({"split": ["star"] * 6, "method": ["a"] * 3 + ["b"] * 3, "group": ["1", "2", "3"] * 2})
    >>> predictions["mass_true"] = [0.1, 1, 10, 0.1, 1, 10] * u.solMass
    >>> predictions["mass"] = [0.1, 1, 10, 1, 1, 1] * u.solMass
    >>> predictions["crps"] = [0.1, 0.1, 0.1, 0.4, 0.4, 0.4]
    >>> differences = compare(predictions, "a")
    >>> print(differences["difference"][0], f"{differences['crps_difference'][0]:.1f}")
    1.0 -0.3 dex
    """
    parts = {(by, name): part for by, name, part in _parts(predictions)}
    rows = []
    for (by, other), part in parts.items():
        if other == method:
            continue
        first, truth = parts[by, method], _log_mass(part, "mass_true")
        found = r2_difference(truth, _log_mass(first, "mass"), _log_mass(part, "mass"), part["group"])
        crps = mean_difference(first["crps"].value, part["crps"].value, part["group"])
        row = {"split": by, "method": method, "other": other, **found._asdict()}
        rows.append(row | dict(zip(_CRPS_COLUMNS, crps, strict=True)))
    names = ("split", "method", "other", "difference", "low", "high", "probability", *_CRPS_COLUMNS)
    table = QTable(rows=rows) if rows else QTable(names=names)
    for name in _CRPS_COLUMNS[:3]:
        table[name].unit = u.dex
    return table


def _log_mass(table: QTable, column: str) -> np.ndarray:
    """Return log10 of a column of masses in solMass."""
    with np.errstate(divide="ignore"):  # the lower end of an unbounded interval is zero
        return np.log10(table[column].to_value("solMass"))


def _parts(predictions: QTable) -> list[tuple[str, str, QTable]]:
    """Return split, method and rows of each part of a table of predictions, in the order of their first rows."""
    pairs = dict.fromkeys(zip(predictions["split"], predictions["method"], strict=True))
    return [
        (by, name, predictions[(predictions["split"] == by) & (predictions["method"] == name)]) for by, name in pairs
    ]
