"""The table of differences from DINOv2 in the guide: complete, and true."""

import importlib.util
from pathlib import Path

import pytest

from stellarfm import registry
from stellarfm.pretraining.methods.dinov2 import DinoV2

PATH = Path(__file__).parents[2] / "docs" / "_ext" / "fidelity.py"


@pytest.fixture(scope="module")
def fidelity():
    spec = importlib.util.spec_from_file_location("fidelity", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_option_of_the_method_is_compared(fidelity):
    keys = {element.get("key", "") for element in fidelity.elements()}
    assert {f"method.{option}" for option in registry.options(DinoV2)} <= keys


def test_a_reason_is_given_exactly_where_a_recipe_differs(fidelity):
    for element in fidelity.elements():
        differs = not all(same for _, same in fidelity.values(element))
        assert ("reason" in element) == differs, element["name"]


def test_cells(fidelity):
    rows = {row[0]: row[1:] for row in fidelity.fidelity_rows()}
    assert rows["weight of KoLeo"] == ("0.1", "same", "same", "", "`dino.koleo_loss_weight`")
    assert rows["layer scale"][:3] == ("1e-05", "same", "none")
    assert rows["area of global crops"][:3] == ("0.32 to 1", "same", "0.3 to 1")
    assert fidelity.fidelity_table().count("* -") == len(fidelity.elements()) + 1
