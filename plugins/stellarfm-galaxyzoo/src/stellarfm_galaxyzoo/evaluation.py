"""How good and how honest predictions are, against volunteers' votes."""

from __future__ import annotations

import numpy as np
import torch
from astropy.table import QTable
from scipy.stats import betabinom

from stellarfm_galaxyzoo.dirichlet import dirichlet_multinomial_terms
from stellarfm_galaxyzoo.schema import Schema

__all__ = ["LEVELS", "coverage_of_votes", "evaluate", "reliability"]

LEVELS = (0.5, 0.9)


def _pit(concentrations: np.ndarray, votes: np.ndarray, schema: Schema, seed: int) -> np.ndarray:
    """Randomised probability integral transform of each count, shape (N, answers): even in [0, 1] if calibrated."""
    rest = schema.sums(concentrations)[:, schema.question_of] - concentrations
    total = schema.sums(votes)[:, schema.question_of]
    below, upto = (betabinom.cdf(votes - step, total, concentrations, rest) for step in (1, 0))
    where = np.random.default_rng(seed).uniform(size=votes.shape)
    return np.where(total > 0, below + where * (upto - below), np.nan)


def coverage_of_votes(
    concentrations: np.ndarray, votes: np.ndarray, schema: Schema, *, level: float = 0.9, seed: int = 0
) -> np.ndarray:
    """Share of counts within their central interval of probability `level`, for each answer; NaN without votes.

    Counts are whole: the interval's ends are drawn so that it holds exactly `level` of the beta-binomial distribution,
    whose counts given N votes and a concentration follow.
    """
    transform = _pit(concentrations, votes, schema, seed)
    known = np.isfinite(transform)
    inside = known & (np.abs(np.where(known, transform, 0.5) - 0.5) <= level / 2)
    return np.divide(
        inside.sum(axis=0), known.sum(axis=0), out=np.full(votes.shape[1], np.nan), where=known.any(axis=0)
    )


def evaluate(concentrations: np.ndarray, votes: np.ndarray, schema: Schema, *, seed: int = 0) -> QTable:
    """Scores of each question that somebody voted on, and of all together (last row, ``all``).

    Parameters
    ----------
    concentrations, votes : array
        Shape (N, answers).
    schema : Schema
        The questions.
    seed : int
        Of the randomised coverage.

    Returns
    -------
    astropy.table.QTable
        ``question``; ``galaxies`` with votes on it; ``loss``, the mean negative log probability of their votes;
        ``uniform_loss``, the same for concentrations of one; ``error``, the mean absolute error of the fractions;
        ``accuracy``, how often the answer with most votes is the most expected one; ``coverage_50`` and
        ``coverage_90``, shares of counts within central intervals; ``binomial_error``, the standard error of a share
        of 0.9.
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
        seen, said = observed[asked, columns], expected[asked, columns]
        hits = np.take_along_axis(seen, said.argmax(axis=1)[:, None], axis=1)[:, 0] == seen.max(axis=1)
        rows.append(
            (
                question.name,
                int(asked.sum()),
                terms[asked, number].mean(),
                uniform[asked, number].mean(),
                np.abs(seen - said).mean(),
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
    """Means over all questions, each weighted with its galaxies."""
    if not rows:
        return []
    galaxies = np.array([row[1] for row in rows])
    means = [float(np.average([row[column] for row in rows], weights=galaxies)) for column in range(2, 8)]
    return [("all", int(galaxies.sum()), *means, float(np.sqrt(0.09 / galaxies.max())))]


def reliability(concentrations: np.ndarray, votes: np.ndarray, schema: Schema, *, bins: int = 10) -> QTable:
    """Whether tree probabilities hold: predicted and observed share of the volunteers of a campaign, by bins.

    A volunteer's probability to come to a question and give an answer is compared with the share of the campaign's
    volunteers who did. Answers of all questions of trees that begin with a root are pooled.

    Returns
    -------
    astropy.table.QTable
        ``count``, ``predicted`` and ``observed`` of each bin that is not empty.
    """
    joint = schema.joint(schema.fractions(concentrations))
    began = _volunteers(votes, schema)
    known = began > 0
    observed = np.divide(votes, began, out=np.zeros_like(joint), where=known)
    bin_of = np.minimum((joint * bins).astype(int), bins - 1)
    rows = []
    for number in range(bins):
        here = known & (bin_of == number)
        if here.any():
            rows.append((int(here.sum()), joint[here].mean(), observed[here].mean()))
    table = QTable(rows=rows, names=("count", "predicted", "observed"))
    for name in ("predicted", "observed"):
        table[name].info.format = ".3f"
    return table


def _volunteers(votes: np.ndarray, schema: Schema) -> np.ndarray:
    """Number of volunteers at the root of each answer's tree, shape (N, answers)."""
    totals = schema.sums(np.asarray(votes, dtype=float))
    root: dict[int, int] = {}
    for number in schema.order:
        parents = schema.parents(number)
        root[number] = root[int(schema.question_of[parents[0]])] if parents else number
    return totals[:, [root[number] for number in range(len(schema.questions))]][:, schema.question_of]
