"""CSV tables of numbers by step, which a resumed run continues."""

from __future__ import annotations

import csv
from pathlib import Path

__all__ = ["StepTable"]


class StepTable:
    """CSV file whose first column is ``step``; it is created with its first row.

    Parameters
    ----------
    path : pathlib.Path
        Path of the file.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from stellarfm.pretraining.step_table import StepTable
    >>> with TemporaryDirectory() as folder:
    ...     table = StepTable(Path(folder) / "log.csv")
    ...     table.add({"step": 10, "loss": 2.5})
    ...     table.add({"step": 20, "loss": 2.25})
    ...     table.cut(10)
    ...     table.read()
    [{'step': 10.0, 'loss': 2.5}]
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, row: dict[str, float]) -> None:
        """Append a row; the first row also writes the column names."""
        if not self.path.exists():
            self._write([list(row)], "w")
        self._write([[f"{v:.6g}" if isinstance(v, float) else f"{v}" for v in row.values()]], "a")

    def cut(self, step: int) -> None:
        """Remove all rows beyond `step`, and the file if none is left."""
        if not self.path.exists():
            return
        with self.path.open(newline="") as file:
            header, *rows = list(csv.reader(file)) or [[]]
        if kept := [row for row in rows if int(row[0]) <= step]:
            self._write([header, *kept], "w")
        else:
            self.path.unlink()

    def read(self) -> list[dict[str, float]]:
        """Return all rows; an empty list if the file does not exist."""
        if not self.path.exists():
            return []
        with self.path.open(newline="") as file:
            return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]

    def _write(self, rows: list[list[str]], mode: str) -> None:
        with self.path.open(mode, newline="") as file:
            csv.writer(file).writerows(rows)
