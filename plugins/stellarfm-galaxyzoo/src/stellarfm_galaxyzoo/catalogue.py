"""Catalogues of galaxies with their image files and the votes of volunteers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stellarfm.exceptions import InputNotFoundError
from stellarfm_galaxyzoo.exceptions import CatalogueError
from stellarfm_galaxyzoo.schema import Schema

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["Catalogue", "read_votes"]

FORMATS = {".csv": "ascii.csv", ".parquet": "parquet", ".fits": "fits", ".vot": "votable", ".xml": "votable"}


class Catalogue:
    """Galaxies with their image files and votes.

    Parameters
    ----------
    table : astropy.table.Table
        Table with the columns ``id_str`` and ``file_loc`` and any of the vote columns ``question-campaign_answer``.
        A missing vote column counts as zero votes; other columns are ignored.
    schema : Schema
        Questions whose votes are read.
    root : path-like
        Folder to which paths in ``file_loc`` are relative.
    name : str
        Name of the catalogue in messages.

    Attributes
    ----------
    ids : numpy.ndarray
        ``id_str`` of each galaxy, shape (N,).
    paths : list of pathlib.Path
        Image file of each galaxy.
    votes : numpy.ndarray
        Number of votes, float32, shape (N, answers); zero where a question was not asked.

    Raises
    ------
    CatalogueError
        If a column is missing, the table is empty, an ``id_str`` occurs twice, or votes are negative, fractional or not
        numbers.

    Examples
    --------
    >>> from astropy.table import Table
    >>> from stellarfm_galaxyzoo import Catalogue, Schema
    >>> table = Table({"id_str": ["a", "b"], "file_loc": ["a.png", "b.png"], "ring_yes": [1, 0], "ring_no": [0, 0]})
    >>> Catalogue(table, Schema.load("rings")).labelled
    array([ True, False])
    """

    def __init__(self, table: Table, schema: Schema, *, root: str | os.PathLike = ".", name: str = "catalogue") -> None:
        self.name = name
        self.table = table
        self.schema = schema
        for column in ("id_str", "file_loc"):
            if column not in table.colnames:
                raise CatalogueError(
                    f"{name} has no column {column} (it has {', '.join(table.colnames[:5])} ...); expected id_str, "
                    "file_loc and columns of votes"
                )
        if not len(table):
            raise CatalogueError(f"{name} is empty; expected at least one row")
        self.ids = _as_text(table["id_str"])
        unique, counts = np.unique(self.ids, return_counts=True)
        if len(unique) < len(self.ids):
            raise CatalogueError(f"{name}: id_str {unique[counts > 1][0]} occurs twice; expected one row per galaxy")
        self.paths = [Path(root) / word.strip() for word in _as_text(table["file_loc"])]
        self.votes = read_votes(table, schema, name=name)

    @classmethod
    def read(cls, path: str | os.PathLike, schema: Schema, *, root: str | os.PathLike | None = None) -> Catalogue:
        """Read a catalogue from any table that astropy reads (CSV, FITS, Parquet, VOTable, ECSV).

        Parameters
        ----------
        path : path-like
            File of the table.
        schema : Schema
            Questions whose votes are read.
        root : path-like, optional
            Folder of the images; the folder of the table by default.

        Raises
        ------
        InputNotFoundError
            If there is no such file.
        CatalogueError
            If the file is not a valid catalogue.
        """
        path = Path(path)
        return cls(read_table(path), schema, root=path.parent if root is None else root, name=str(path))

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def labelled(self) -> np.ndarray:
        """Galaxies with at least one vote: a boolean array of shape (N,)."""
        return self.votes.sum(axis=1) > 0

    def require_images(self) -> Catalogue:
        """Return the catalogue itself, or raise `InputNotFoundError` if image files are missing."""
        if missing := [path for path in self.paths if not path.is_file()]:
            raise InputNotFoundError(
                f"{self.name}: {len(missing)} of {len(self)} images are missing, first {missing[0]}; "
                "check the column file_loc, or set root to the folder of the images"
            )
        return self

    def __getitem__(self, rows: np.ndarray) -> Catalogue:
        """Return the galaxies of a boolean mask or of an array of row numbers."""
        part = Catalogue.__new__(Catalogue)
        numbers = np.flatnonzero(rows) if np.asarray(rows).dtype == bool else np.asarray(rows)
        part.name, part.schema, part.table = self.name, self.schema, self.table[numbers]
        part.ids, part.votes = self.ids[numbers], self.votes[numbers]
        part.paths = [self.paths[number] for number in numbers]
        return part


def read_table(path: str | os.PathLike) -> Table:
    """Read a table in any format of astropy; raise `CatalogueError` if that fails."""
    from astropy.table import Table

    path = Path(path)
    if not path.is_file():
        raise InputNotFoundError(f"{path}: no such catalogue; check the path")
    try:
        return Table.read(path, format=FORMATS.get(path.suffix.lower()))
    except Exception as error:
        raise CatalogueError(
            f"{path} cannot be read as a table ({error}); expected CSV, FITS, Parquet, VOTable or ECSV"
        ) from error


def read_votes(table: Table, schema: Schema, *, name: str = "catalogue") -> np.ndarray:
    """Return the votes of a table in the order of the schema: float32, shape (rows, answers)."""
    votes = np.zeros((len(table), schema.n_answers), dtype=np.float32)
    for number, column in enumerate(schema.columns):
        if column in table.colnames:
            votes[:, number] = _counts(table, column, name)
    return votes


def _counts(table: Table, column: str, name: str) -> np.ndarray:
    """Return one vote column, checked. A masked entry counts as zero votes; NaN is an error."""
    values = table[column]
    if hasattr(values, "filled"):
        values = values.filled(0)
    try:
        counts = np.asarray(values, dtype=float)
    except (TypeError, ValueError) as error:
        raise CatalogueError(f"{name}: column {column} is not numeric ({error}); expected counts of votes") from error
    for wrong, problem, remedy in (
        (~np.isfinite(counts), "is not a number", "write 0 where a question was not asked"),
        (counts < 0, "is negative", "expected counts of votes"),
        (counts != np.round(counts), "is a fraction of a vote", "expected counts: multiply fractions by the total"),
    ):
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            raise CatalogueError(f"{name}: {column} of row {row} ({counts[row]:g}) {problem}; {remedy}")
    return counts


def _as_text(values: np.ndarray) -> np.ndarray:
    """Return a column as text; astropy returns bytes for FITS."""
    return np.array([word.decode() if isinstance(word, bytes) else str(word) for word in values])
