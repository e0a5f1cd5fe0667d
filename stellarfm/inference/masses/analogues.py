"""Reference stars that a predicted mass relies on most."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from astropy import units as u
from astropy.table import QTable

if TYPE_CHECKING:
    from stellarfm.inference.masses.reference_set import ReferenceSet

__all__ = ["find_analogues"]


def find_analogues(weights: np.ndarray, reference: ReferenceSet, *, n_analogues: int = 5) -> QTable:
    """Return the reference stars with the largest weights for each source.

    Parameters
    ----------
    weights : ndarray
        Weights of the N reference windows for Q sources, shape (Q, N); a row of NaN has no analogue.
    reference : ReferenceSet
        Reference windows.
    n_analogues : int
        Number of reference stars per source.

    Returns
    -------
    QTable
        Columns ``source`` (row of the table of masses, from 0), ``rank`` (from 1), ``weight`` (sum over the windows of
        the star), and of its window with the largest weight ``simulation``, ``star``, ``time`` [Myr, NaN if unknown],
        ``depth_class``, ``mass`` [solMass], ``window`` (row of the reference set) and ``window_weight``.
    """
    names, star = np.unique(reference.groups, return_inverse=True)
    rows: list[tuple[int, int, float, int, float]] = []
    for source, row in enumerate(weights):
        if not np.all(np.isfinite(row)):
            continue
        total = np.bincount(star, row, len(names))
        best = np.argsort(-total, kind="stable")[:n_analogues]
        for rank, number in enumerate(best[total[best] > 0], start=1):
            windows = np.flatnonzero(star == number)
            window = windows[row[windows].argmax()]
            rows.append((source, rank, total[number], int(window), row[window]))
    source_row, ranks, total_weight, best_window, window_weight = np.array(rows, dtype=np.float64).reshape(-1, 5).T
    chosen = best_window.astype(int)
    table = QTable(
        {"source": source_row.astype(int), "rank": ranks.astype(int), "weight": total_weight.astype(np.float32)}
    )
    table["simulation"], table["star"] = reference.simulation[chosen], reference.star[chosen]
    table["time"] = reference.time[chosen] * u.Myr
    table["depth_class"] = reference.depth_class[chosen]
    table["mass"] = reference.mass[chosen] * u.solMass
    table["window"], table["window_weight"] = chosen, window_weight.astype(np.float32)
    return table
