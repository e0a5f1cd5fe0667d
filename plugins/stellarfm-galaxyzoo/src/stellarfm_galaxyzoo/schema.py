"""Schemas: the questions for volunteers, their answers, and the answers after which a question is asked."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from stellarfm.exceptions import InputNotFoundError
from stellarfm_galaxyzoo.exceptions import SchemaError

__all__ = ["CAMPAIGNS", "Answer", "Question", "Schema", "schema_names"]

#: The six campaigns of the hybrid system (arXiv:2206.11927), 65 questions with 206 answers.
CAMPAIGNS = ("dr12", "dr5", "dr8", "gz2", "hubble", "candels")


@dataclass(frozen=True)
class Answer:
    """Answer to a question of a campaign.

    Attributes
    ----------
    name : str
        Name of the answer, e.g. ``"featured-or-disk"``.
    column : str
        Name of the vote column, ``question-campaign_answer``.

    Examples
    --------
    >>> from stellarfm_galaxyzoo import Answer
    >>> Answer("yes", "bar-dr5_yes").column
    'bar-dr5_yes'
    """

    name: str
    column: str


@dataclass(frozen=True)
class Question:
    """Question of a campaign.

    Attributes
    ----------
    name : str
        Name with the campaign, e.g. ``"smooth-or-featured-dr5"``.
    answers : tuple of Answer
        Two or more answers.
    after : tuple of str
        Columns of the answers after any of which the question is asked; empty for a question at the root.

    Examples
    --------
    >>> from stellarfm_galaxyzoo import Answer, Question
    >>> Question("ring", (Answer("yes", "ring_yes"), Answer("no", "ring_no"))).columns
    ('ring_yes', 'ring_no')
    """

    name: str
    answers: tuple[Answer, ...]
    after: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """Vote columns of the answers."""
        return tuple(answer.column for answer in self.answers)


class Schema:
    """Questions of one or several campaigns, in the order of their vote columns.

    Parameters
    ----------
    questions : iterable of Question
        Questions in any order.

    Attributes
    ----------
    questions : tuple of Question
        Questions in the given order.
    columns : tuple of str
        Vote columns of all answers, grouped by question.
    question_of : numpy.ndarray
        Number of the question of each column.

    Raises
    ------
    SchemaError
        If two questions or answers have the same name, a parent is unknown, questions depend on each other, or a
        volunteer could reach a question through two of its parents at once.

    Examples
    --------
    >>> from stellarfm_galaxyzoo import Schema
    >>> schema = Schema.load("dr5")
    >>> schema
    <Schema: 10 questions, 34 answers>
    >>> schema.columns[:3]
    ('smooth-or-featured-dr5_smooth', 'smooth-or-featured-dr5_featured-or-disk', 'smooth-or-featured-dr5_artifact')
    """

    def __init__(self, questions: Iterable[Question]) -> None:
        self.questions = tuple(questions)
        self.columns = tuple(column for question in self.questions for column in question.columns)
        self._check_names()
        self._index = {column: number for number, column in enumerate(self.columns)}
        sizes = [len(question.answers) for question in self.questions]
        self.question_of = np.repeat(np.arange(len(sizes)), sizes)
        self._first = np.concatenate([[0], np.cumsum(sizes)])
        self._order = self._parents_first()
        self._check_exclusive()

    @classmethod
    def load(cls, *names: str | os.PathLike) -> Schema:
        """Return the schema of one or several campaigns.

        Parameters
        ----------
        *names : str or path-like
            Campaigns of this package (``"dr5"``, ``"rings"``, ...), or TOML files of the same format.

        Raises
        ------
        InputNotFoundError
            If a name is neither a campaign nor a file.
        SchemaError
            If a file is not a schema.
        """
        if not names:
            raise SchemaError(f"no campaign is given; expected some of {', '.join(schema_names())}, or a TOML file")
        return cls(question for name in names for question in _read(name))

    @property
    def n_answers(self) -> int:
        """Number of answers of all questions."""
        return len(self.columns)

    def index(self, column: str) -> int:
        """Return the position of a vote column."""
        return self._index[column]

    def slice_of(self, number: int) -> slice:
        """Return the slice of the columns of question `number`."""
        return slice(int(self._first[number]), int(self._first[number + 1]))

    def parents(self, number: int) -> list[int]:
        """Return the positions of the answers after which question `number` is asked; empty for a root."""
        return [self._index[column] for column in self.questions[number].after]

    def sums(self, values: np.ndarray) -> np.ndarray:
        """Return sums over the answers of each question: (..., answers) to (..., questions)."""
        return np.add.reduceat(values, self._first[:-1], axis=-1)

    def fractions(self, values: np.ndarray) -> np.ndarray:
        """Return values divided by the sum of their question, (..., answers); NaN where the sum is zero."""
        totals = self.sums(np.asarray(values, dtype=float))[..., self.question_of]
        return np.divide(values, totals, out=np.full(np.shape(values), np.nan), where=totals > 0)

    def joint(self, fractions: np.ndarray) -> np.ndarray:
        """Return the probability that a volunteer reaches a question and gives the answer.

        Parameters
        ----------
        fractions : array
            Probability of each answer given that its question is asked, shape (..., answers).

        Returns
        -------
        numpy.ndarray
            Joint probability, shape (..., answers). The answers of a question sum to the probability that it is asked,
            which is the sum over its mutually exclusive parents.
        """
        joint = np.array(fractions, dtype=float)
        for number in self._order:
            if parents := self.parents(number):
                joint[..., self.slice_of(number)] *= joint[..., parents].sum(axis=-1, keepdims=True)
        return joint

    @property
    def order(self) -> list[int]:
        """Numbers of the questions, parents first."""
        return list(self._order)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Schema) and self.questions == other.questions

    def __hash__(self) -> int:
        return hash(self.questions)

    def __repr__(self) -> str:
        return f"<Schema: {len(self.questions)} questions, {self.n_answers} answers>"

    def as_dict(self) -> list[dict[str, Any]]:
        """Return plain values for JSON; `from_dict` is the inverse."""
        return [
            {"name": q.name, "answers": [[a.name, a.column] for a in q.answers], "after": list(q.after)}
            for q in self.questions
        ]

    @classmethod
    def from_dict(cls, questions: Sequence[dict[str, Any]]) -> Schema:
        """Return the schema of values that `as_dict` returned."""
        return cls(
            Question(q["name"], tuple(Answer(*pair) for pair in q["answers"]), tuple(q["after"])) for q in questions
        )

    def _check_names(self) -> None:
        """Raise `SchemaError` for duplicate names, unknown parents, or a question with fewer than two answers."""
        names = [question.name for question in self.questions]
        for kind, words in (("question", names), ("answer", list(self.columns))):
            if twice := sorted({word for word in words if words.count(word) > 1}):
                raise SchemaError(f"{kind} {twice[0]} occurs twice; each campaign may be named once")
        for question in self.questions:
            if len(question.answers) < 2:
                raise SchemaError(f"question {question.name} has fewer than two answers")
            for column in question.after:
                if column not in self.columns:
                    raise SchemaError(f"question {question.name} comes after {column}, which is not an answer")

    def _parents_first(self) -> list[int]:
        """Return the numbers of the questions in an order in which parents come first."""
        waiting, order = list(range(len(self.questions))), []
        while waiting:
            ready = [n for n in waiting if all(self.question_of[p] in order for p in self.parents(n))]
            if not ready:
                raise SchemaError(f"question {self.questions[waiting[0]].name} depends on itself")
            order += ready
            waiting = [n for n in waiting if n not in ready]
        return order

    def _paths(self, answer: int) -> list[dict[int, int]]:
        """Return every path to an answer, as question -> answer with the answer itself included."""
        number = int(self.question_of[answer])
        before = [path for parent in self.parents(number) for path in self._paths(parent)] or [{}]
        return [{**path, number: answer} for path in before]

    def _check_exclusive(self) -> None:
        """Raise `SchemaError` if one volunteer could give two parents of a question and would be counted twice."""
        for number, question in enumerate(self.questions):
            parents = self.parents(number)
            for i, one in enumerate(parents):
                for other in parents[i + 1 :]:
                    if any(_compatible(a, b) for a in self._paths(one) for b in self._paths(other)):
                        raise SchemaError(
                            f"question {question.name} comes after both {self.columns[one]} and {self.columns[other]}, "
                            "which one volunteer can give; expected answers that exclude each other"
                        )


def _compatible(one: dict[int, int], other: dict[int, int]) -> bool:
    """Return whether one volunteer can take both paths."""
    return all(other.get(question, answer) == answer for question, answer in one.items())


def schema_names() -> list[str]:
    """Return the names of the schemas in this package."""
    folder = resources.files("stellarfm_galaxyzoo") / "campaigns"
    return sorted(Path(entry.name).stem for entry in folder.iterdir() if entry.name.endswith(".toml"))


def _read(name: str | os.PathLike) -> list[Question]:
    """Read the questions of a campaign of this package, or of a file."""
    if str(name) in schema_names():
        text = (resources.files("stellarfm_galaxyzoo") / "campaigns" / f"{name}.toml").read_text("utf-8")
    elif Path(name).is_file():
        text = Path(name).read_text("utf-8")
    else:
        raise InputNotFoundError(f"{name}: neither a campaign ({', '.join(schema_names())}) nor a TOML file")
    try:
        content = tomllib.loads(text)
        return [_question(entry, content.get("suffix", "")) for entry in content["questions"]]
    except (tomllib.TOMLDecodeError, KeyError, TypeError, AttributeError) as error:
        raise SchemaError(
            f"{name} is not a schema ({error!r}); expected `suffix` and tables [[questions]] with `name` and `answers`"
        ) from error


def _question(entry: dict[str, Any], suffix: str) -> Question:
    """Return a question of a file, with the suffix of the campaign added to its names."""

    def full(question: str) -> str:
        return f"{question}-{suffix}" if suffix else question

    def column(word: str) -> str:
        question, _, answer = word.rpartition("_")
        return f"{full(question)}_{answer}"

    name = entry["name"]
    answers = tuple(Answer(str(answer), column(f"{name}_{answer}")) for answer in entry["answers"])
    return Question(full(name), answers, tuple(map(column, entry.get("after", ()))))
