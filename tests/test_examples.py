"""Tests of the scripts in ``examples/`` and of the commands in the README."""

import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

#: Files that each script writes.
FILES = {
    "exchange.py": {"snapshot.h5", "maps.h5"},
    "quickstart.py": {"masses.fits", "segments.fits", "overview.png"},
}


@pytest.mark.parametrize("script", sorted((ROOT / "examples").glob("*.py")), ids=lambda path: path.name)
def test_example_runs(script, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(script), run_name="__main__")
    assert capsys.readouterr().out
    assert {path.name for path in tmp_path.iterdir()} == FILES[script.name]


def test_readme_starts_with_two_commands():
    block = (ROOT / "README.md").read_text(encoding="utf-8").split("```console\n")[1].split("```")[0]
    first, second = block.splitlines()
    assert first.endswith("stellarfm demo")
    assert second == "pytest"
