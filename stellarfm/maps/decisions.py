"""Decisions taken while maps are read: what was decided, the value, and the reason."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from typing import NamedTuple

from astropy.table import Table

__all__ = ["Decision", "DecisionLog", "decision_table", "decisions_from_json", "decisions_to_json"]

logger = logging.getLogger("stellarfm")


class Decision(NamedTuple):
    """One decision of the intake of a field.

    Attributes
    ----------
    what : str
        Subject, with the file it concerns: ``"column.fits: unit"``.
    value : str
        Value that is used.
    reason : str
        Origin of the value: an option, a header card, a property of the data, or a convention.
    """

    what: str
    value: str
    reason: str


class DecisionLog(list[Decision]):
    """Decisions in the order in which they were taken.

    Examples
    --------
    >>> log = DecisionLog()
    >>> log.add("distance", "140.0 pc", "distance=")
    >>> log[0].value
    '140.0 pc'
    """

    def add(self, what: str, value: object, reason: str, *, announce: bool = False) -> None:
        """Append a decision; `announce` writes it to the log as well (assumptions, repairs of headers)."""
        decision = Decision(
            what.rpartition("/")[2], str(value), reason
        )  # without directories: equal inputs, equal bytes
        if decision in self:
            return
        self.append(decision)
        if announce:
            logger.info("%s: %s (%s)", *decision)


def decision_table(decisions: Iterable[Decision]) -> Table:
    """Return decisions as a table of the columns ``what``, ``value`` and ``reason``.

    Examples
    --------
    >>> len(decision_table([Decision("distance", "140.0 pc", "distance=")]))
    1
    """
    rows = [tuple(decision) for decision in decisions]
    return Table(rows=rows or None, names=Decision._fields, dtype=[str] * 3)


def decisions_to_json(decisions: Iterable[Decision]) -> str:
    """Return decisions as one line of JSON in ASCII, which every table format can store."""
    return json.dumps([list(decision) for decision in decisions])


def decisions_from_json(text: str) -> list[Decision]:
    """Return the decisions of `decisions_to_json`."""
    return [Decision(*row) for row in json.loads(text)]
