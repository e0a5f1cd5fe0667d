"""Fixtures shared by all wings."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of observed and simulated maps beside the repository, or a skip with the reason."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("STELLARFM_SHARED_DATA", beside))
    if not folder.is_dir():
        pytest.skip(f"no shared data at {folder} (set STELLARFM_SHARED_DATA to their folder)")
    return folder
