"""Names of vote columns: ``question-campaign_answer``."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from stellarfm.exceptions import PretrainingError

__all__ = ["question_numbers"]


def question_numbers(names: Sequence[str]) -> list[int]:
    """Number of the question that each vote column answers, from zero in the order of the columns.

    Raises
    ------
    PretrainingError
        If a name is not written so, or the answers to one question do not stand side by side.
    """
    questions = [name.rpartition("_")[0] for name in names]
    if not names or not all(questions):
        odd = next((name for name, question in zip(names, questions) if not question), "none")
        raise PretrainingError(
            f"labels are no votes ({odd}); expected columns question-campaign_answer: take the dataset galaxyzoo"
        )
    numbers = [0]
    for before, now in pairwise(questions):
        numbers.append(numbers[-1] + (now != before))
    if numbers[-1] + 1 != len(set(questions)):
        raise PretrainingError("the answers to a question do not stand side by side; put their columns in order")
    return numbers
