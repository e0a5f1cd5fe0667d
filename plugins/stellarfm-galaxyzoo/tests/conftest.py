import os
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tensors are tiny in tests: more threads are slower


@pytest.fixture(scope="session")
def shared_data():
    """Return the folder of real data next to the repository, or skip the test."""
    default = Path(__file__).resolve().parents[4] / "shared" / "data"
    folder = Path(os.environ.get("STELLARFM_SHARED_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"no shared data at {folder} (set STELLARFM_SHARED_DATA to their folder)")
    return folder


@pytest.fixture(scope="session")
def survey_folder(tmp_path_factory):
    """A small synthetic survey on disk."""
    from stellarfm_galaxyzoo.synthetic_survey import SyntheticSurvey

    folder = tmp_path_factory.mktemp("survey")
    SyntheticSurvey(size=32, count=40, schema=("dr5", "gz2", "rings"), labelled=0.8).write(folder)
    return folder
