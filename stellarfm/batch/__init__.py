"""Many snapshots at once: from files of simulations to one map set, through any executor, and resumable."""

from stellarfm.batch.project_snapshots import project_snapshots
from stellarfm.batch.settings import ProjectionSettings

__all__ = ["ProjectionSettings", "project_snapshots"]
