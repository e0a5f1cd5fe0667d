"""Each plugin is imported in a process of its own."""

import sys

import pytest

from stellarfm import registry
from stellarfm.plugin_check import check_plugins, loading_state

HARMFUL = {
    "exits": "import os; os._exit(3)",
    "hangs": "import time; time.sleep(1000)",
    "prints": "print('noise'); import sys; print('more', file=sys.stderr); 1 / 0",
}
REASONS = {
    "exits": "the process that imported it ended with exit code 3",
    "hangs": "importing it did not end within 10 s",
    "prints": "ZeroDivisionError",
}


def states(*names, **options):
    listed = [plugin for plugin in registry.plugins("datasets") if plugin.name in names]
    return {plugin.name: plugin.state for plugin in check_plugins(listed, **options)}


def test_harmful_plugins_harm_nothing(distribution, capfd):
    modules = {f"acme_{name}": source for name, source in HARMFUL.items()}
    distribution("acme", datasets={f"acme.{name}": f"acme_{name}:Blank" for name in HARMFUL}, modules=modules)
    found = states(*(f"acme.{name}" for name in HARMFUL), timeout=10)
    for name, reason in REASONS.items():
        assert found[f"acme.{name}"].startswith("broken: ")
        assert reason in found[f"acme.{name}"]
        assert f"acme_{name}" not in sys.modules
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("extra", ["", " [acme]"])
def test_what_an_extra_would_install_is_named(distribution, tmp_path, extra):
    distribution("acme", datasets={"acme.blank": f"acme_blank:Blank{extra}"}, modules={"acme_blank": "1 / 0"})
    with (tmp_path / "pretended" / "acme-1.0.dist-info" / "METADATA").open("a") as file:
        file.write("Provides-Extra: acme\nRequires-Dist: numpy\nRequires-Dist: no-such-package>=2; extra == 'acme'\n")
    state = states("acme.blank")["acme.blank"]
    if extra:
        assert state == "missing: no-such-package is not installed; pip install 'acme[acme]'"
    else:
        assert "ZeroDivisionError" in state


def test_duplicates_are_known_without_importing(distribution):
    for name in ("acme", "bolt"):
        distribution(name, datasets={"acme.blank": "acme_blank:Blank"}, modules={"acme_blank": "1 / 0"})
    (listed, _) = (plugin for plugin in registry.plugins("datasets") if plugin.name == "acme.blank")
    assert listed.state == "duplicate: also provided by bolt==1.0"
    assert check_plugins([listed]) == [listed]


def test_state_of_a_plugin_that_works():
    assert loading_state("datasets", "flames") == "ok"
