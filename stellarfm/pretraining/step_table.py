"""Tables of numbers by step, as CSV files that a resumed run continues."""

from __future__ import annotations

import csv
from pathlib import Path

__all__ = ["StepTable"]


class StepTable:
    """A CSV file whose first column is ``step``; it is made by the first line.

    Parameters
    ----------
    path : pathlib.Path
        Where it is, or will be.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, row: dict[str, float]) -> None:
        """Append a line; the first one also writes the names of the columns."""
        if not self.path.exists():
            self._write([list(row)], "w")
        self._write([[f"{v:.6g}" if isinstance(v, float) else f"{v}" for v in row.values()]], "a")

    def cut(self, step: int) -> None:
        """Remove lines beyond `step`."""
        if self.path.exists():
            with self.path.open(newline="") as file:
                header, *rows = list(csv.reader(file))
            self._write([header, *(row for row in rows if int(row[0]) <= step)], "w")

    def read(self) -> list[dict[str, float]]:
        """Every line; empty if there is no file."""
        if not self.path.exists():
            return []
        with self.path.open(newline="") as file:
            return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]

    def _write(self, rows: list[list[str]], mode: str) -> None:
        with self.path.open(mode, newline="") as file:
            csv.writer(file).writerows(rows)
