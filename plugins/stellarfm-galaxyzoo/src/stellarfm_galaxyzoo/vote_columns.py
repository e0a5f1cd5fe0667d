"""Vote columns, named ``question-campaign_answer``, and their grouping by question."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from stellarfm.exceptions import PretrainingError

__all__ = ["question_numbers", "question_totals"]


def question_numbers(names: Sequence[str]) -> list[int]:
    """Return the number of the question of each vote column, from zero in the order of the columns.

    Raises
    ------
    PretrainingError
        If a name has another form, or the answers to one question are not adjacent.
    """
    questions = [name.rpartition("_")[0] for name in names]
    if not names or not all(questions):
        odd = next((name for name, question in zip(names, questions) if not question), "none")
        raise PretrainingError(
            f"labels are not votes ({odd}); expected columns question-campaign_answer: use the dataset galaxyzoo"
        )
    numbers = [0]
    for before, now in pairwise(questions):
        numbers.append(numbers[-1] + (now != before))
    if numbers[-1] + 1 != len(set(questions)):
        raise PretrainingError("the answers to a question are not adjacent; sort the vote columns by question")
    return numbers


def question_totals(values: np.ndarray, question_of: np.ndarray) -> np.ndarray:
    """Return, for each answer, the sum of `values` over the answers of its question: (N, answers), same shape."""
    first = np.flatnonzero(np.diff(question_of, prepend=-1))
    return np.add.reduceat(values, first, axis=1)[:, question_of]
