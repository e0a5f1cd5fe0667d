import subprocess
import sys
import textwrap

import pytest

from stellarfm import registry
from stellarfm.contracts import CONTRACTS
from stellarfm.exceptions import (
    BrokenPluginError,
    DuplicatePluginError,
    PluginTypeError,
    StellarFMError,
    UnknownPluginError,
)


def test_builtin_plugins_are_entry_points_like_any_other():
    built_in = {plugin.name for plugin in registry.plugins("datasets") if plugin.package == "stellarfm"}
    assert built_in == {"flames", "fractaldb", "ifs", "images", "mapset"}


@pytest.mark.parametrize("group", CONTRACTS)
def test_groups_have_short_names(group):
    assert registry.names(group) == registry.names(group.removeprefix("stellarfm."))


def test_unknown_group_names_the_groups():
    with pytest.raises(ValueError, match="unknown plugin group 'crowns'; the groups are .*stellarfm.encoders"):
        registry.names("crowns")


def test_names_are_sorted_and_import_nothing(distribution):
    distribution("acme", datasets={"acme.zebra": "acme_plugin:Zebra", "acme.ant": "acme_plugin:Ant"})
    names = registry.names("datasets")
    assert names == sorted(names)
    assert {"acme.ant", "acme.zebra"} <= set(names)
    assert "acme_plugin" not in sys.modules


def test_listing_in_a_fresh_process_imports_no_wing():
    code = """
        import sys
        from stellarfm import registry
        for group in registry.CONTRACTS:
            registry.names(group)
        wings = "encoders fractals pretraining readers maps".split()
        loaded = [w for w in wings if f"stellarfm.{w}" in sys.modules] + [m for m in ("torch",) if m in sys.modules]
        sys.exit(", ".join(loaded) or 0)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_getting_one_imports_that_one_alone(distribution):
    distribution(
        "acme",
        datasets={"acme.blank": "acme_blank:Blank", "acme.other": "acme_other:Other"},
        modules={"acme_blank": BLANK, "acme_other": "raise RuntimeError"},
    )
    assert registry.get("datasets", "acme.blank").__name__ == "Blank"
    assert "acme_other" not in sys.modules


def test_unknown_name_gives_the_nearest():
    with pytest.raises(UnknownPluginError, match="unknown dataset 'flame'; did you mean flames") as caught:
        registry.get("datasets", "flame")
    assert isinstance(caught.value, KeyError)


def test_unknown_name_near_nothing_gives_all():
    with pytest.raises(UnknownPluginError, match="did you mean .*flames.*ifs.*stellarfm plugins"):
        registry.get("datasets", "qqqq")


def test_duplicate_name_blames_both_packages(distribution):
    distribution("acme", version="1.2", datasets={"acme.blank": "acme_blank:Blank"}, modules={"acme_blank": BLANK})
    distribution("bolt", version="3.4", datasets={"acme.blank": "acme_blank:Blank"})
    with pytest.raises(DuplicatePluginError, match=r"'acme.blank' is provided by acme==1.2 and bolt==3.4; uninstall"):
        registry.get("datasets", "acme.blank")
    states = {p.package: p.state for p in registry.plugins("datasets") if p.name == "acme.blank"}
    assert states == {
        "acme": "duplicate: also provided by bolt==3.4",
        "bolt": "duplicate: also provided by acme==1.2",
    }


def test_one_distribution_on_two_paths_is_no_duplicate(distribution, tmp_path):
    plugins = {"acme.blank": "acme_blank:Blank"}
    distribution("acme", datasets=plugins, modules={"acme_blank": BLANK}, folder=tmp_path / "one")
    distribution("acme", datasets=plugins, folder=tmp_path / "two")
    assert registry.get("datasets", "acme.blank").__name__ == "Blank"


@pytest.mark.parametrize(
    ("source", "cause"),
    [
        ("import a_module_that_is_not_there", "ModuleNotFoundError: No module named 'a_module_that_is_not_there'"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("this is not valid python", "SyntaxError"),
        ("", "AttributeError: module 'acme_broken' has no attribute 'Blank'"),
    ],
)
def test_broken_plugin_is_named_with_its_cause_and_breaks_nothing_else(distribution, source, cause):
    distribution("acme", datasets={"acme.broken": "acme_broken:Blank"}, modules={"acme_broken": source})
    with pytest.raises(BrokenPluginError, match=rf"'acme.broken' of acme==1.0 .*cannot be loaded: {cause}") as caught:
        registry.get("datasets", "acme.broken")
    assert isinstance(caught.value, ImportError)
    assert caught.value.__cause__ is not None
    assert registry.get("datasets", "flames")


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("class Blank: pass", "expected a subclass of stellarfm.contracts.PretrainingDataset"),
        ("def Blank(): pass", "not a class; expected a subclass of stellarfm.contracts.PretrainingDataset"),
        (
            "from stellarfm.contracts import PretrainingDataset as P\nclass Blank(P):\n  def __len__(self): return 1",
            "without image; expected all methods of stellarfm.contracts.PretrainingDataset",
        ),
    ],
)
def test_wrong_type_names_the_contract(distribution, source, reason):
    distribution("acme", datasets={"acme.wrong": "acme_wrong:Blank"}, modules={"acme_wrong": source})
    with pytest.raises(PluginTypeError, match=rf"'acme.wrong' of acme==1.0 .*{reason}") as caught:
        registry.get("datasets", "acme.wrong")
    assert isinstance(caught.value, TypeError)
    assert registry.get("datasets", "flames")


def test_options_are_listed_without_an_instance(distribution):
    distribution("acme", datasets={"acme.blank": "acme_blank:Blank"}, modules={"acme_blank": BLANK})
    listed = registry.options(registry.get("datasets", "acme.blank"))
    assert {name: option.default for name, option in listed.items() if name != "label"} == {"size": 8}


def test_create_passes_options(distribution):
    distribution("acme", datasets={"acme.blank": "acme_blank:Blank"}, modules={"acme_blank": BLANK})
    assert registry.create("datasets", "acme.blank", size=4, label="x").image(0).shape == (1, 4, 4)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"label": "x", "sise": 4}, "'acme.blank' has no option 'sise'; its options are size, label"),
        ({"size": 4}, "'acme.blank' requires the option 'label'"),
    ],
)
def test_create_refuses_unknown_and_missing_options(distribution, given, message):
    distribution("acme", datasets={"acme.blank": "acme_blank:Blank"}, modules={"acme_blank": BLANK})
    with pytest.raises(PluginTypeError, match=message):
        registry.create("datasets", "acme.blank", **given)


def test_all_plugin_errors_are_ours():
    for error in (UnknownPluginError, DuplicatePluginError, BrokenPluginError, PluginTypeError):
        assert issubclass(error, StellarFMError)


BLANK = """
import numpy as np
from stellarfm.contracts import PretrainingDataset

class Blank(PretrainingDataset):
    def __init__(self, *, size: int = 8, label: str):
        self.size = size

    def __len__(self):
        return 10

    def image(self, index):
        return np.zeros((1, self.size, self.size), np.float32)
"""
