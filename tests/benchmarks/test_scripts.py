"""Benchmarks are run rarely: each must at least still find all that it imports, and say what it is for."""

import importlib
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SCRIPTS = sorted(path.stem for path in BENCHMARKS.glob("*.py"))


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_finds_what_it_imports(name, monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.syspath_prepend(BENCHMARKS)
    before = set(sys.modules)
    try:
        assert importlib.import_module(name).__doc__
    finally:
        for other in set(sys.modules) - before:
            if other in SCRIPTS:
                del sys.modules[other]
