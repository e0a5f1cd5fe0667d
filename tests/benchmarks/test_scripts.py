"""Benchmarks are run rarely: each must at least be importable and have a docstring."""

import importlib
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SCRIPTS = sorted(path.stem for path in BENCHMARKS.glob("*.py"))


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_can_be_imported(name, monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.syspath_prepend(BENCHMARKS)
    before = set(sys.modules)
    try:
        assert importlib.import_module(name).__doc__
    finally:
        for other in set(sys.modules) - before:
            if other in SCRIPTS:
                del sys.modules[other]
