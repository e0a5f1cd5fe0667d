"""Catalogues: which galaxies there are, where their images lie, and how volunteers voted."""

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
    """Galaxies with their images and votes.

    Parameters
    ----------
    table : astropy.table.Table
        With columns ``id_str`` and ``file_loc``, and any of the vote columns ``question-campaign_answer``; other
        columns are left alone. A vote column that is not there counts as zero votes.
    schema : Schema
        Which votes are wanted.
    root : path-like
        Folder that relative paths in ``file_loc`` start from.
    name : str
        What errors call the catalogue.

    Attributes
    ----------
    ids : numpy.ndarray
        ``id_str`` of each galaxy, shape (N,).
    paths : list of pathlib.Path
        Its image.
    votes : numpy.ndarray
        float32, shape (N, answers); zero where nobody was asked.

    Raises
    ------
    CatalogueError
        If a column is missing, no galaxy is left, an ``id_str`` occurs twice, or votes are negative, fractions of a
        vote, or not numbers.
    """

    def __init__(self, table: Table, schema: Schema, *, root: str | os.PathLike = ".", name: str = "catalogue") -> None:
        self.name = name
        self.table = table
        self.schema = schema
        for column in ("id_str", "file_loc"):
            if column not in table.colnames:
                raise CatalogueError(
                    f"{name} has no column {column} (it has {_some(table.colnames)}); expected id_str, file_loc and "
                    "columns of votes"
                )
        if not len(table):
            raise CatalogueError(f"{name} holds no galaxy; expected at least one row")
        self.ids = _words(table["id_str"])
        unique, counts = np.unique(self.ids, return_counts=True)
        if len(unique) < len(self.ids):
            raise CatalogueError(f"{name}: id_str {unique[counts > 1][0]} occurs twice; expected one row a galaxy")
        self.paths = [Path(root) / word.strip() for word in _words(table["file_loc"])]
        self.votes = read_votes(table, schema, name=name)

    @classmethod
    def read(cls, path: str | os.PathLike, schema: Schema, *, root: str | os.PathLike | None = None) -> Catalogue:
        """Read any table that astropy reads (CSV, FITS, Parquet, VOTable, ECSV ...).

        Parameters
        ----------
        path : path-like
            The table.
        schema : Schema
            Which votes are wanted.
        root : path-like, optional
            Folder of the images; by default that of the table.

        Raises
        ------
        InputNotFoundError, CatalogueError
        """
        path = Path(path)
        return cls(read_table(path), schema, root=path.parent if root is None else root, name=str(path))

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def labelled(self) -> np.ndarray:
        """Whether a galaxy has any vote, shape (N,)."""
        return self.votes.sum(axis=1) > 0

    def require_images(self) -> Catalogue:
        """The catalogue itself; raises `InputNotFoundError` that counts the missing image files and names the first."""
        if missing := [path for path in self.paths if not path.is_file()]:
            raise InputNotFoundError(
                f"{self.name}: {len(missing)} of {len(self)} images are missing, first {missing[0]}; "
                "check the column file_loc, or name the folder of the images as root"
            )
        return self

    def __getitem__(self, rows: np.ndarray) -> Catalogue:
        """The galaxies of a boolean mask, or of row numbers."""
        part = Catalogue.__new__(Catalogue)
        numbers = np.flatnonzero(rows) if np.asarray(rows).dtype == bool else np.asarray(rows)
        part.name, part.schema, part.table = self.name, self.schema, self.table[numbers]
        part.ids, part.votes = self.ids[numbers], self.votes[numbers]
        part.paths = [self.paths[number] for number in numbers]
        return part


def read_table(path: str | os.PathLike) -> Table:
    """A table in any of astropy's formats, with errors of ours."""
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
    """Votes of a table in the order of the schema: float32, shape (rows, answers)."""
    votes = np.zeros((len(table), schema.n_answers), dtype=np.float32)
    for number, column in enumerate(schema.columns):
        if column in table.colnames:
            votes[:, number] = _counts(table, column, name)
    return votes


def _counts(table: Table, column: str, name: str) -> np.ndarray:
    """One vote column, checked. A masked entry of a table is no vote; NaN is not a number of votes."""
    values = table[column]
    if hasattr(values, "filled"):
        values = values.filled(0)
    try:
        counts = np.asarray(values, dtype=float)
    except (TypeError, ValueError) as error:
        raise CatalogueError(f"{name}: column {column} holds no numbers ({error}); expected counts of votes") from error
    for wrong, what, cure in (
        (~np.isfinite(counts), "is not a number", "write 0 where nobody was asked"),
        (counts < 0, "is negative", "expected counts of votes"),
        (counts != np.round(counts), "is a fraction of a vote", "expected counts: multiply fractions with the total"),
    ):
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            raise CatalogueError(f"{name}: {column} of row {row} ({counts[row]:g}) {what}; {cure}")
    return counts


def _words(values: np.ndarray) -> np.ndarray:
    """A column as text; FITS gives bytes."""
    return np.array([word.decode() if isinstance(word, bytes) else str(word) for word in values])


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (" ..." if len(names) > 5 else "")
