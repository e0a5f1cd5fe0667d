"""Tests of the files around the package: dependencies, changelog, citation."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
FRAGMENTS = sorted(path for path in (ROOT / "docs/changes").glob("*") if path.stem not in ("README", "template"))


def pinned(name):
    """Return package -> version of a file of constraints."""
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def lower_bounds(*extras):
    """Return package -> lower bound of the dependencies and of some extras."""
    project = PROJECT["project"]
    needed = [*project["dependencies"], *(word for extra in extras for word in project["optional-dependencies"][extra])]
    found = (re.match(r"([\w.-]+)(?:\[\w+\])?>=([\d.]+)$", word) for word in needed)
    return {match[1]: match[2] for match in found if match}


def test_oldest_versions_are_the_lower_bounds():
    extras = ("train", "tensorboard", "yt", "cubes", "regions", "dask", "plots", "tables", "test")
    assert pinned("constraints-oldest.txt") == lower_bounds(*extras)


def test_every_direct_dependency_is_pinned():
    pins = {name.lower().replace("_", "-") for name in pinned("constraints.txt")}
    extras = set(PROJECT["project"]["optional-dependencies"]) - {"all"}
    assert {name.lower().replace("_", "-") for name in lower_bounds(*extras)} <= pins


def test_citation_has_the_version_of_the_package():
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {PROJECT['project']['version']}\n" in citation


@pytest.mark.parametrize("path", FRAGMENTS, ids=lambda path: path.name)
def test_fragments_of_the_changelog_have_a_type_and_text(path):
    types = "|".join(kind["directory"] for kind in PROJECT["tool"]["towncrier"]["type"])
    assert re.fullmatch(rf"\d+(-[a-z0-9-]+)?\.({types})\.rst", path.name)
    assert path.read_text(encoding="utf-8").strip().endswith(".")
