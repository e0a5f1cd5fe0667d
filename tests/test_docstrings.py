"""Tests of the docstrings: every public name has examples, and all examples work."""

import doctest
import importlib
import inspect
from pathlib import Path

import numpy as np
import pytest

import stellarfm

ROOT = Path(stellarfm.__file__).parent
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
PACKAGES = sorted(ROOT.rglob("__init__.py"))
MODULES = sorted(path for path in ROOT.rglob("*.py") if ">>> " in path.read_text(encoding="utf-8"))


def public_objects(package):
    """Return the public classes and functions of a package by name."""
    module = importlib.import_module(package)
    objects = {name: getattr(module, name) for name in getattr(module, "__all__", ())}
    return {name: value for name, value in objects.items() if inspect.isclass(value) or inspect.isroutine(value)}


def module_name(path):
    """Return the dotted name of a module of the package."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(["stellarfm", *(part for part in parts if part != "__init__")])


@pytest.mark.parametrize("package", [module_name(path) for path in PACKAGES if "cli" not in path.parts])
def test_public_names_have_examples(package):
    objects = public_objects(package)
    missing = {name for name, value in objects.items() if ">>> " not in (inspect.getdoc(value) or "")}
    assert not missing, f"add an Examples section to {sorted(missing)}"


@pytest.mark.skipif(np.lib.NumpyVersion(np.__version__) < "2.0.0", reason="examples show numbers as numpy 2 does")
@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_examples_work(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    report = []
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    for example in doctest.DocTestFinder().find(importlib.import_module(module_name(path))):
        runner.run(example, out=report.append)
    assert runner.tries, f"{module_name(path)} shows examples, but none in a docstring"
    assert not runner.failures, "".join(report)
