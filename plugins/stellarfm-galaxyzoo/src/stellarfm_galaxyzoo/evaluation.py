"""Accuracy and calibration of predictions, compared with the votes of volunteers."""

from __future__ import annotations

import numpy as np
import torch
from astropy.table import QTable
from scipy.stats import betabinom

from stellarfm_galaxyzoo.dirichlet import dirichlet_multinomial_terms
from stellarfm_galaxyzoo.schema import Schema

__all__ = ["LEVELS", "coverage_of_votes", "evaluate", "reliability"]

LEVELS = (0.5, 0.9)


def _randomized_pit(concentrations: np.ndarray, votes: np.ndarray, schema: Schema, seed: int) -> np.ndarray:
    """Return the randomized probability integral transform of each count: uniform in [0, 1] if calibrated."""
    rest = schema.sums(concentrations)[:, schema.question_of] - concentrations
    total = schema.sums(votes)[:, schema.question_of]
    below, upto = (betabinom.cdf(votes - step, total, concentrations, rest) for step in (1, 0))
    where = np.random.default_rng(seed).uniform(size=votes.shape)
    return np.where(total > 0, below + where * (upto - below), np.nan)


def coverage_of_votes(
    concentrations: np.ndarray, votes: np.ndarray, schema: Schema, *, level: float = 0.9, seed: int = 0
) -> np.ndarray:
    """Return the fraction of counts within their central interval, for each answer; NaN without votes.

    Given N votes and the concentrations, a count follows a beta-binomial distribution. Counts are integers, so the
    limits of the interval are randomized such that it has exactly the probability `level`.
    """
    transform = _randomized_pit(concentrations, votes, schema, seed)
    known = np.isfinite(transform)
    inside = known & (np.abs(np.where(known, transform, 0.5) - 0.5) <= level / 2)
    return np.divide(
        inside.sum(axis=0), known.sum(axis=0), out=np.full(votes.shape[1], np.nan), where=known.any(axis=0)
    )


def evaluate(concentrations: np.ndarray, votes: np.ndarray, schema: Schema, *, seed: int = 0) -> QTable:
    """Return the scores of each question with votes and of all questions together (last row, ``all``).

    Parameters
    ----------
    concentrations : array
        Predicted concentrations, shape (N, answers).
    votes : array
        Numbers of votes, shape (N, answers).
    schema : Schema
        Questions of the answers.
    seed : int
        Seed of the randomized coverage.

    Returns
    -------
    astropy.table.QTable
        Columns: ``question``; ``galaxies``, the number with votes on it; ``loss``, the mean negative log probability of
        their votes; ``uniform_loss``, the same for concentrations of one; ``error``, the mean absolute error of the
        fractions; ``accuracy``, the fraction of galaxies for which the answer with most votes has the largest expected
        fraction; ``coverage_50`` and ``coverage_90``, fractions of counts within central intervals;
        ``binomial_error``, the standard error of a fraction of 0.9.

    Examples
    --------
    >>> import numpy as np
    >>> from stellarfm_galaxyzoo import Schema, evaluate
    >>> votes = np.array([[9.0, 1.0], [2.0, 8.0]])
    >>> table = evaluate(1.0 + votes, votes, Schema.load("rings"))
    >>> float(table["accuracy"][0])
    1.0
    """
    index = torch.as_tensor(schema.question_of)
    k = torch.as_tensor(np.asarray(votes, dtype=float))
    terms, uniform = (
        dirichlet_multinomial_terms(torch.as_tensor(a), k, index).numpy()
        for a in (concentrations, np.ones_like(concentrations))
    )
    observed, expected = schema.fractions(votes), schema.fractions(concentrations)
    covered = [coverage_of_votes(concentrations, votes, schema, level=level, seed=seed) for level in LEVELS]
    rows = []
    for number, question in enumerate(schema.questions):
        columns = schema.slice_of(number)
        asked = np.isfinite(observed[:, columns.start])
        if not asked.any():
            continue
        truth, predicted = observed[asked, columns], expected[asked, columns]
        hits = np.take_along_axis(truth, predicted.argmax(axis=1)[:, None], axis=1)[:, 0] == truth.max(axis=1)
        rows.append(
            (
                question.name,
                int(asked.sum()),
                terms[asked, number].mean(),
                uniform[asked, number].mean(),
                np.abs(truth - predicted).mean(),
                hits.mean(),
                *(share[columns].mean() for share in covered),
                np.sqrt(0.09 / asked.sum()),
            )
        )
    names = ("question", "galaxies", "loss", "uniform_loss", "error", "accuracy", "coverage_50", "coverage_90")
    table = QTable(rows=rows + _overall(rows), names=(*names, "binomial_error"))
    for name in table.colnames[2:]:
        table[name].info.format = ".3f"
    return table


def _overall(rows: list[tuple]) -> list[tuple]:
    """Return the means over all questions, weighted by their numbers of galaxies."""
    if not rows:
        return []
    galaxies = np.array([row[1] for row in rows])
    means = [float(np.average([row[column] for row in rows], weights=galaxies)) for column in range(2, 8)]
    return [("all", int(galaxies.sum()), *means, float(np.sqrt(0.09 / galaxies.max())))]


def reliability(concentrations: np.ndarray, votes: np.ndarray, schema: Schema, *, bins: int = 10) -> QTable:
    """Return predicted and observed fractions of the volunteers of a campaign, in bins.

    The predicted probability that a volunteer reaches a question and gives an answer is compared with the fraction of
    the volunteers of the campaign who did. Answers of all questions are pooled.

    Parameters
    ----------
    concentrations : array
        Predicted concentrations, shape (N, answers).
    votes : array
        Numbers of votes, shape (N, answers).
    schema : Schema
        Questions of the answers.
    bins : int
        Number of bins between 0 and 1.

    Returns
    -------
    astropy.table.QTable
        Columns ``count``, ``predicted`` and ``observed``, one row per bin that is not empty.
    """
    joint = schema.joint(schema.fractions(concentrations))
    volunteers = _volunteers(votes, schema)
    known = volunteers > 0
    observed = np.divide(votes, volunteers, out=np.zeros_like(joint), where=known)
    bin_of = np.minimum((joint * bins).astype(int), bins - 1)
    rows = []
    for number in range(bins):
        inside = known & (bin_of == number)
        if inside.any():
            rows.append((int(inside.sum()), joint[inside].mean(), observed[inside].mean()))
    table = QTable(rows=rows, names=("count", "predicted", "observed"))
    for name in ("predicted", "observed"):
        table[name].info.format = ".3f"
    return table


def _volunteers(votes: np.ndarray, schema: Schema) -> np.ndarray:
    """Return the number of volunteers at the root of the tree of each answer, shape (N, answers)."""
    totals = schema.sums(np.asarray(votes, dtype=float))
    root: dict[int, int] = {}
    for number in schema.order:
        parents = schema.parents(number)
        root[number] = root[int(schema.question_of[parents[0]])] if parents else number
    return totals[:, [root[number] for number in range(len(schema.questions))]][:, schema.question_of]
