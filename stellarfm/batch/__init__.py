"""Projection of many snapshots: files of simulations enter, one map set leaves; through any executor, resumable.

Start with ``project_snapshots.py``; ``project_snapshot.py`` is the task for a single file.
"""

from stellarfm.batch.project_snapshots import project_snapshots
from stellarfm.batch.settings import ProjectionSettings

__all__ = ["ProjectionSettings", "project_snapshots"]
