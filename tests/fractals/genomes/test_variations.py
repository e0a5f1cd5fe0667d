"""Each variation against its formula in Draves & Reckase (2008), written independently in numpy."""

import ast
from pathlib import Path

import numpy as np
import pytest

from stellarfm import fractals
from stellarfm.fractals.genomes.variations import FORMULAS as OURS
from stellarfm.fractals.genomes.variations import VARIATIONS


def polar(x, y):
    return np.hypot(x, y), np.arctan2(x, y)


def julia(x, y, half_turn):
    r, theta = polar(x, y)
    angle = theta / 2 + np.pi * half_turn
    return np.sqrt(r) * np.cos(angle), np.sqrt(r) * np.sin(angle)


def in_polar(formula):
    return lambda x, y, _: formula(*polar(x, y))


FORMULAS = {
    "linear": lambda x, y, _: (x, y),
    "sinusoidal": lambda x, y, _: (np.sin(x), np.sin(y)),
    "spherical": lambda x, y, _: (x / (x**2 + y**2), y / (x**2 + y**2)),
    "swirl": lambda x, y, _: (
        x * np.sin(x**2 + y**2) - y * np.cos(x**2 + y**2),
        x * np.cos(x**2 + y**2) + y * np.sin(x**2 + y**2),
    ),
    "horseshoe": lambda x, y, _: ((x**2 - y**2) / np.hypot(x, y), 2 * x * y / np.hypot(x, y)),
    "polar": in_polar(lambda r, t: (t / np.pi, r - 1)),
    "handkerchief": in_polar(lambda r, t: (r * np.sin(t + r), r * np.cos(t - r))),
    "heart": in_polar(lambda r, t: (r * np.sin(t * r), -r * np.cos(t * r))),
    "disc": in_polar(lambda r, t: (t / np.pi * np.sin(np.pi * r), t / np.pi * np.cos(np.pi * r))),
    "spiral": in_polar(lambda r, t: ((np.cos(t) + np.sin(r)) / r, (np.sin(t) - np.cos(r)) / r)),
    "hyperbolic": in_polar(lambda r, t: (np.sin(t) / r, r * np.cos(t))),
    "diamond": in_polar(lambda r, t: (np.sin(t) * np.cos(r), np.cos(t) * np.sin(r))),
    "julia": julia,
    "eyefish": lambda x, y, _: (2 * x / (np.hypot(x, y) + 1), 2 * y / (np.hypot(x, y) + 1)),
    "bubble": lambda x, y, _: (4 * x / (x**2 + y**2 + 4), 4 * y / (x**2 + y**2 + 4)),
    "cylinder": lambda x, y, _: (np.sin(x), y),
}


def test_every_variation_has_a_formula_here():
    assert set(FORMULAS) == set(VARIATIONS)


def unpacked_names(tree):
    """Names to which the compiled formulas are assigned, in order."""
    targets = [node.targets[0] for node in tree.body if isinstance(node, ast.Assign)]
    (names,) = [[e.id for e in t.elts] for t in targets if isinstance(t, ast.Tuple) and len(t.elts) > 10]
    return names


def called_names(tree, function):
    """Names of the functions called in the branches ``if code == k`` of a function, in the order of k."""
    (definition,) = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == function]
    branches = [node for node in ast.walk(definition) if isinstance(node, ast.If)]
    assert [node.test.comparators[0].value for node in branches] == list(range(len(branches)))
    bodies = [node.body for node in branches] + [branches[-1].orelse]
    return [node.func.id for body in bodies for part in body for node in ast.walk(part) if isinstance(node, ast.Call)]


@pytest.mark.parametrize(
    ("kernel", "function"), [("numba_variations", "add_variation"), ("triton_kernel", "_variation")]
)
def test_hand_kept_lists_of_the_compiled_kernels_agree_with_the_formulas(kernel, function):
    source = Path(fractals.__file__).parent / "rendering" / f"{kernel}.py"
    tree = ast.parse(source.read_text(encoding="utf-8"))
    for names in (unpacked_names(tree), called_names(tree, function)):
        assert [name.removeprefix("_") for name in names] == list(VARIATIONS)


@pytest.mark.parametrize("half_turn", [0, 1])
@pytest.mark.parametrize("name", VARIATIONS)
def test_variation_follows_its_formula(name, half_turn):
    x, y = np.random.default_rng(1).uniform(-3, 3, (2, 500)).astype(np.float32)
    turn = np.full(500, 1 - 2 * half_turn, dtype=np.float32)
    found = OURS[VARIATIONS.index(name)](x, y, turn)
    expected = FORMULAS[name](x.astype(np.float64), y.astype(np.float64), half_turn)
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == np.float32
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_a_singular_point_is_not_an_exception():
    zero = np.zeros(1, dtype=np.float32)
    assert not np.isfinite(OURS[VARIATIONS.index("spherical")](zero, zero, zero)).any()


@pytest.mark.parametrize("turn", [-1, 1])
def test_julia_is_the_complex_square_root(turn):
    """With the angle measured from the y axis: the square of (cosine, sine) is (y, x)."""
    x, y = np.random.default_rng(2).normal(size=(2, 1000)).astype(np.float32)
    cosine, sine = OURS[VARIATIONS.index("julia")](x, y, np.full(1000, turn, dtype=np.float32))
    np.testing.assert_allclose((cosine + 1j * sine) ** 2, y + 1j * x, atol=2e-6)
    assert (turn * cosine >= 0).all()
