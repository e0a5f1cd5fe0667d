"""Table of predictions."""

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
    """Return a table with one row per galaxy and several columns per answer.

    Parameters
    ----------
    ids : sequence of str
        Value of ``id_str`` for each galaxy.
    concentrations : array
        Calibrated concentrations, shape (N, answers).
    schema : Schema
        Questions of the answers.
    level : float
        Probability of the credible intervals.
    with_concentrations : bool
        Addition of the columns ``..._concentration``, which determine all others.

    Returns
    -------
    astropy.table.QTable
        Column ``id_str`` and, for each vote column, ``..._fraction`` (expected fraction of the votes on its question),
        ``..._low`` and ``..._high`` (central credible interval of the fraction), and ``..._probability`` (probability
        that a volunteer reaches the question and gives the answer).
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
