import json
import subprocess
import sys

import pytest

from stellarfm import registry
from stellarfm.cli.main import main

BROKEN = {"datasets": {"acme.broken": "acme_broken:Blank"}, "modules": {"acme_broken": "1 / 0"}}


@pytest.fixture
def listing(capsys):
    """The standard output of ``stellarfm plugins``."""

    def run(*options):
        assert main(["plugins", *options]) == 0
        output = capsys.readouterr()
        assert output.err == ""
        return output.out

    return run


@pytest.fixture
def few(monkeypatch):
    """Let one of the core's plugins be installed, and those of pretended distributions."""
    installed = registry.plugins

    def plugins():
        return [plugin for plugin in installed() if plugin.name == "flames" or plugin.package != "stellarfm"]

    monkeypatch.setattr(registry, "plugins", plugins)


def test_json_lists_every_plugin_with_its_origin(listing):
    rows = json.loads(listing("--json"))
    assert all(row.keys() == {"name", "group", "package", "version", "state"} for row in rows)
    groups = {row["name"]: row["group"] for row in rows}
    assert groups["flames"] == "stellarfm.datasets"
    assert groups["resnet18"] == "stellarfm.encoders"
    assert {row["state"] for row in rows if row["package"] == "stellarfm"} == {"installed"}


def test_listing_imports_no_plugin(listing, distribution):
    distribution("acme", version="0.3", **BROKEN)
    rows = {row["name"]: row for row in json.loads(listing("--json"))}
    assert rows["acme.broken"]["state"] == "installed"
    assert "acme_broken" not in sys.modules


def test_broken_plugin_is_listed_with_the_reason(listing, distribution, few):
    distribution("acme", version="0.3", **BROKEN)
    rows = {row["name"]: row for row in json.loads(listing("--json", "--check"))}
    assert (rows["acme.broken"]["package"], rows["acme.broken"]["version"]) == ("acme", "0.3")
    assert "ZeroDivisionError" in rows["acme.broken"]["state"]
    assert rows["flames"]["state"] == "ok"


def test_table_is_aligned(listing, distribution, few):
    distribution("acme", version="0.3", **BROKEN)
    header, *lines = listing("--check").splitlines()
    starts = [header.index(column) for column in ("group", "package", "version", "state")]
    for line in lines:
        assert all(line[start - 2 : start] == "  " and line[start] != " " for start in starts)


def test_python_dash_m_is_the_program():
    done = subprocess.run([sys.executable, "-m", "stellarfm", "plugins"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("name ")
