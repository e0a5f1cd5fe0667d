"""Fixtures shared by all wings."""

import os
import sys
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tensors are tiny here: threads would only wait for each other


def pytest_report_header() -> str:
    """Say which installation is under test: the clone is not on the path, unless it was installed with ``-e``."""
    import stellarfm

    return f"stellarfm: {stellarfm.__version__} in {Path(stellarfm.__file__).parent}"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of observed and simulated maps beside the repository, or a skip with the reason."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("STELLARFM_SHARED_DATA", beside))
    if not folder.is_dir():
        pytest.skip(f"no shared data at {folder} (set STELLARFM_SHARED_DATA to their folder)")
    return folder


@pytest.fixture
def distribution(tmp_path, monkeypatch):
    """Install a pretended distribution with plugins for the length of a test.

    ``distribution("acme", version="1.2", datasets={"acme.blank": "module:Class"}, modules={"module": "source"})``
    """
    pretended = set()

    def install(name, *, version="1.0", modules=None, folder=None, **groups):
        folder = folder or tmp_path / "pretended"
        info = folder / f"{name}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        lines = []
        for group, entries in groups.items():
            lines += [f"[stellarfm.{group}]", *(f"{key} = {value}" for key, value in entries.items())]
        (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
        for module, source in (modules or {}).items():
            (folder / f"{module}.py").write_text(source)
            pretended.add(module)
        monkeypatch.syspath_prepend(folder)

    yield install
    for module in pretended:
        sys.modules.pop(module, None)
