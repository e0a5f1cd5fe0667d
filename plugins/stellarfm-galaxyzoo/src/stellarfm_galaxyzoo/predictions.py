"""Predictions as a table."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from astropy.table import QTable

from stellarfm_galaxyzoo.dirichlet import credible_interval, expected_fractions
from stellarfm_galaxyzoo.schema import Schema

__all__ = ["prediction_table"]


def prediction_table(
    ids: Sequence[str] | np.ndarray,
    concentrations: np.ndarray,
    schema: Schema,
    *,
    level: float = 0.9,
    with_concentrations: bool = False,
) -> QTable:
    """One row a galaxy, a few columns an answer.

    Parameters
    ----------
    ids : sequence of str
        ``id_str`` of each galaxy.
    concentrations : array
        Calibrated, shape (N, answers).
    schema : Schema
        The questions.
    level : float
        Probability of the credible intervals.
    with_concentrations : bool
        Add ``..._concentration``, from which all else follows.

    Returns
    -------
    astropy.table.QTable
        ``id_str``, and for each vote column ``..._fraction`` (expected share of the votes on its question),
        ``..._low`` and ``..._high`` (central credible interval of that share), ``..._probability`` (that a volunteer
        comes to the question and gives the answer).
    """
    fractions = expected_fractions(concentrations, schema)
    low, high = credible_interval(concentrations, schema, level=level)
    parts = {"fraction": fractions, "low": low, "high": high, "probability": schema.joint(fractions)}
    if with_concentrations:
        parts["concentration"] = concentrations
    table = QTable({"id_str": np.asarray(ids)})
    for number, column in enumerate(schema.columns):
        for name, values in parts.items():
            table[f"{column}_{name}"] = values[:, number].astype(np.float32)
    table.meta["LEVEL"] = level
    return table
