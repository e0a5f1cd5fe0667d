"""Dirichlet-multinomial distribution of votes: loss, expected fractions and credible intervals."""

from __future__ import annotations

import numpy as np
import torch
from scipy.special import betaincinv

from stellarfm_galaxyzoo.schema import Schema

__all__ = [
    "credible_interval",
    "dirichlet_multinomial_loss",
    "dirichlet_multinomial_terms",
    "expected_fractions",
    "sum_by_question",
]


def dirichlet_multinomial_terms(
    concentrations: torch.Tensor, votes: torch.Tensor, question_of: torch.Tensor | np.ndarray
) -> torch.Tensor:
    """Return the negative log probability of the votes on each question, given its concentrations.

    With votes k_i, N = sum k_i, concentrations a_i and A = sum a_i (Walmsley et al. 2022, arXiv:2206.11927, section 3;
    Walmsley et al. 2020, arXiv:1905.07424, equation 8, for two answers)::

        -log p = -[ lnG(A) + lnG(N+1) - lnG(N+A) + sum_i ( lnG(k_i + a_i) - lnG(a_i) - lnG(k_i + 1) ) ]

    A question without votes gives exactly zero with exactly zero gradient: no mask is needed. The log gamma functions
    are computed in double precision for any input type: for 1e4 votes they reach 8e4, and their differences would lose
    all but two digits in single precision. Votes need not be integers.

    Parameters
    ----------
    concentrations : torch.Tensor
        Positive concentrations, shape (..., answers).
    votes : torch.Tensor
        Numbers of votes, at least zero, same shape.
    question_of : torch.Tensor or array
        Number of the question of each answer, shape (answers,), from zero without gaps.

    Returns
    -------
    torch.Tensor
        Negative log probability, shape (..., questions), of the type of `concentrations`.
    """
    index = torch.as_tensor(question_of, device=concentrations.device)
    a, k = concentrations.double(), votes.to(concentrations.device).double()
    answers = torch.lgamma(k + a) - torch.lgamma(a) - torch.lgamma(k + 1.0)
    total_a, total_k, inner = (sum_by_question(values, index) for values in (a, k, answers))
    outer = torch.lgamma(total_a) + torch.lgamma(total_k + 1.0) - torch.lgamma(total_k + total_a)
    return -(outer + inner).to(concentrations.dtype)


def dirichlet_multinomial_loss(
    concentrations: torch.Tensor, votes: torch.Tensor, question_of: torch.Tensor | np.ndarray
) -> torch.Tensor:
    """Return the sum of `dirichlet_multinomial_terms` over the questions, shape (...,).

    Examples
    --------
    >>> import torch
    >>> from stellarfm_galaxyzoo import dirichlet_multinomial_loss
    >>> votes = torch.tensor([3.0, 1.0])
    >>> loss = dirichlet_multinomial_loss(torch.ones(2), votes, torch.tensor([0, 0]))
    >>> round(float(loss.exp()), 4)  # with concentrations of one, all 5 outcomes of 4 votes are equally probable
    5.0
    """
    return dirichlet_multinomial_terms(concentrations, votes, question_of).sum(dim=-1)


def sum_by_question(values: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """Return sums over the answers of each question: (..., answers) to (..., questions)."""
    empty = values.new_zeros(*values.shape[:-1], int(index[-1]) + 1)
    return empty.index_add(-1, index, values)


def expected_fractions(concentrations: np.ndarray, schema: Schema) -> np.ndarray:
    """Return the expected fraction of the votes on a question for each answer, ``a_i / A``, shape (..., answers)."""
    return schema.fractions(concentrations)


def credible_interval(
    concentrations: np.ndarray, schema: Schema, *, level: float = 0.9
) -> tuple[np.ndarray, np.ndarray]:
    """Return the central interval of the fraction of each answer, which follows Beta(a_i, A - a_i).

    Parameters
    ----------
    concentrations : array
        Positive concentrations, shape (..., answers).
    schema : Schema
        Questions of the answers.
    level : float
        Probability of the interval.

    Returns
    -------
    lower : numpy.ndarray
        Lower limit of the interval, shape (..., answers).
    upper : numpy.ndarray
        Upper limit of the interval, shape (..., answers).
    """
    a = np.asarray(concentrations, dtype=float)
    rest = schema.sums(a)[..., schema.question_of] - a
    tail = (1.0 - level) / 2.0
    return betaincinv(a, rest, tail), betaincinv(a, rest, 1.0 - tail)
