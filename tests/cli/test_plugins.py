import json

import pytest

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


def test_json_lists_every_plugin_with_its_origin_and_state(listing):
    rows = json.loads(listing("--json"))
    assert all(row.keys() == {"name", "group", "package", "version", "state"} for row in rows)
    groups = {row["name"]: row["group"] for row in rows}
    assert groups["flames"] == "stellarfm.datasets"
    assert groups["resnet18"] == "stellarfm.encoders"
    assert {row["state"] for row in rows if row["package"] == "stellarfm"} == {"ok"}


def test_broken_plugin_is_listed_with_the_reason(listing, distribution):
    distribution("acme", version="0.3", **BROKEN)
    rows = {row["name"]: row for row in json.loads(listing("--json"))}
    assert (rows["acme.broken"]["package"], rows["acme.broken"]["version"]) == ("acme", "0.3")
    assert "ZeroDivisionError" in rows["acme.broken"]["state"]
    assert rows["flames"]["state"] == "ok"


def test_table_is_aligned(listing, distribution):
    distribution("acme", version="0.3", **BROKEN)
    header, *lines = listing().splitlines()
    starts = [header.index(column) for column in ("group", "package", "version", "state")]
    for line in lines:
        assert all(line[start - 2 : start] == "  " and line[start] != " " for start in starts)
