"""Tables of scores from a table of predictions."""

from __future__ import annotations

import numpy as np
from astropy import units as u
from astropy.table import QTable

from stellarfm.evaluation.metrics import coverage, r2_difference, score
from stellarfm.inference.masses.conformal import star_weights
from stellarfm.inference.masses.mass_table import interval_columns, level_name

__all__ = ["LEVELS", "compare", "score_table"]

#: Probabilities of the intervals.
LEVELS = (0.68, 0.95)


def score_table(predictions: QTable) -> QTable:
    """Return the scores of each (split, method), over windows pooled over the held-out folds.

    Parameters
    ----------
    predictions : QTable
        Predictions as `stellarfm.evaluation.held_out_masses` returns them.

    Returns
    -------
    QTable
        ``r2`` and ``rmse`` with the ends of a 95 % interval from resampling stars, ``bias``; for the 68 % and 95 %
        intervals the fraction of true masses inside, over windows and over stars (each with weight one, as in the
        calibration), and the mean half-width; ``crps``, over windows and over stars, if the predictions have it;
        numbers of stars and windows. Errors, widths and CRPS in dex.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy import units as u
    >>> from astropy.table import QTable
    >>> mass = np.array([0.1, 1.0, 10.0]) * u.solMass
    >>> predictions = QTable({"split": ["star"] * 3, "method": ["perfect"] * 3, "group": ["a/1", "a/2", "a/3"]})
    >>> predictions["mass_true"] = predictions["mass"] = mass
    >>> for level in (68, 95):
    ...     predictions[f"mass_lower_{level}"], predictions[f"mass_upper_{level}"] = mass / 2, mass * 2
    >>> scores = score_table(predictions)
    >>> print(scores["r2"][0], scores["coverage_68"][0])
    1.0 1.0
    """
    rows = []
    for by, name, part in _parts(predictions):
        truth = _log_mass(part, "mass_true")
        row = {"split": by, "method": name, **score(truth, _log_mass(part, "mass"), part["group"])._asdict()}
        for level in LEVELS:
            lower, upper = (_log_mass(part, column) for column in interval_columns(level))
            key = level_name(level)
            row[f"coverage_{key}"] = coverage(truth, lower, upper)
            row[f"star_coverage_{key}"] = coverage(truth, lower, upper, weights=star_weights(part["group"]))
            row[f"half_width_{key}"] = float(np.mean(upper - lower) / 2)
        if "crps" in part.colnames:
            row["crps"] = float(np.mean(part["crps"].value))
            row["star_crps"] = float(np.average(part["crps"].value, weights=star_weights(part["group"])))
        row["n_stars"], row["n_windows"] = len(np.unique(part["group"])), len(part)
        rows.append(row)
    table = QTable(rows=rows)
    for column in table.colnames:
        if column.startswith(("rmse", "bias", "half_width", "crps", "star_crps")):
            table[column].unit = u.dex
    return table


def compare(predictions: QTable, method: str) -> QTable:
    """Return the R2 of `method` minus that of each other method, from a paired bootstrap over stars.

    Parameters
    ----------
    predictions : QTable
        Predictions as `stellarfm.evaluation.held_out_masses` returns them.
    method : str
        Name of the method that the others are compared with.

    Returns
    -------
    QTable
        ``split``, ``method``, ``other``, ``difference`` with a 95 % interval ``low`` to ``high``, and ``probability``,
        the fraction of the resamplings in which `method` is the better one.

    Examples
    --------
    >>> from astropy import units as u
    >>> from astropy.table import QTable
    >>> predictions = QTable({"split": ["star"] * 6, "method": ["a"] * 3 + ["b"] * 3, "group": ["1", "2", "3"] * 2})
    >>> predictions["mass_true"] = [0.1, 1, 10, 0.1, 1, 10] * u.solMass
    >>> predictions["mass"] = [0.1, 1, 10, 1, 1, 1] * u.solMass
    >>> print(compare(predictions, "a")["difference"][0])
    1.0
    """
    parts = {(by, name): part for by, name, part in _parts(predictions)}
    rows = []
    for (by, other), part in parts.items():
        if other == method:
            continue
        first, truth = parts[by, method], _log_mass(part, "mass_true")
        found = r2_difference(truth, _log_mass(first, "mass"), _log_mass(part, "mass"), part["group"])
        rows.append({"split": by, "method": method, "other": other, **found._asdict()})
    names = ("split", "method", "other", "difference", "low", "high", "probability")
    return QTable(rows=rows) if rows else QTable(names=names)


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
